"""Answers that users see while they are being written, and can stop.

Concurrency: two tasks per streamed answer, both children of its actor. One reads the
pieces as they come; the other shows the newest text, one call at a time, so that
a slow Bot API skips texts and never makes a queue of them. Neither outlives
`run_stream`.

- The end: when the last piece was read, the call that is on its way is waited for, for
  a moment, because a draft that arrives behind the whole answer would stay beside it.
- A stop cancels the reading, and with it the call of the service, at once.
- A call that fails slows the showing down and never touches the answer. A cancelled
  actor cancels both tasks.
"""

import asyncio
import logging
from math import inf

from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from msgspec import Struct

from gateway.actors.lease import ActorLease
from gateway.actors.replies.stream_buffer import StreamBuffer
from gateway.actors.replies.typing_indicator import TypingIndicator
from gateway.domain.errors import BotApiError, BotApiUnavailable, ServiceError
from gateway.domain.messenger import CancellationBus, Messenger, StreamingPreview
from gateway.domain.services import BoundCall
from gateway.domain.update import Update
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

MAX_CHARACTERS = 400_000
"""Of one answer. A service that writes more has lost its way: the call is cancelled."""

MAX_INTERVAL_SECONDS = 8.0
"""From one call to the next after refusals, unless Telegram asks for more."""

BACKOFF_DECAY = 0.9
"""What a call that works makes of the time between calls that a refusal doubled."""

EARLY_STOP_SECONDS = 60.0
"""For how many seconds a stop is remembered that stopped nothing here. The answer of a
worker that died is begun anew within 5 s."""

MAX_EARLY_STOPS = 1000
"""So many of them are remembered."""

StreamKey = tuple[str, int]
"""The lane of an answer, and its draft."""

LAST_PREVIEW_SECONDS = 5.0
"""How long the whole answer waits for the call before it."""


class StreamResult(Struct, frozen=True):
    """What became of a streamed answer.

    Attributes:
        reply: what is to stay, as far as it got.
        preview: what the user sees of it by now.
        stopped: the user stopped it.
        error: why the service did not get to the end. None: it did.
    """

    reply: Reply
    preview: StreamingPreview
    stopped: bool = False
    error: ServiceError | None = None


class StreamRunner:
    """The streamed answers that are under way here."""

    def __init__(
        self,
        messenger: Messenger,
        typing_indicator: TypingIndicator,
        cancellation_bus: CancellationBus,
    ) -> None:
        self._messenger = messenger
        self._typing_indicator = typing_indicator
        self._read_tasks: dict[StreamKey, asyncio.Task[Reply | None]] = {}
        self._early_stops: dict[StreamKey, float] = {}
        """Stops of what is not written here, oldest first, by the loop's time."""
        cancellation_bus.subscribe(self._stop)

    async def run_stream(
        self,
        bound_call: BoundCall,
        update: Update,
        internal_user_id: str,
        lease: ActorLease,
    ) -> StreamResult:
        """Ask the service, and show its answer while it is being written."""
        buffer = StreamBuffer()
        preview = self._messenger.preview(update)
        key = update.ordering_key, update.update_id
        if self._was_stopped(key):
            return StreamResult(Reply(), preview, stopped=True)
        with self._typing_indicator.show_during_call(
            bound_call, update
        ) as pending_indicator:

            def write(piece: str) -> None:
                pending_indicator.cancel()
                buffer.append(piece)
                if buffer.length > MAX_CHARACTERS:
                    logger.warning(
                        "streamed answer cut off",
                        extra={"request_id": update.context.request_id},
                    )
                    read_task.cancel()

            read_task = asyncio.create_task(
                bound_call.stream(internal_user_id, write), name="read answer"
            )
            show_task = asyncio.create_task(
                _show_preview(buffer, preview, lease), name="show answer"
            )
            self._read_tasks[key] = read_task
            try:
                await asyncio.wait([read_task])
                buffer.close()
                await asyncio.wait([show_task], timeout=LAST_PREVIEW_SECONDS)
            finally:
                # After a lost claim the same answer may have begun anew here.
                if self._read_tasks.get(key) is read_task:
                    del self._read_tasks[key]
                for task in (read_task, show_task):
                    task.cancel()
                await asyncio.gather(read_task, show_task, return_exceptions=True)
        if not show_task.cancelled() and (preview_error := show_task.exception()):
            logger.error(
                "fault in a preview",
                extra={
                    "request_id": update.context.request_id,
                    "error": summarize_error(preview_error),
                },
            )
        return _build_result(read_task, buffer, preview)

    def _stop(self, ordering_key: str, draft_id: int) -> None:
        """Stop an answer, if it is being written here."""
        key = ordering_key, draft_id
        if (read_task := self._read_tasks.get(key)) is not None:
            read_task.cancel()
            return
        # Its worker may just have died: whoever begins anew has to know.
        self._early_stops[key] = now = asyncio.get_running_loop().time()
        while self._early_stops:
            oldest = next(iter(self._early_stops))
            if (
                len(self._early_stops) <= MAX_EARLY_STOPS
                and self._early_stops[oldest] > now - EARLY_STOP_SECONDS
            ):
                break
            del self._early_stops[oldest]

    def _was_stopped(self, key: StreamKey) -> bool:
        """Tell whether an answer was stopped before it began here."""
        stopped_at = self._early_stops.pop(key, -inf)
        return stopped_at > asyncio.get_running_loop().time() - EARLY_STOP_SECONDS


async def _show_preview(
    buffer: StreamBuffer, preview: StreamingPreview, lease: ActorLease
) -> None:
    """Show the newest text, until it is whole."""
    interval = preview.min_interval
    loop = asyncio.get_running_loop()
    while await buffer.wait_for_more():
        await lease.ensure_valid()
        started_at = loop.time()
        length = buffer.length
        try:
            await preview.show(str(buffer))
        except BotApiUnavailable as error:
            interval = min(2 * interval, MAX_INTERVAL_SECONDS)
            next_call_at = loop.time() + max(interval, error.retry_after)
        except BotApiError:
            return
        else:
            buffer.shown_length = length
            interval = max(interval * BACKOFF_DECAY, preview.min_interval)
            next_call_at = started_at + interval
        await buffer.wait_until_closed(next_call_at)


def _build_result(
    read_task: asyncio.Task[Reply | None],
    buffer: StreamBuffer,
    preview: StreamingPreview,
) -> StreamResult:
    """Say what became of an answer.

    Raises:
        Exception: a fault of our own.
    """
    if read_task.cancelled():
        is_too_long = buffer.length > MAX_CHARACTERS
        visible_text = (
            str(buffer) if is_too_long else str(buffer)[: buffer.shown_length]
        )
        return StreamResult(
            _build_text_reply(visible_text), preview, stopped=not is_too_long
        )
    error = read_task.exception()
    if isinstance(error, ServiceError):
        return StreamResult(_build_text_reply(str(buffer)), preview, error=error)
    reply = read_task.result()
    return StreamResult(
        _build_text_reply(str(buffer)) if reply is None else reply, preview
    )


def _build_text_reply(text: str) -> Reply:
    return Reply(messages=[OutgoingMessage(text=text)] if text.strip() else [])
