"""The user sees that the bot is typing."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from botgateway.chat.v1.context_pb2 import CHAT_TYPE_CHANNEL, CHAT_TYPE_SUPERGROUP
from botgateway.route.v1.event_pb2 import EVENT_USER_UNBLOCKED_BOT

from gateway.actors.replies.typing_indicator import (
    DELAY_SECONDS,
    REPEAT_INTERVAL_SECONDS,
    PendingIndicator,
    TypingIndicator,
)
from gateway.domain.errors import CallRejected
from gateway.domain.errors import RejectedPart as Fault
from gateway.domain.update import BotEvent, Update
from tests.factories import build_message, build_private_update
from tests.support.fakes import FakeMatch, FakeMessenger, FakeServices
from tests.support.virtual_time import virtual_time

LONG = 60.0
"""Seconds of a service that thinks for long."""


@pytest.fixture(autouse=True)
async def _time() -> AsyncIterator[None]:
    """Let no test wait for real."""
    with virtual_time():
        yield


@dataclass
class Harness:
    """A messenger, and what shows the typing."""

    messenger: FakeMessenger
    typing: TypingIndicator

    @contextmanager
    def call(self, update: Update, *, shows: bool = True) -> Iterator[PendingIndicator]:
        """Call a service for as long as the block lasts."""
        match = FakeMatch(FakeServices(), update, "text")
        match.shows_typing = shows
        indicator = self.typing.start(match, update)
        try:
            yield indicator
        finally:
            self.typing.stop(indicator)


@pytest.fixture
def harness() -> Harness:
    messenger = FakeMessenger()
    return Harness(messenger, TypingIndicator(messenger))


async def test_a_quick_service_shows_nothing(harness: Harness) -> None:
    update = build_message(1)
    with harness.call(update):
        await asyncio.sleep(DELAY_SECONDS - 0.1)
    await asyncio.sleep(LONG)
    assert harness.messenger.typed == []
    assert len(asyncio.all_tasks()) == 1


async def test_typing_is_shown_again_and_again_until_the_answer(
    harness: Harness,
) -> None:
    """Telegram forgets it after five seconds."""
    update = build_message(3, chat_type=CHAT_TYPE_SUPERGROUP)
    with harness.call(update):
        await asyncio.sleep(DELAY_SECONDS + 2 * REPEAT_INTERVAL_SECONDS + 0.1)
    await asyncio.sleep(LONG)
    assert harness.messenger.typed == [3, 3, 3]
    assert len(asyncio.all_tasks()) == 1


async def test_each_user_has_a_silence_of_its_own(harness: Harness) -> None:
    """Whoever came later is shown nothing earlier, and is not forgotten."""
    first, second, third = (build_message(it, user=it) for it in (1, 2, 3))
    half = DELAY_SECONDS / 2
    with harness.call(first):
        await asyncio.sleep(half)
        with (
            harness.call(second),
            harness.call(third) as wait,
        ):
            await asyncio.sleep(half + 0.1)
            assert harness.messenger.typed == [1]
            harness.typing.stop(wait)
            await asyncio.sleep(half)
            assert harness.messenger.typed == [1, 2]


async def test_a_refusal_ends_it_quietly(harness: Harness) -> None:
    """Nobody is told, and it is not tried again for this update."""
    harness.messenger.typing_failure = CallRejected("sendChatAction", 400, Fault.OTHER)
    update = build_message(1)
    with harness.call(update):
        await asyncio.sleep(DELAY_SECONDS + 0.1)
        assert len(asyncio.all_tasks()) == 1
        harness.messenger.typing_failure = None
        await asyncio.sleep(LONG)
    assert harness.messenger.typed == []


NOWHERE = {
    "a channel": build_message(1, chat_type=CHAT_TYPE_CHANNEL),
    "no chat": build_message(1, user=0),
    "an event": build_private_update(BotEvent, event=EVENT_USER_UNBLOCKED_BOT),
}


@pytest.mark.parametrize("update", NOWHERE.values(), ids=NOWHERE)
async def test_where_nobody_waits_nothing_is_shown(
    harness: Harness, update: Update
) -> None:
    """Telegram would refuse it, or nobody would see it."""
    with harness.call(update):
        await asyncio.sleep(LONG)
    assert harness.messenger.typed == []


async def test_a_route_may_not_want_it(harness: Harness) -> None:
    update = build_message(1)
    with harness.call(update, shows=False):
        await asyncio.sleep(LONG)
    assert harness.messenger.typed == []
