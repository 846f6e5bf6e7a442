"""Large replies: nothing stays in memory once it was sent, and nobody else waits."""

import asyncio
import threading
import weakref
from collections.abc import Sequence
from typing import cast

from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply

from gateway.actors.replies.reply_sender import LARGE_REPLY_BYTES
from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.ports import BeforeRequest, RetryPause, await_pause
from gateway.domain.update import Update
from tests.factories import build_accepted
from tests.support.fakes import FakeMessenger
from tests.support.waiting import LIMIT
from tests.unit.actors.harness import Harness


class Watched(BotApiCall, frozen=True, kw_only=True, weakref=True):
    """A call of which one can tell whether it is gone."""


class WatchedReply:
    """Stands in for a reply, of which one cannot tell. It has no buttons."""

    messages = ()

    end_session = False

    def ByteSize(self) -> int:  # noqa: N802 - as protobuf has it
        """Say that it is small."""
        return 0

    def HasField(self, _: str) -> bool:  # noqa: N802 - as protobuf has it
        """Say that it has nothing."""
        return False


class Watching(FakeMessenger):
    """Looks what is left in memory at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[weakref.ref[Watched]] = []
        self.replies: list[weakref.ref[Reply]] = []
        self.left: list[tuple[int, int]] = []

    def render(
        self, update: Update, reply: Reply, *, edited_message_id: int | None = None
    ) -> Sequence[BotApiCall]:
        """Make three calls."""
        calls = [Watched(method="sendDocument", parameters={}) for _ in range(3)]
        self.calls = [weakref.ref(call) for call in calls]
        self.replies.append(weakref.ref(reply))
        return calls

    async def send(
        self,
        call: BotApiCall,
        patience: float = 0,
        wait: RetryPause = await_pause,
        before_request: BeforeRequest | None = None,
    ) -> None:
        """Note how many calls and replies there are."""
        calls = sum(each() is not None for each in self.calls)
        self.left.append((calls, sum(each() is not None for each in self.replies)))


async def test_what_was_sent_is_let_go_of() -> None:
    """Of a reply nothing is left but the calls that are still to be made."""
    harness = Harness()
    messenger = Watching()
    harness.reply_sender._messenger = messenger  # noqa: SLF001 - in place of its fake

    async def answer(update: Update) -> Reply:
        return cast("Reply", WatchedReply())

    harness.services.answer = answer
    await harness.serve(build_accepted(1, "hi"))
    assert messenger.left == [(3, 0), (2, 0), (1, 0)]


class Composing(FakeMessenger):
    """Composes for as long as the event loop does nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.loop_went_on = threading.Event()

    def render(
        self, update: Update, reply: Reply, *, edited_message_id: int | None = None
    ) -> Sequence[BotApiCall]:
        """Wait for the event loop."""
        self.begun.set()
        assert self.loop_went_on.wait(LIMIT), "composing holds the event loop"
        return super().render(update, reply)


async def test_others_go_on_while_a_large_reply_is_composed() -> None:
    """Its markup may take seconds to read."""
    harness = Harness()
    messenger = Composing()
    harness.reply_sender._messenger = messenger  # noqa: SLF001 - in place of its fake
    text = "*" * (LARGE_REPLY_BYTES + 1)

    async def answer(update: Update) -> Reply:
        return Reply(messages=[OutgoingMessage(text=text)])

    harness.services.answer = answer

    async def go_on() -> None:
        while not messenger.begun.is_set():
            await asyncio.sleep(0)
        messenger.loop_went_on.set()

    await asyncio.gather(harness.serve(build_accepted(1, "hi")), go_on())
    assert messenger.texts == [text]
