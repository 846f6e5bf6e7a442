"""Does a call cost more if the contract comes from a descriptor set?

    python -m benchmarks.projections [--rounds N]

Two gateways with mailboxes in memory serve the same four services: one by the stubs
that are installed with it, one by a descriptor set of the same contracts, whose
messages are projections. Both get the same load in slices, in alternating order; a
ratio is that of one round. A second gateway with stubs tells how far two equal ones
differ.

Counted is processor time per update of the whole gateway. Ends with 1 if the median of
all rounds exceeds the limit.
"""

import argparse
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.children import ROOT, run, stolen_seconds
from benchmarks.contest import Entrant, entered
from benchmarks.figures import Spread, figures_of
from benchmarks.lineup import Contender, gateway_contenders
from benchmarks.processes import stand_ins
from benchmarks.slices import Load, Slice
from benchmarks.tables import print_machine, print_table

ALLOWED = 1.02
RATE = 300
_UPDATES, _SLICES = 450, 4
_TITLES = ("stubs", "stubs again", "descriptor set")


def _compile(directory: Path) -> Path:
    """Compile the contracts of the four services into a descriptor set."""
    path = directory / "services.binpb"
    protos = sorted((ROOT / "proto").rglob("*_service.proto"))
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}"),
            *("--include_imports", f"--descriptor_set_out={path}"),
            *map(str, protos),
        ],
        check=True,
    )
    return path


async def _measure(entrants: list[Entrant], number: int) -> list[float]:
    """Give the microseconds per update of each."""
    load = Load("", RATE, _UPDATES, 1)
    found = [Slice() for _ in entrants]
    for part in range(_SLICES):
        order = list(range(len(entrants)))
        # Each comes first equally often, and each after each other one.
        shift = (number + part) % len(order)
        for index in [*order[shift:], *order[:shift]][:: -1 if part % 2 else 1]:
            found[index] = found[index].plus(await entrants[index].measure(load))
    return [figures_of(taken).cpu_us for taken in found]


async def compare(rounds: int) -> Spread:
    """Measure and print. Gives the ratio of the descriptor set to the stubs."""
    done: list[list[float]] = []
    with TemporaryDirectory() as directory:
        by_set = {"CONTRACTS": str(_compile(Path(directory)))}
        memory, _ = gateway_contenders(ROOT)
        contenders: list[Contender] = [
            memory,
            memory._replace(name="memory again"),
            memory._replace(name="memory set", settings=by_set),
        ]
        async with stand_ins() as around, AsyncExitStack() as stack:
            entrants = [
                await stack.enter_async_context(entered(contender, 1, around))
                for contender in contenders
            ]
            for entrant in entrants:
                await entrant.warm_up()
            stolen = stolen_seconds()
            for number in range(rounds):
                done.append(await _measure(entrants, number))
                print(f"round {number + 1} of {rounds} is done", file=sys.stderr)
    ratios = [
        Spread.over([it[index] / it[0] for it in done]) for index in range(len(_TITLES))
    ]
    rows = [
        [title, round(Spread.over([it[index] for it in done]).middle), str(ratio)]
        for index, (title, ratio) in enumerate(zip(_TITLES, ratios, strict=True))
    ]
    print_table(["", "µs per update", "ratio to stubs"], rows)
    print(f"\nallowed: {ALLOWED:.2f}; stolen: {stolen_seconds() - stolen:.1f} s")
    return ratios[-1]


async def main(rounds: int) -> None:
    """Measure, print, judge."""
    print_machine()
    ratio = await compare(rounds)
    if ratio.middle > ALLOWED:
        sys.exit(f"exceeded: {ratio}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    run(main(asked.rounds), within=120 + 60 * asked.rounds)
