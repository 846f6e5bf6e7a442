"""How many updates the rate limit refuses if the clock of one gateway is wrong.

python -m tests.chaos.clock_skew

Two gateways share a Redis, and each update of a user goes to any of them. For every
skew the share of refused updates is compared with what a bucket of the textbook
refuses, by the one clock of this process, of the very same updates.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from gateway.domain.processing_record import Outcome
from tests.chaos.harness import ChaosHarness, Setup
from tests.chaos.history import History
from tests.chaos.run import play
from tests.support.ideal_bucket import IdealBucket

SKEWS = (0.0, 30.0, -30.0, 3600.0, -3600.0)

MOST_DIFFERENCE = 0.01
"""Of all updates: so many more or fewer may be refused than without a skew."""


async def refused(
    directory: Path, skew: float, *, seed: int, updates: int
) -> tuple[int, int, int]:
    """Run gateways of which one has a wrong clock.

    Returns:
        How many updates were refused, would have been by the true time, and were
        accepted.
    """
    setup = Setup(
        seed=seed,
        workers=2,
        users=120,
        rate=40,
        module="tests.chaos.skewed",
        settings={
            "RATE_LIMIT_REQUESTS": "1",
            "RATE_LIMIT_WINDOW": "1",
            "CLOCK_SKEW": "0",
        },
        worker_settings={1: {"CLOCK_SKEW": str(skew)}},
    )

    async def act(made: ChaosHarness) -> None:
        while len(made.history.posted) < updates:
            await asyncio.sleep(0.1)

    history = await play(directory, setup, act)
    limited = {
        update_id
        for update_id, outcome in history.outcomes
        if outcome == Outcome.LIMITED
    }
    return len(limited), _refused_ideally(history), len(history.posted)


def _refused_ideally(history: History) -> int:
    buckets: dict[str, IdealBucket] = {}
    count = 0
    for update_id in sorted(history.posted):
        posted = history.posted[update_id]
        bucket = buckets.setdefault(posted.ordering_key, IdealBucket(1, 1))
        count += not bucket.allows(posted.sent)
    return count


def main() -> int:
    """Print a line for each skew; gives 1 if one of them changes too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--updates", type=int, default=1200)
    parser.add_argument("--skews", nargs="*", type=float, default=SKEWS)
    given = parser.parse_args()
    broken = False
    for skew in given.skews:
        with tempfile.TemporaryDirectory(prefix="skew-") as directory:
            limited, ideal, posted = asyncio.run(
                refused(Path(directory), skew, seed=given.seed, updates=given.updates)
            )
        difference = (limited - ideal) / posted
        broken |= abs(difference) > MOST_DIFFERENCE
        sys.stdout.write(
            f"one clock {skew:+.0f} s: of {posted} updates {limited} were refused"
            f" ({limited / posted:.1%}), by the true time {ideal}"
            f" ({ideal / posted:.1%}): {difference:+.2%} of all\n"
        )
        sys.stdout.flush()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
