"""Does an update cost more with two workers than with one?

    python -m benchmarks.workers [--rounds N]

The gateway with Redis runs with one worker and with two, and so does the floor, which
shares nothing but the port: what it costs more is the machine's doing. One worker gets
a load, then two get the same load each, and the same in all; the order changes.

Counted is processor time per update of all processes of one of them; a ratio is that of
one round. The less a process has to do, the more an update costs, with one worker too,
so the ratio at the same load for each worker tells what a further worker costs. Ends
with 1 if the gateway's median of all rounds exceeds the limit there.
"""

import argparse
import sys
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import NamedTuple

from benchmarks.children import run, stolen_seconds
from benchmarks.contest import Entrant, entered
from benchmarks.figures import Spread, figures_of
from benchmarks.lineup import LINEUP
from benchmarks.processes import stand_ins
from benchmarks.slices import Load, Slice
from benchmarks.tables import print_machine, print_table

ALLOWED = 1.10
RATES = (100, 200, 300)
"""Updates per second of one worker."""

_SECONDS, _SLICES = 1.5, 2
_OURS = "redis"


class Pair(NamedTuple):
    """One and the same with one worker and with two."""

    title: str
    one: Entrant
    two: Entrant


class Round(NamedTuple):
    """What an update cost in us: of one worker, and of two, loaded in either way."""

    one: float
    each: float
    in_all: float


async def _measure(pair: Pair, rate: int, number: int) -> Round:
    given = [(pair.one, rate), (pair.two, 2 * rate), (pair.two, rate)]
    found = [Slice() for _ in given]
    for part in range(_SLICES):
        for index in [0, 1, 2][:: -1 if (number + part) % 2 else 1]:
            entrant, updates = given[index]
            load = Load("", updates, round(updates * _SECONDS), 1)
            found[index] = found[index].plus(await entrant.measure(load))
    return Round(*(figures_of(taken).cpu_us for taken in found))


async def compare(rounds: int) -> list[str]:
    """Measure and print. Gives what exceeds the limit."""
    done: defaultdict[tuple[str, int], list[Round]] = defaultdict(list)
    async with stand_ins() as around, AsyncExitStack() as stack:
        pairs = []
        for contender in (it for it in LINEUP if it.name in {_OURS, "floor"}):
            one, two = [
                await stack.enter_async_context(entered(contender, workers, around))
                for workers in (1, 2)
            ]
            pairs.append(Pair(contender.title, one, two))
            for entrant in (one, two):
                await entrant.warm_up()
        stolen = stolen_seconds()
        for number in range(rounds):
            for rate in RATES:
                for pair in pairs:
                    found = await _measure(pair, rate, number)
                    done[pair.title, rate].append(found)
            print(f"round {number + 1} of {rounds} is done", file=sys.stderr)
        _print(done)
        print(f"\nstolen: {stolen_seconds() - stolen:.1f} s", flush=True)
        ours = next(pair.title for pair in pairs if pair.one.contender.redis)
    ratios = {rate: _ratio(done[ours, rate]) for rate in RATES}
    return [f"{rate}/s: {it}" for rate, it in ratios.items() if it.middle > ALLOWED]


def _print(done: dict[tuple[str, int], list[Round]]) -> None:
    heads = ["", "one worker gets", "us", "two, the same each", "ratio"]
    heads += ["two, the same in all", "ratio"]
    rows = []
    for (title, rate), rounds in done.items():
        one, each, in_all = (Spread.over(list(it)) for it in zip(*rounds, strict=True))
        rows.append(
            [
                *(title, f"{rate}/s", round(one.middle)),
                *(round(each.middle), str(_ratio(rounds))),
                *(round(in_all.middle), str(_in_all(rounds))),
            ]
        )
    print_table(heads, rows)
    print(f"\nallowed, with the same load each: {ALLOWED:.2f}")


def _ratio(rounds: list[Round]) -> Spread:
    return Spread.over([it.each / it.one for it in rounds])


def _in_all(rounds: list[Round]) -> Spread:
    return Spread.over([it.in_all / it.one for it in rounds])


async def main(rounds: int) -> None:
    """Measure, print, judge."""
    print_machine()
    if exceeded := await compare(rounds):
        sys.exit("exceeded: " + "; ".join(exceeded))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    run(main(asked.rounds), within=120 + 90 * asked.rounds)
