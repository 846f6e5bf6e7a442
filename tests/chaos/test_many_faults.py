"""Real processes under faults of many kinds: the short form of `make chaos`."""

from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.figures import table
from tests.chaos.harness import Setup
from tests.chaos.run import SEED, Plan, run


async def test_nothing_is_lost_repeated_or_out_of_order_under_faults(
    tmp_path: Path,
) -> None:
    """Eight faults of different kinds, several at a time, break no promise."""
    setup = Setup(seed=SEED, workers=3, users=60, rate=120)
    own = ("kill", "freeze", "term", "redis_kill", "script_flush", "deaf")
    plan = Plan(faults=8, kinds=(*own, "service_refuse", "bot_limit"), at_once=(3, 4))

    history = await run(tmp_path, setup, plan)

    verdict = check(history)
    assert not verdict.broken, "\n".join([f"seed {SEED}", *table(history, verdict)])
    assert len({span.kind for span in history.spans} - {"nobody", "harness_late"}) >= 6
    assert len(history.posted) > 300
