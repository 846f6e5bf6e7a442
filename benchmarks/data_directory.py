"""What a file costs: the same gateway with its mailboxes in DATA_DIR and in memory.

    python -m benchmarks.data_directory [--rounds N] [--synchronous normal|full]

Two gateways run beside each other and get the same loads, in turns, as in
`benchmarks.mailboxes`. Counted is processor time of the whole gateway (user and system,
all threads) per update from the webhook to the answer at the Bot API.

Ends with 1 if a limit is exceeded, or an update ended otherwise than with its answer.
"""

import argparse
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.children import cpu_seconds, run
from benchmarks.mailboxes import Comparison, Load, Pair
from benchmarks.processes import Gateway, gateway, stand_ins
from benchmarks.tables import print_machine, print_table

LOADS = (
    Load("saturation", None, 2500, 4),
    Load("100/s", 100, 200, 5),
)

LIMITS = {"saturation": 1.3, "100/s": 1.8}
"""How much more an update may take the gateway than in memory: what was measured, and
what a busy machine adds. The aim is 1.06 at saturation and 1.3 at 100/s."""


class FileComparison(Comparison):
    """The comparison, without a Redis."""

    def __init__(self, memory: Gateway, file: Gateway, around: object) -> None:
        super().__init__(memory, file, None, around)  # type: ignore[arg-type]

    def _cpu(self, each: Gateway) -> tuple[float, float]:
        return cpu_seconds(each.process.pid), 0.0


def ratio(pair: Pair) -> float:
    """Return how many times as long an update takes with a file."""
    memory, file = pair.memory, pair.redis
    return file.each(file.gateway) / memory.each(memory.gateway)


def measure_size(directory: Path) -> int:
    """Return the bytes of all files in a directory."""
    return sum(path.stat().st_size for path in directory.iterdir())


async def main(rounds: int, synchronous: str) -> None:
    """Measure, print, judge."""
    print_machine()
    settings = {"RATE_LIMIT_REQUESTS": "1000", "SESSION_LIMIT": "100000"}
    pairs: dict[Load, list[Pair]] = {load: [] for load in LOADS}
    with TemporaryDirectory() as directory:
        own = {"DATA_DIR": directory, "DATA_SYNCHRONOUS": synchronous}
        async with (
            stand_ins() as around,
            gateway(around, **settings) as memory,
            gateway(around, **settings, **own) as file,
        ):
            comparison = FileComparison(memory, file, around)
            await comparison.warm_up()
            for number in range(rounds):
                for load in LOADS:
                    pair = await comparison.pair(load, memory_first=number % 2 == 0)
                    pairs[load].append(pair)
            outcomes = [await each.outcomes() for each in (memory, file)]
        size = measure_size(Path(directory))
    print("Processor time of the gateway in us per update\n")
    rows: list[list[object]] = []
    for load, done in pairs.items():
        for number, pair in enumerate(done, 1):
            figures = [pair.memory.each(pair.memory.gateway)]
            figures += [pair.redis.each(pair.redis.gateway)]
            took = [it.updates / it.took for it in (pair.memory, pair.redis)]
            row = [*map(round, figures), f"{ratio(pair):.2f}", *map(round, took)]
            rows.append([load.name, str(number), *row])
    heads = ["load", "round", "memory", "file", "ratio", "memory/s", "file/s"]
    print_table(heads, rows)
    print(f"\nsize of the directory: {size / 1e6:.1f} MB")
    exceeded = [f"outcomes {it}" for it in outcomes if set(it) != {"done"}]
    for load, done in pairs.items():
        found = median(map(ratio, done))
        print(f"{load.name}: {found:.2f} times memory (allowed: {LIMITS[load.name]})")
        if found > LIMITS[load.name]:
            exceeded.append(f"{load.name}: {found:.2f}")
    if exceeded:
        sys.exit("exceeded: " + "; ".join(exceeded))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--synchronous", choices=("normal", "full"), default="normal")
    arguments = parser.parse_args()
    run(
        main(arguments.rounds, arguments.synchronous),
        within=200 + 60 * arguments.rounds,
    )
