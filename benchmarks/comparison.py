"""Side by side with what a user would pick instead: one run, one table, one picture.

    python -m benchmarks.comparison [--rounds N] [--quick] [--only NAME ...]
        [--against CHECKOUT] [--into DIRECTORY]

All contenders (see `lineup.py`) run at the same time, and one after the other gets a
short slice of load, so that what else goes on in the machine meets all of them. A
round is some slices of every load for everybody; the order changes from slice to
slice. The headline is what an update costs in processor time, as a ratio to the
floor's in the same round: the median of the rounds, the smallest and the largest.

Writes `comparison.json`, `.md`, `.svg` and `.png` to `benchmarks/results/` or
where it is told. Ends with 1 if a contender did not do the same work as the others.
"""

import argparse
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from benchmarks.children import ROOT, run, stolen_seconds
from benchmarks.contest import Entrant, entered
from benchmarks.figures import (
    Memory,
    Results,
    figures_of,
    hanging_of,
    machine,
)
from benchmarks.lineup import LINEUP, Contender, earlier, picture
from benchmarks.processes import StandIns, stand_ins
from benchmarks.report import markdown
from benchmarks.slices import Load, Slice

RESULTS = ROOT / "benchmarks" / "results"

LOADS = (
    Load("saturation", None, 700, 2),
    Load("300/s", 300, 450, 1),
    Load("100/s", 100, 200, 2),
)
QUICK_LOADS = (Load("saturation", None, 300, 1), Load("100/s", 100, 100, 1))
HANGING_RATE, HANGING_UPDATES = 100, 200
HANGING_ROUNDS = 3
"""They take long: grammY holds the webhook's connections as long as users hang."""


class Plan(msgspec.Struct, frozen=True):
    """How much to measure.

    Attributes:
        rounds: of everything.
        loads: in every round.
        workers: with how many workers each contender runs, if it can.
        new_users: met once, to see what memory they take; 0: none.
        contenders: who take part.
        directory: where the results go.
    """

    rounds: int
    loads: tuple[Load, ...]
    workers: tuple[int, ...]
    new_users: int
    contenders: tuple[Contender, ...]
    directory: Path


async def compare(plan: Plan) -> Results:
    """Run the comparison. What was found so far is written after every round."""
    results = Results(machine=machine())
    stolen = stolen_seconds()
    async with stand_ins() as around, AsyncExitStack() as stack:
        entrants = await _enter(plan, around, stack)
        for each in entrants:
            results.titles[each.name] = each.title
            await each.warm_up()
        for number in range(plan.rounds):
            await _round(plan, entrants, number, results)
            results.rounds = number + 1
            for each in entrants:
                results.memory[each.name] = Memory(each.memory())
            results.work = {each.name: each.work for each in entrants}
            results.machine["stolen seconds"] = f"{stolen_seconds() - stolen:.1f}"
            _write(results, plan.directory)
            _say(f"round {number + 1} of {plan.rounds} is done")
        if plan.new_users:
            await _meet(plan.new_users, entrants, results)
    return results


async def _meet(users: int, entrants: list[Entrant], results: Results) -> None:
    """Let those with one worker meet new users."""
    for each in entrants:
        if each.workers == 1:
            own, redis = await each.meet(users)
            memory = results.memory[each.name]
            memory.own_per_user = own / users
            memory.redis_per_user = redis / users


async def _enter(plan: Plan, around: StandIns, stack: AsyncExitStack) -> list[Entrant]:
    return [
        await stack.enter_async_context(entered(contender, workers, around))
        for workers in plan.workers
        for contender in plan.contenders
        if workers <= contender.most_workers
    ]


async def _round(
    plan: Plan, entrants: list[Entrant], number: int, results: Results
) -> None:
    for load in plan.loads:
        found = {each.name: Slice() for each in entrants}
        for part in range(load.slices):
            for each in _turned(entrants, number * load.slices + part):
                found[each.name] = found[each.name].plus(await each.measure(load))
        for name, taken in found.items():
            kept = results.loads.setdefault(load.name, {}).setdefault(name, [])
            kept.append(figures_of(taken))
    if number >= HANGING_ROUNDS:
        return
    for each in _turned([each for each in entrants if each.workers == 1], number):
        taken, hung = await each.beside_hanging(HANGING_RATE, HANGING_UPDATES)
        results.hanging.setdefault(each.name, []).append(hanging_of(taken, hung))


def _turned(entrants: list[Entrant], number: int) -> list[Entrant]:
    """Let somebody else begin each time, and go back every other time."""
    start = number % len(entrants)
    turned = entrants[start:] + entrants[:start]
    return turned[::-1] if number % 2 else turned


def _write(results: Results, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    data = msgspec.json.format(msgspec.json.encode(results), indent=1)
    (directory / "comparison.json").write_bytes(data)
    (directory / "comparison.md").write_text(markdown(results))


def _show(directory: Path) -> None:
    """Print and draw what is in the file."""
    data = directory / "comparison.json"
    print(markdown(msgspec.json.decode(data.read_bytes(), type=Results)))
    python, draw = picture()
    subprocess.run([str(python), str(draw), str(data), str(directory)], check=True)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one small round")
    names = [contender.name for contender in LINEUP]
    parser.add_argument("--only", choices=names, nargs="+", default=names)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--against", type=Path, help="a checkout of the gateway to compare with"
    )
    parser.add_argument("--into", type=Path, default=RESULTS)
    asked = parser.parse_args()
    chosen = tuple(each for each in LINEUP if each.name in {"floor", *asked.only})
    if asked.against:
        chosen += tuple(
            each
            for each in earlier(asked.against)
            if each.name.removesuffix("-before") in asked.only
        )
    if asked.quick:
        plan = Plan(1, QUICK_LOADS, (1,), 0, chosen, asked.into)
    else:
        plan = Plan(
            asked.rounds, LOADS, tuple(asked.workers), 5_000, chosen, asked.into
        )
    for contender in chosen:
        contender.command(1)  # makes its environment

    async def measure() -> None:
        _write(await compare(plan), plan.directory)

    run(measure(), within=900 + 420 * plan.rounds)
    _show(plan.directory)


if __name__ == "__main__":
    main()
