"""Retries take turns: few while nothing succeeds, and ever more when it does."""

import asyncio

import pytest

from gateway.background import cancel_and_wait
from gateway.telegram.bot_api import retries
from gateway.telegram.bot_api.retries import Backoff, RetryQueue
from tests.support.waiting import wait_until

NEVER = 10**6


async def no_sleep(_: float) -> None:
    """Take no time for a pause."""


class Crowd:
    """Calls that wait for their turn, and in which order they got it."""

    def __init__(self, count: int, within: float = NEVER) -> None:
        self.turns = RetryQueue(no_sleep)
        self.went: list[int] = []
        self.tasks = [
            asyncio.create_task(self._wait(number, within)) for number in range(count)
        ]

    async def _wait(self, number: int, within: float) -> None:
        await self.turns.wait_turn(0, within)
        self.went.append(number)

    async def end(self) -> None:
        """Let nobody wait any more."""
        await cancel_and_wait(*self.tasks)


@pytest.fixture
def _no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "RETRY_INTERVAL_SECONDS", NEVER)


@pytest.mark.usefixtures("_no_timer")
async def test_one_retry_goes_ahead_and_each_success_brings_the_next() -> None:
    crowd = Crowd(5)
    await wait_until(lambda: crowd.went == [0])
    for number in (1, 2, 3, 4):
        crowd.turns.release_next()
        await wait_until(lambda last=number: crowd.went[-1] == last)  # type: ignore[misc]  # bound at its definition
        assert crowd.went == list(range(number + 1))
    crowd.turns.release_next()  # nobody is left
    await crowd.end()


async def test_retries_follow_each_other_slowly_while_nothing_succeeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retries, "RETRY_INTERVAL_SECONDS", 0.001)
    crowd = Crowd(50)
    await wait_until(lambda: len(crowd.went) == 50)
    assert crowd.went == list(range(50))


@pytest.mark.usefixtures("_no_timer")
async def test_who_goes_away_takes_no_turn_from_those_who_wait() -> None:
    crowd = Crowd(4)
    await wait_until(lambda: crowd.went == [0])
    crowd.tasks[1].cancel()
    crowd.tasks[2].cancel()
    await asyncio.wait(crowd.tasks[1:3])
    crowd.turns.release_next()
    await wait_until(lambda: crowd.went == [0, 3])


@pytest.mark.usefixtures("_no_timer")
async def test_the_last_attempt_needs_no_turn() -> None:
    """A reply is tried at the end of its patience, however many wait before it."""
    crowd = Crowd(20, within=0.01)
    await wait_until(lambda: len(crowd.went) == 20)


def test_pauses_grow_until_the_deadline() -> None:
    """What Telegram asks for stands beside them, and does not lengthen them."""
    backoff = Backoff(deadline=100)
    pauses = [backoff.choose_pause(0, None) for _ in range(7)]
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 8, 8], rel=0.26)
    assert backoff.choose_pause(50, 50) == 50
    assert backoff.choose_pause(50, 50.1) is None
    assert backoff.choose_pause(99, None) is None
