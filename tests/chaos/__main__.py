"""The full run: `python -m tests.chaos`. Ends with 1 if any promise was broken.

Three parts. In the first no worker is without Redis for longer than a put waits, so
that all promises hold at once. In the second Redis is away for longer, for one worker
or for all of them: they serve from memory, and what is accepted must be done all the
same. In the third replicas take over from masters that die, and that had accepted more
than they sent to them.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from tests.chaos.checker import check
from tests.chaos.figures import table
from tests.chaos.harness import Setup
from tests.chaos.run import Plan, run

_LONG = ("redis_pause", "blackhole", "deaf", "redis_kill")


def main() -> int:
    """Run it; return the exit code."""
    given = _arguments()
    plans = {
        "short outages": Plan(
            updates=given.updates, faults=given.faults, kinds=given.kinds, alone=5
        ),
        "long outages": Plan(
            faults=given.long_faults,
            kinds=_LONG,
            at_once=(1, 1),
            longest_cut=8,
            pauses=(3, 20),
        ),
        "failovers": Plan(faults=given.failovers, kinds=("failover",), at_once=(1, 1)),
    }
    broken = False
    for name, plan in plans.items():
        if plan.faults:
            sys.stdout.write(f"{name}, seed {given.seed}\n")
            broken |= _part(name, plan, given)
    return 1 if broken else 0


def _part(name: str, plan: Plan, given: argparse.Namespace) -> bool:
    """Do a part; tells whether anything was broken."""
    setup = Setup(
        seed=given.seed,
        workers=given.workers,
        users=given.users,
        rate=given.rate,
        watched="failover" in plan.kinds,
        service_timeout=1.5,
    )
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        if given.keep:
            directory = Path(given.keep, name.replace(" ", "-"))
            directory.mkdir(parents=True)
        else:
            temporary = tempfile.TemporaryDirectory(prefix="chaos-")
            directory = Path(stack.enter_context(temporary))
        history = asyncio.run(run(directory, setup, plan))
        seen = msgspec.json.encode(history)
        (directory / "history.json").write_bytes(seen)
    verdict = check(history)
    took = f"{time.monotonic() - began:.0f} s"
    broken = "broken: " + (", ".join(verdict.broken) or "nothing")
    sys.stdout.write("\n".join([took, *table(history, verdict), broken, "", ""]))
    sys.stdout.flush()
    return bool(verdict.broken)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--updates", type=int, default=100_000, help="At least.")
    parser.add_argument("--faults", type=int, default=50, help="At least; 0: none.")
    parser.add_argument(
        "--long-faults", type=int, default=6, help="0: no long outages."
    )
    parser.add_argument("--failovers", type=int, default=6, help="0: none.")
    parser.add_argument("--kinds", nargs="*", default=(), help="Of faults; all.")
    parser.add_argument("--rate", type=float, default=500, help="Updates per second.")
    parser.add_argument("--users", type=int, default=300, help="At a time.")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--keep", help="A new directory for logs and histories.")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
