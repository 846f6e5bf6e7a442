"""A short run of the rotations under load."""

from tests.chaos.rotations import run


async def test_rotations_under_load_lose_nothing() -> None:
    """Neither an update nor a reply, and no update of Telegram is refused."""
    figures = await run(rotations=6, workers=2, rate=40)
    assert figures.is_good, figures
    assert figures.sent > 20
