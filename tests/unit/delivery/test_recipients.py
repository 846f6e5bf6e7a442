"""Who gets a delivery to an internal user id."""

import pytest

from gateway.delivery.recipients import RecipientFinder
from gateway.domain.errors import ServiceTimeout
from gateway.mailboxes.memory.recipients import MemoryRecipientIndex

BOT = 4711


class Harness:
    """A finder with an index and a service."""

    def __init__(self) -> None:
        self.index = MemoryRecipientIndex(10)
        self.asked: list[str] = []
        self.users: dict[str, int] = {}
        self.failure: Exception | None = None
        self.finder = RecipientFinder(self.index, self.ask)

    async def ask(self, bot_id: int, internal_user_id: str) -> int | None:
        """Answer as the service, or fail as told."""
        assert bot_id == BOT
        self.asked.append(internal_user_id)
        if self.failure is not None:
            raise self.failure
        return self.users.get(internal_user_id)


@pytest.fixture
def harness() -> Harness:
    """Return a finder that knows nobody."""
    return Harness()


async def test_a_user_with_a_session_needs_no_service(harness: Harness) -> None:
    await harness.index.record_recipient(BOT, "u-7", 7)
    assert await harness.finder.find(BOT, "u-7") == 7
    assert harness.asked == []


async def test_the_service_is_asked_once_for_a_user(harness: Harness) -> None:
    harness.users = {"u-7": 7}
    assert await harness.finder.find(BOT, "u-7") == 7
    assert await harness.finder.find(BOT, "u-7") == 7
    assert harness.asked == ["u-7"]


async def test_an_unknown_user_is_asked_for_again(harness: Harness) -> None:
    """The user may be known at any moment."""
    assert await harness.finder.find(BOT, "u-7") is None
    harness.users = {"u-7": 7}
    assert await harness.finder.find(BOT, "u-7") == 7


async def test_a_failing_service_does_not_make_a_user_unknown(
    harness: Harness,
) -> None:
    harness.failure = ServiceTimeout("late")
    with pytest.raises(ServiceTimeout):
        await harness.finder.find(BOT, "u-7")
