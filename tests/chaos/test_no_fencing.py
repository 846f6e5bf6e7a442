"""A control: the checker finds that a gateway without fencing breaks I3."""

from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.harness import Setup
from tests.chaos.run import SEED, Plan, run


async def test_without_the_comparison_of_tokens_the_checker_finds_faults(
    tmp_path: Path,
) -> None:
    """A paused worker that may commit under an old token is caught: it is a control."""
    setup = Setup(
        seed=SEED, workers=2, users=60, rate=200, module="tests.chaos.no_fencing"
    )
    plan = Plan(faults=3, kinds=("freeze",), at_once=(1, 1))

    history = await run(tmp_path, setup, plan)

    broken = check(history).broken
    assert {"state lost", "lost", "two turns at once", "state doubled"} & set(broken)
