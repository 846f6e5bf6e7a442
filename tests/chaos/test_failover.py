"""Real processes while a replica of Redis takes over."""

from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.figures import table
from tests.chaos.harness import Setup
from tests.chaos.run import SEED, Plan, run


async def test_a_replica_takes_over_and_breaks_no_promise(tmp_path: Path) -> None:
    """It lacks what its master accepted last; that is put again, in order."""
    setup = Setup(seed=SEED, workers=2, users=60, rate=200, watched=True)

    history = await run(tmp_path, setup, Plan(faults=1, kinds=("failover",)))

    verdict = check(history)
    assert not verdict.broken, "\n".join([f"seed {SEED}", *table(history, verdict)])
    assert history.logged["warning: replaying_updates"] >= 2
