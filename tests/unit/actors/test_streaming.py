"""Answers that are shown while they are being written."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.route.v1.event_pb2 import EVENT_USER_BLOCKED_BOT
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.actors.replies import stream_buffer, streaming
from gateway.actors.replies.streaming import StreamRunner
from gateway.actors.replies.typing_indicator import TypingIndicator
from gateway.domain.errors import (
    APOLOGY_TEXT,
    BotApiUnavailable,
    CallRejected,
    RecipientBlocked,
    RejectedPart,
    ServiceFailed,
    ServiceUnavailable,
)
from gateway.domain.update import Envelope
from tests.factories import build_accepted, build_message
from tests.support.fakes import FakePreview
from tests.support.waiting import LIMIT, wait_until
from tests.unit.actors.harness import Harness

Write = Callable[[str], None]


class Service:
    """A service that writes what a test says, when it says so."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.pieces: asyncio.Queue[str | Reply | Exception | None] = asyncio.Queue()
        self.cancelled = False
        harness.services.script = self._answer

    async def _answer(self, write: Write) -> Reply | None:
        try:
            while isinstance(piece := await self.pieces.get(), str):
                write(piece)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def says(self, *pieces: str) -> None:
        """Write pieces, and wait until the last of them can be seen."""
        before = len(self.harness.messenger.shown)
        for piece in pieces:
            self.pieces.put_nowait(piece)
        await wait_until(lambda: len(self.harness.messenger.shown) > before)

    def ends(self, how: Reply | Exception | None = None) -> None:
        """End the answer."""
        self.pieces.put_nowait(how)


@asynccontextmanager
async def answering(
    harness: Harness, envelope: Envelope | None = None
) -> AsyncIterator[Service]:
    """Let a service answer a message in the block; all of it is done after it."""
    service = Service(harness)
    serving = asyncio.create_task(harness.serve(envelope or build_accepted(1, "hi")))
    try:
        yield service
        async with asyncio.timeout(LIMIT):
            await serving
    finally:
        serving.cancel()


@pytest.fixture
def harness() -> Harness:
    return Harness()


async def test_the_text_is_shown_as_it_grows_and_sent_when_it_is_whole(
    harness: Harness,
) -> None:
    """Each text holds all of the one before; the message holds all of it."""
    async with answering(harness) as service:
        await service.says("Once ")
        await service.says("upon ", "a time")
        service.ends()
    assert harness.messenger.shown[0] == "Once "
    assert harness.messenger.shown[-1].startswith("Once upon ")
    assert harness.messenger.texts == ["Once upon a time"]
    assert harness.turns.outcomes == ["done"]


async def test_the_reply_of_the_last_response_is_what_stays(harness: Harness) -> None:
    """It takes the place of the pieces."""
    async with answering(harness) as service:
        await service.says("draft")
        service.ends(Reply(messages=[OutgoingMessage(text="fair copy")]))
    assert harness.messenger.texts == ["fair copy"]


async def test_a_slow_bot_api_skips_texts_and_has_one_call_at_a_time(
    harness: Harness,
) -> None:
    """The newest text wins; there is never a queue."""
    gate = asyncio.Event()
    calls: list[str] = []

    async def slow(text: str) -> None:
        calls.append(text)
        assert len(calls) == len(harness.messenger.shown) + 1
        await gate.wait()

    harness.messenger.show = slow
    async with answering(harness) as service:
        service.pieces.put_nowait("0 ")
        await wait_until(lambda: calls == ["0 "])
        for number in range(1, 100):
            service.pieces.put_nowait(f"{number} ")
        await wait_until(service.pieces.empty)
        gate.set()
        await wait_until(lambda: len(harness.messenger.shown) == 2)
        service.ends()
    whole = "".join(f"{number} " for number in range(100))
    assert calls[1:] == [whole]
    assert harness.messenger.texts == [whole]


async def test_the_complete_answer_waits_for_the_call_before_it(
    harness: Harness,
) -> None:
    """Else a draft would arrive behind the message and stay beside it."""
    gate = asyncio.Event()

    async def slow(_: str) -> None:
        await gate.wait()

    harness.messenger.show = slow
    async with answering(harness) as service:
        service.pieces.put_nowait("text")
        service.ends()
        await wait_until(service.pieces.empty)
        assert harness.messenger.sent == []
        gate.set()
    assert harness.messenger.texts == ["text"]


async def test_the_complete_answer_does_not_wait_for_ever(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that hangs is given up."""
    monkeypatch.setattr(streaming, "LAST_PREVIEW_SECONDS", 0.05)

    async def hangs(_: str) -> None:
        await asyncio.Event().wait()

    harness.messenger.show = hangs
    async with answering(harness) as service:
        service.pieces.put_nowait("text")
        service.ends()
    assert harness.messenger.texts == ["text"]


async def test_a_refused_draft_slows_the_drafts_and_not_the_answer(
    harness: Harness,
) -> None:
    """What Telegram asked for is waited, but not by the message."""
    refused = asyncio.Event()

    async def refuses(_: str) -> None:
        refused.set()
        raise BotApiUnavailable("sendMessageDraft failed with 429", 60)

    harness.messenger.show = refuses
    async with answering(harness) as service:
        service.pieces.put_nowait("one ")
        await refused.wait()
        service.pieces.put_nowait("two")
        service.ends()
    assert harness.messenger.shown == []
    assert harness.messenger.texts == ["one two"]
    assert harness.turns.outcomes == ["done"]


async def test_after_refusals_the_newest_text_is_shown_again(harness: Harness) -> None:
    """Slower, and faster again with every call that works."""
    times: list[float] = []

    async def sometimes(_: str) -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) in {2, 3}:
            raise BotApiUnavailable("429", 0.02 if len(times) == 2 else 0)

    harness.messenger.show = sometimes
    async with answering(harness) as service:
        await service.says("a")
        await service.says("b")
        assert times[2] - times[1] >= 0.02
        await service.says("c")
        service.ends()
    assert harness.messenger.shown == ["a", "ab", "abc"]


@pytest.mark.parametrize(
    "error", [CallRejected("x", 400, RejectedPart.OTHER), RecipientBlocked("x")]
)
async def test_what_cannot_be_shown_is_sent_all_the_same(
    harness: Harness, error: Exception
) -> None:
    """A preview is a courtesy."""
    tried: list[str] = []

    async def never(text: str) -> None:
        tried.append(text)
        raise error

    harness.messenger.show = never
    async with answering(harness) as service:
        service.pieces.put_nowait("one ")
        await wait_until(lambda: bool(tried))
        service.pieces.put_nowait("two")
        service.ends()
    assert tried == ["one "]
    assert harness.messenger.texts == ["one two"]


async def test_a_stop_ends_the_call_and_keeps_what_was_shown(harness: Harness) -> None:
    """What came after the last text that the user saw is not sent."""
    seen = asyncio.Event()

    async def once(_: str) -> None:
        if seen.is_set():
            raise BotApiUnavailable("429", 60)
        seen.set()

    harness.messenger.show = once
    async with answering(harness) as service:
        await service.says("seen")
        service.pieces.put_nowait(" unseen")
        await wait_until(service.pieces.empty)
        harness.stops.publish("7", 1)
    assert service.cancelled
    assert harness.messenger.texts == ["seen"]
    assert harness.turns.outcomes == ["stopped"]


async def test_a_stop_before_anything_was_shown_leaves_nothing(
    harness: Harness,
) -> None:
    """The user wanted nothing any more."""
    async with answering(harness):
        await wait_until(lambda: bool(harness.services.calls))
        harness.stops.publish("7", 1)
    assert harness.messenger.sent == []
    assert harness.turns.outcomes == ["stopped"]


async def test_a_stop_that_came_before_the_answer_was_begun_again_counts(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that wrote it had died: the service is not asked once more."""
    service = Service(harness)
    harness.stops.publish("7", 1)
    await harness.serve(build_accepted(1, "hi"))
    assert harness.turns.outcomes == ["stopped"]
    assert harness.services.calls == []
    monkeypatch.setattr(streaming, "MAX_EARLY_STOPS", 1)
    harness.stops.publish("7", 2)
    harness.stops.publish("7", 3)
    service.ends()
    await harness.serve(build_accepted(2, "hi"), build_accepted(3, "hi"))
    assert harness.turns.outcomes == ["stopped", "done", "stopped"]
    monkeypatch.setattr(streaming, "EARLY_STOP_SECONDS", -1)
    harness.stops.publish("7", 4)
    service.ends()
    await harness.serve(build_accepted(4, "hi"))
    assert harness.turns.outcomes == ["stopped", "done", "stopped", "done"]


async def test_a_stop_of_another_answer_does_nothing(harness: Harness) -> None:
    """Of an earlier one of the same user, or of somebody else's."""
    async with answering(harness) as service:
        await service.says("one ")
        harness.stops.publish("7", 2)
        harness.stops.publish("8", 1)
        await service.says("two")
        service.ends()
    harness.stops.publish("7", 1)  # too late
    assert not service.cancelled
    assert harness.turns.outcomes == ["done"]
    assert harness.messenger.texts == ["one two"]


@pytest.mark.parametrize(
    ("error", "words", "outcome"),
    [
        (ServiceUnavailable("text: UNAVAILABLE"), APOLOGY_TEXT, "service_unavailable"),
        (ServiceFailed("text: ABORTED", "No more tokens."), "No more tokens.", None),
    ],
)
async def test_an_answer_that_breaks_off_stays_and_is_excused(
    harness: Harness, error: Exception, words: str, outcome: str | None
) -> None:
    """The user keeps what is there and learns that it is not all."""
    async with answering(harness) as service:
        await service.says("half of")
        service.ends(error)
    assert harness.messenger.texts == ["half of", words]
    assert harness.turns.outcomes == [outcome or "service_failed"]


async def test_a_service_that_fails_at_once_is_excused(harness: Harness) -> None:
    async with answering(harness) as service:
        service.ends(ServiceUnavailable("text: UNAVAILABLE"))
    assert harness.messenger.texts == [APOLOGY_TEXT]


async def test_an_endless_answer_is_cut_off(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A service that lost its way must not fill the memory."""
    monkeypatch.setattr(streaming, "MAX_CHARACTERS", 10)
    async with answering(harness) as service:
        service.pieces.put_nowait("12345678")
        service.pieces.put_nowait("12345678")
    assert service.cancelled
    assert harness.messenger.texts == ["1234567812345678"]
    assert [record.message for record in caplog.records] == ["streamed_reply_truncated"]
    assert harness.turns.outcomes == ["done"]


async def test_a_text_that_does_not_grow_is_shown_again(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A draft vanishes by itself after half a minute."""
    monkeypatch.setattr(stream_buffer, "REFRESH_SECONDS", 0.01)
    async with answering(harness) as service:
        await service.says("thinking")
        await wait_until(lambda: len(harness.messenger.shown) >= 3)
        service.ends()
    assert set(harness.messenger.shown) == {"thinking"}


async def test_a_cancelled_actor_cancels_the_call(harness: Harness) -> None:
    """Also in the middle of an answer; nothing is sent."""
    service = Service(harness)
    serving = asyncio.create_task(harness.serve(build_accepted(1, "hi")))
    await service.says("half")
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert service.cancelled
    assert harness.messenger.sent == []
    assert len(asyncio.all_tasks()) == 1


async def test_an_answer_that_begins_again_can_be_stopped(harness: Harness) -> None:
    """After a lost lease the old one may be here still, for a moment."""
    service = Service(harness)
    service.ends()
    held = await harness.serve(build_accepted(2, "hi"))
    update = build_message(1, "hi")
    match = harness.services.route(update)
    assert match is not None
    streams = StreamRunner(harness.messenger, TypingIndicator(harness.messenger))
    harness.stops.subscribe(streams.stop)
    old, new = (
        asyncio.create_task(streams.run_stream(match, update, "u", held))
        for _ in range(2)
    )
    await service.says("one", "two")
    old.cancel()
    await asyncio.wait([old])
    harness.stops.publish("7", 1)
    async with asyncio.timeout(LIMIT):
        assert (await new).stopped


async def test_a_stream_can_be_stopped_after_its_runner_was_replaced_twice(
    harness: Harness,
) -> None:
    """As by two reloads of the contracts while it runs."""
    service = Service(harness)
    service.ends()
    held = await harness.serve(build_accepted(2, "hi"))
    update = build_message(1, "hi")
    match = harness.services.route(update)
    assert match is not None
    typing = TypingIndicator(harness.messenger)
    first = StreamRunner(harness.messenger, typing)
    second = StreamRunner(harness.messenger, typing, first)
    third = StreamRunner(harness.messenger, typing, second)
    running = asyncio.create_task(first.run_stream(match, update, "u", held))
    await service.says("one")
    third.stop(update.ordering_key, 1)
    async with asyncio.timeout(LIMIT):
        assert (await running).stopped


async def test_a_fault_in_showing_is_logged_without_a_text(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs the preview only, but nobody would ever know of it."""

    async def breaks(text: str) -> None:
        raise ValueError(text)

    harness.messenger.show = breaks
    async with answering(harness) as service:
        service.pieces.put_nowait("hush")
        service.ends()
    assert harness.messenger.texts == ["hush"]
    [record] = caplog.records
    assert (record.message, record.levelname) == ("preview_failed", "ERROR")
    assert "ValueError" in record.__dict__["error"]
    assert "hush" not in str(record.__dict__)


async def test_the_pace_is_that_of_what_is_shown_by_now(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where drafts are refused the first edit has to wait as long as any other."""
    times: list[float] = []

    async def show(_: str) -> None:
        times.append(asyncio.get_running_loop().time())
        monkeypatch.setattr(FakePreview, "min_interval", 0.1)

    harness.messenger.show = show
    begin = asyncio.get_running_loop().time()
    async with answering(harness) as service:
        await service.says("one ")
        await service.says("two")
        service.ends()
    assert times[1] - begin >= 0.1


async def test_the_lease_is_held_before_every_text(harness: Harness) -> None:
    """Whoever lost the mailbox must not write into the chat."""
    service = Service(harness)
    serving = asyncio.create_task(harness.serve(build_accepted(1, "hi")))
    await service.says("one ")
    await service.says("two")
    service.ends()
    held = await serving
    # The session, the call, the texts, the message.
    assert held.holds == 1 + 1 + len(harness.messenger.shown) + 1


async def test_who_blocked_the_bot_is_sent_nothing(harness: Harness) -> None:
    """Not even what a service writes for that kind of update."""
    harness.services.events[EVENT_USER_BLOCKED_BOT] = "update my_chat_member"
    envelope = build_accepted(1, event=EVENT_USER_BLOCKED_BOT)
    async with answering(harness, envelope) as service:
        await service.says("bye")
        service.ends()
    assert harness.messenger.sent == []
    assert harness.turns.outcomes == ["done"]


async def test_the_stop_itself_is_done_in_its_turn(harness: Harness) -> None:
    """It took effect when it came in; no route has to serve it."""
    envelope = build_accepted(1, draft_id=5)
    await harness.serve(envelope)
    assert harness.messenger.sent == []
    await harness.serve(envelope)
    assert harness.turns.outcomes == ["done", "duplicate"]


@settings(max_examples=50)
@given(
    pieces=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=30),
    fails=st.lists(st.sampled_from(["", "later", "never"]), max_size=30),
)
def test_whatever_the_bot_api_does_the_answer_is_whole(
    pieces: list[str], fails: list[str]
) -> None:
    """Texts only grow, and the message has every character."""

    async def play() -> None:
        harness = Harness()
        plan = iter(fails)

        async def show(_: str) -> None:
            match next(plan, ""):
                case "later":
                    raise BotApiUnavailable("429", 0.001)
                case "never":
                    raise CallRejected("x", 400, RejectedPart.OTHER)

        harness.messenger.show = show
        async with answering(harness) as service:
            for piece in pieces:
                service.pieces.put_nowait(piece)
                await asyncio.sleep(0)
            service.ends()
        whole = "".join(pieces)
        assert harness.messenger.texts == ([whole] if whole.strip() else [])
        shown = harness.messenger.shown
        assert all(b.startswith(a) for a, b in pairwise(shown))
        assert all(whole.startswith(text) for text in shown)

    asyncio.run(play())
