"""Answers that users see while they are being written, and can stop.

Concurrency: two tasks per streamed answer, both children of its actor. One reads the
pieces as they come; the other shows the newest text, one call at a time, so that
a slow Bot API skips texts and never makes a queue of them. Neither outlives `follow`.

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

from gateway.actors.lease import Lease
from gateway.actors.replies.stream_buffer import Growing
from gateway.actors.replies.typing_indicator import Typing
from gateway.domain.errors import BotApiError, BotApiUnavailable, ServiceError
from gateway.domain.messenger import CancellationBus, Messenger, StreamingPreview
from gateway.domain.services import BoundCall
from gateway.domain.update import Update
from gateway.logs import describe

logger = logging.getLogger(__name__)

MOST_CHARACTERS = 400_000
"""Of one answer. A service that writes more has lost its way: the call is cancelled."""

SLOWEST_SECONDS = 8.0
"""From one call to the next after refusals, unless Telegram asks for more."""

RECOVERY = 0.9
"""What a call that works makes of the time between calls that a refusal doubled."""

MISSED = 60.0
"""For how many seconds a stop is remembered that stopped nothing here. The answer of a
worker that died is begun anew within 5 s."""

MOST_MISSED = 1000
"""So many of them are remembered."""

Key = tuple[str, int]
"""The lane of an answer, and its draft."""

LAST_CALL_SECONDS = 5.0
"""How long the whole answer waits for the call before it."""


class Streamed(Struct, frozen=True):
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


class Streaming:
    """The streamed answers that are under way here."""

    def __init__(
        self, messenger: Messenger, typing: Typing, stops: CancellationBus
    ) -> None:
        self._messenger = messenger
        self._typing = typing
        self._stoppable: dict[Key, asyncio.Task[Reply | None]] = {}
        self._missed: dict[Key, float] = {}
        """Stops of what is not written here, oldest first, by the loop's time."""
        stops.subscribe(self._stop)

    async def follow(
        self, match: BoundCall, update: Update, internal_user_id: str, held: Lease
    ) -> Streamed:
        """Ask the service, and show its answer while it is being written."""
        text = Growing()
        preview = self._messenger.preview(update)
        key = update.ordering_key, update.update_id
        if self._was_stopped(key):
            return Streamed(Reply(), preview, stopped=True)
        with self._typing.begin(match, update) as wait:

            def write(piece: str) -> None:
                wait.end()
                text.add(piece)
                if text.length > MOST_CHARACTERS:
                    logger.warning(
                        "streamed answer cut off",
                        extra={"request_id": update.context.request_id},
                    )
                    reading.cancel()

            reading = asyncio.create_task(
                match.stream(internal_user_id, write), name="read answer"
            )
            showing = asyncio.create_task(
                _show(text, preview, held), name="show answer"
            )
            self._stoppable[key] = reading
            try:
                await asyncio.wait([reading])
                text.end()
                await asyncio.wait([showing], timeout=LAST_CALL_SECONDS)
            finally:
                # After a lost claim the same answer may have begun anew here.
                if self._stoppable.get(key) is reading:
                    del self._stoppable[key]
                for task in (reading, showing):
                    task.cancel()
                await asyncio.gather(reading, showing, return_exceptions=True)
        if not showing.cancelled() and (fault := showing.exception()):
            logger.error(
                "fault in a preview",
                extra={
                    "request_id": update.context.request_id,
                    "error": describe(fault),
                },
            )
        return _streamed(reading, text, preview)

    def _stop(self, ordering_key: str, draft_id: int) -> None:
        """Stop an answer, if it is being written here."""
        key = ordering_key, draft_id
        if (reading := self._stoppable.get(key)) is not None:
            reading.cancel()
            return
        # Its worker may just have died: whoever begins anew has to know.
        self._missed[key] = now = asyncio.get_running_loop().time()
        while self._missed:
            oldest = next(iter(self._missed))
            if len(self._missed) <= MOST_MISSED and self._missed[oldest] > now - MISSED:
                break
            del self._missed[oldest]

    def _was_stopped(self, key: Key) -> bool:
        """Tell whether an answer was stopped before it began here."""
        missed = self._missed.pop(key, -inf)
        return missed > asyncio.get_running_loop().time() - MISSED


async def _show(text: Growing, preview: StreamingPreview, held: Lease) -> None:
    """Show the newest text, until it is whole."""
    pace = preview.min_interval
    loop = asyncio.get_running_loop()
    while await text.grown():
        await held.hold()
        begun = loop.time()
        length = text.length
        try:
            await preview.show(str(text))
        except BotApiUnavailable as error:
            pace = min(2 * pace, SLOWEST_SECONDS)
            again = loop.time() + max(pace, error.retry_after)
        except BotApiError:
            return
        else:
            text.shown = length
            pace = max(pace * RECOVERY, preview.min_interval)
            again = begun + pace
        await text.ended_by(again)


def _streamed(
    reading: asyncio.Task[Reply | None], text: Growing, preview: StreamingPreview
) -> Streamed:
    """Say what became of an answer.

    Raises:
        Exception: a fault of our own.
    """
    if reading.cancelled():
        overlong = text.length > MOST_CHARACTERS
        kept = str(text) if overlong else str(text)[: text.shown]
        return Streamed(_plain(kept), preview, stopped=not overlong)
    error = reading.exception()
    if isinstance(error, ServiceError):
        return Streamed(_plain(str(text)), preview, error=error)
    reply = reading.result()
    return Streamed(_plain(str(text)) if reply is None else reply, preview)


def _plain(text: str) -> Reply:
    return Reply(messages=[OutgoingMessage(text=text)] if text.strip() else [])
