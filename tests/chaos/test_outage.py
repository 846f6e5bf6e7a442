"""A short form of the measured outage of the Bot API."""

from pathlib import Path

from tests.chaos.outage import Outage, run, table, works


async def test_an_outage_and_a_kill_in_its_middle_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    """Every reply arrives, in order; chats that work are answered in the outage."""
    outage = Outage(seconds=3, rate=40, users=200, calm=1, redis=True)

    seen = await run(tmp_path, outage)

    assert seen.good, "\n".join(table(outage, seen))
    assert len(seen.refused) > 50
    sent = {
        effect.ordering_key for effect in seen.history.effects if effect.time < seen.end
    } & {it.ordering_key for it in seen.history.posted.values() if it.sent > seen.start}
    assert any(works(int(ordering_key)) for ordering_key in sent)
