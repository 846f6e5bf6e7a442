"""Runs streamed replies, which users see while they are written, and can stop.

Concurrency: two tasks per streamed reply, both children of its actor. One reads the
chunks from the service. The other shows the newest text, one call at a time, so that a
slow Bot API makes it skip texts instead of queueing them. Neither outlives
`run_stream`.

- At the end of the stream, `run_stream` waits a moment for the pending preview call:
  a draft that arrives after the complete reply would stay visible beside it.
- A stop cancels the reading task at once, and with it the call to the service.
- A failed preview call slows the preview down and never affects the reply.
- If the actor is cancelled, both tasks are cancelled.
"""

import asyncio
import logging
from math import inf

from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from msgspec import Struct, field

from gateway.actors.leases import ActorLease
from gateway.actors.replies.stream_buffer import StreamBuffer
from gateway.actors.replies.typing_indicator import TypingIndicator
from gateway.background import cancel_and_wait
from gateway.domain.errors import BotApiError, BotApiUnavailable, ServiceError
from gateway.domain.ports import BoundCall, Messenger, StreamingPreview
from gateway.domain.update import Update
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

MAX_CHARACTERS = 400_000
"""The maximum length of a reply. If a service sends more, its call is cancelled."""

MAX_INTERVAL_SECONDS = 8.0
"""The maximum interval between calls after failures, unless Telegram asks for more."""

BACKOFF_DECAY = 0.9
"""The factor by which a successful call shortens an interval that failures doubled."""

EARLY_STOP_SECONDS = 60.0
"""How long to remember a stop for a stream that is not running on this worker. After a
worker crashes, the stream may start again here within 5 s."""

MAX_EARLY_STOPS = 1000
"""The maximum number of stops to remember."""

StreamKey = tuple[str, int]
"""The ordering key of a streamed reply, and the id of its draft."""

LAST_PREVIEW_SECONDS = 5.0
"""How long the complete reply waits for the pending preview call."""


class StreamResult(Struct, frozen=True):
    """The result of a streamed reply.

    Attributes:
        reply: the reply, as far as it was received. If the user stopped it, its text is
            the one that the preview showed.
        preview: the live preview that the reply replaces.
        stopped: whether the user stopped the reply.
        error: why the service did not complete the reply, or None if it did.
    """

    reply: Reply
    preview: StreamingPreview
    stopped: bool = False
    error: ServiceError | None = None


class RunningStreams(Struct, frozen=True):
    """The streamed replies that run in this process.

    Attributes:
        read_tasks: the tasks that read the replies from their services.
        early_stops: when a stop arrived for a stream that is not running here, in
            seconds of the event loop's clock, oldest first.
    """

    read_tasks: dict[StreamKey, asyncio.Task[Reply | None]] = field(
        default_factory=dict
    )
    early_stops: dict[StreamKey, float] = field(default_factory=dict)


class StreamRunner:
    """Runs the streamed replies of a bot in this worker.

    Args:
        messenger: makes the live previews of the replies.
        typing_indicator: shown until the first text arrives.
        previous: the runner of the bot that this one replaces. This one can stop its
            streams, too. None if the bot is new.

    Attributes:
        streams: the streams of this runner and of all that it replaced.
    """

    def __init__(
        self,
        messenger: Messenger,
        typing_indicator: TypingIndicator,
        previous: "StreamRunner | None" = None,
    ) -> None:
        self._messenger = messenger
        self._typing_indicator = typing_indicator
        self.streams: RunningStreams = (
            previous.streams if previous else RunningStreams()
        )
        self._read_tasks = self.streams.read_tasks
        self._early_stops = self.streams.early_stops

    async def run_stream(
        self,
        bound_call: BoundCall,
        update: Update,
        internal_user_id: str | None,
        lease: ActorLease,
    ) -> StreamResult:
        """Call the service, and show its reply to the user while it is streamed.

        Only the preview is shown here: the caller sends the complete reply.

        Args:
            bound_call: the call of the service.
            update: the update.
            internal_user_id: the user's internal id, or None if there is none.
            lease: the lease of the mailbox, which has to be valid before each change of
                the preview.

        Returns:
            The received reply; and if it is incomplete, who or what ended it.

        Raises:
            Exception: an internal error of the gateway. Errors of the service are in
                the result.
        """
        buffer = StreamBuffer()
        preview = self._messenger.preview(update)
        key = update.ordering_key, update.update_id
        if self._was_stopped(key):
            return StreamResult(Reply(), preview, stopped=True)
        indicator = self._typing_indicator.start(bound_call, update)

        def write(chunk: str) -> None:
            self._typing_indicator.stop(indicator)
            buffer.append(chunk)
            if buffer.length > MAX_CHARACTERS:
                logger.warning(
                    "streamed_reply_truncated",
                    extra={"request_id": update.context.request_id},
                )
                read_task.cancel()

        read_task = asyncio.create_task(
            bound_call.stream(internal_user_id, write), name="read stream"
        )
        show_task = asyncio.create_task(
            _show_preview(buffer, preview, lease), name="show preview"
        )
        self._read_tasks[key] = read_task
        try:
            await asyncio.wait([read_task])
            buffer.close()
            await asyncio.wait([show_task], timeout=LAST_PREVIEW_SECONDS)
        finally:
            self._typing_indicator.stop(indicator)
            # After a lost lease the same stream may have been started again here.
            if self._read_tasks.get(key) is read_task:
                del self._read_tasks[key]
            await cancel_and_wait(read_task, show_task)
        if not show_task.cancelled() and (preview_error := show_task.exception()):
            logger.error(
                "preview_failed",
                extra={
                    "request_id": update.context.request_id,
                    "error": summarize_error(preview_error),
                },
            )
        return _build_result(read_task, buffer, preview)

    def stop(self, ordering_key: str, draft_id: int) -> None:
        """Stop a streamed reply for its user, if it runs in this process.

        If it does not, the stop is remembered for EARLY_STOP_SECONDS, because the
        stream may start here after its worker has crashed.

        Args:
            ordering_key: the ordering key of the streamed reply.
            draft_id: the id of its draft.
        """
        key = ordering_key, draft_id
        if (read_task := self._read_tasks.get(key)) is not None:
            read_task.cancel()
            return
        # Its worker may just have crashed; if the stream starts here, it has to stop.
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
        """Return whether a stream was stopped before it started here."""
        stopped_at = self._early_stops.pop(key, -inf)
        return stopped_at > asyncio.get_running_loop().time() - EARLY_STOP_SECONDS


async def _show_preview(
    buffer: StreamBuffer, preview: StreamingPreview, lease: ActorLease
) -> None:
    """Show the newest text until the text is complete."""
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
            next_call_at = loop.time() + max(interval, error.retry_after or 0)
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
    """Return the result of a stream.

    Raises:
        Exception: an internal error of the gateway.
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
