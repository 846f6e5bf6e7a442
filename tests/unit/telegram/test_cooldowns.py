"""Chats are held back one by one, and forgotten afterwards."""

import pytest

from gateway.telegram.bot_api.cooldowns import MAX_COOLDOWN_SECONDS, ChatCooldowns
from tests.support.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still."""
    return FakeClock()


@pytest.fixture
def holds(clock: FakeClock) -> ChatCooldowns:
    """Return an empty table."""
    return ChatCooldowns(clock.uptime)


def test_a_chat_waits_for_its_own_hold_only(
    holds: ChatCooldowns, clock: FakeClock
) -> None:
    holds.start(1, 5)
    assert holds.get_seconds_left(2) == 0
    assert holds.get_seconds_left(1) == 5
    clock.move(2)
    assert holds.get_seconds_left(1) == 3
    clock.move(3)
    assert holds.get_seconds_left(1) == 0


def test_no_hold_lasts_for_ever(holds: ChatCooldowns) -> None:
    holds.start(1, 10**9)
    assert holds.get_seconds_left(1) == MAX_COOLDOWN_SECONDS


def test_a_hold_is_never_cut_short(holds: ChatCooldowns) -> None:
    """A late answer with a shorter wait changes nothing."""
    holds.start(1, 20)
    holds.start(1, 5)
    assert holds.get_seconds_left(1) == 20


def test_the_table_forgets_what_has_ended(
    holds: ChatCooldowns, clock: FakeClock
) -> None:
    """It holds what is held back now, and no more than its limit of that."""
    for chat in range(50_000):
        holds.start(chat, 5)
        clock.move(0.1)
        assert len(holds) <= 51
    for chat in range(50_000):
        holds.start(chat, 5)
    assert len(holds) == 10_000
    clock.move(5)
    holds.start(1, 0)
    assert len(holds) == 0
