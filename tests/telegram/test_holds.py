"""Chats are held back one by one, and forgotten afterwards."""

import pytest

from gateway.domain.call import MAX_HOLD
from gateway.domain.errors import BotApiUnavailable
from gateway.telegram.holds import Holds
from tests.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock that only sleeping moves."""
    return FakeClock()


@pytest.fixture
def holds(clock: FakeClock) -> Holds:
    """Give a table whose waits take no time."""

    async def sleep(seconds: float) -> None:
        clock.move(seconds)

    return Holds(clock.uptime, sleep)


async def test_a_chat_waits_for_its_own_hold_only(
    holds: Holds, clock: FakeClock
) -> None:
    """Other chats are not held back."""
    holds.hold(1, 5)
    start = clock.uptime()
    await holds.wait(2, "sendMessage")
    assert clock.uptime() == start
    await holds.wait(1, "sendMessage")
    assert clock.uptime() == start + 5


async def test_a_hold_that_is_too_long_fails_at_once(
    holds: Holds, clock: FakeClock
) -> None:
    """Nobody waits longer than MAX_HOLD; the hold stays until its end."""
    holds.hold(1, MAX_HOLD + 1)
    start = clock.uptime()
    with pytest.raises(BotApiUnavailable):
        await holds.wait(1, "sendMessage")
    assert clock.uptime() == start
    clock.move(1)
    await holds.wait(1, "sendMessage")
    assert clock.uptime() == start + 1 + MAX_HOLD


async def test_a_hold_is_never_cut_short(holds: Holds, clock: FakeClock) -> None:
    """A late answer with a shorter wait changes nothing."""
    holds.hold(1, 20)
    holds.hold(1, 5)
    start = clock.uptime()
    await holds.wait(1, "sendMessage")
    assert clock.uptime() == start + 20


async def test_a_hold_that_grows_is_waited_for_within_the_limit(
    clock: FakeClock,
) -> None:
    """A call gives up when the hold moves further away than MAX_HOLD."""

    async def sleep(seconds: float) -> None:
        clock.move(seconds)
        growing.hold(1, 20)

    growing = Holds(clock.uptime, sleep)
    start = clock.uptime()
    growing.hold(1, 20)
    with pytest.raises(BotApiUnavailable):
        await growing.wait(1, "sendMessage")
    assert clock.uptime() == start + 20


async def test_the_table_forgets_what_has_ended(holds: Holds, clock: FakeClock) -> None:
    """It holds what is held back now, and no more than its limit of that."""
    for chat in range(50_000):
        holds.hold(chat, 5)
        clock.move(0.1)
        assert len(holds) <= 51
    for chat in range(50_000):
        holds.hold(chat, 5)
    assert len(holds) == 10_000
    clock.move(5)
    holds.hold(1, 0)
    assert len(holds) == 0
