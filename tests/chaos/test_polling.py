"""A short form of the measured polling."""

from pathlib import Path

import pytest

from tests.chaos.polling import Plan, run, table


@pytest.mark.parametrize("gateways", [1, 2])
async def test_kills_of_the_poller_lose_and_reorder_no_update(
    tmp_path: Path, gateways: int
) -> None:
    plan = Plan(updates=300, rate=60, users=50, every=2, gateways=gateways)

    seen = await run(tmp_path, plan)

    assert seen.kills
    assert (seen.lost, seen.inverted) == ([], []), "\n".join(table(seen))
