"""Records the processing of each update as a trace, and posts the traces to the page.

The gateway's components do not know the tracer. Traces contain texts of users, so the
tracer only posts to this machine, and only `telegram-gateway dev` traces a real bot.

Concurrency: steps are recorded in the task that does them: that of an actor, a request
or a call. A context variable contains the update that a task processes; the actor's
task sets it, and awaited coroutines inherit it. One task, `run`, posts changed traces;
failed posts are repeated with the next changes. The gateway never waits for the page.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from anyio import CancelScope
from botgateway.chat.v1.reply_pb2 import Reply
from google.protobuf import text_format

from gateway.domain.errors import ConfigurationError
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import Envelope
from gateway.sandbox.tracing.trace_model import Step, UpdateTrace

logger = logging.getLogger(__name__)

KEY_HEADER = "X-Sandbox-Key"
"""The header with the key that the sandbox passed to its gateway."""

MAX_TRACES = 10_000
"""Maximum number of traces; the oldest are dropped first."""

POST_SECONDS = 0.05
"""Interval between two posts."""

MAX_TEXT_LENGTH = 1_000
"""Maximum characters of an error's text."""

MAX_LOSSES = 100
"""Maximum number of losses of one reply."""

_TraceKey = tuple[int, int]
"""The id of a bot and the id of an update, which is unique only within its bot."""


class Tracer:
    """Collects the traces of updates, and posts them to the page.

    Args:
        url: the URL to post to.
        key: the key by which the page recognizes the gateway.
        api_url: the URL of the Bot API that the gateway uses.
        of_real_bot: True if the bot is a real one: the Bot API may then be on another
            machine, and traces contain the updates, which the page does not know.

    Raises:
        ConfigurationError: a URL is not on this machine, or the key is empty.
    """

    def __init__(
        self, url: str, key: str, api_url: str, *, of_real_bot: bool = False
    ) -> None:
        if not (_is_here(url) and (of_real_bot or _is_here(api_url)) and key):
            raise ConfigurationError(["SANDBOX_TURNS_URL: is for the sandbox alone"])
        logger.warning("sandbox_tracing_enabled")
        self._of_real_bot = of_real_bot
        self._url = url
        self._key = key
        self._records: OrderedDict[_TraceKey, UpdateTrace] = OrderedDict()
        self._changed: set[_TraceKey] = set()
        self._wanted = asyncio.Event()
        self._current: ContextVar[_TraceKey | None] = ContextVar("update", default=None)
        self._sending: ContextVar[bool] = ContextVar("sending", default=False)

    def accepting(
        self, accept: Callable[[Envelope], Awaitable[None]]
    ) -> Callable[[Envelope], Awaitable[None]]:
        """Return a function like `accept` that also records arrival and storage.

        An update that is delivered again after its end is not recorded.
        """

        async def accept_and_note(envelope: Envelope) -> None:
            bot_id, _, _ = envelope.ordering_key.partition("/")
            key = int(bot_id), envelope.update_id
            if self._record(key).outcome:  # delivered again
                await accept(envelope)
                return
            if self._of_real_bot:
                self._record(key).update = msgspec.Raw(envelope.body)
            start = time.time()
            arrived_at = start if envelope.arrived_at is None else envelope.arrived_at
            self.note("received", arrived_at, start, of=key)
            await accept(envelope)
            self.note("stored", start, time.time(), of=key)

        return accept_and_note

    def observing(
        self, observe: Callable[[ProcessingRecord], None], bot_id: int
    ) -> Callable[[ProcessingRecord], None]:
        """Return a function like `observe` that also records outcome and commit.

        Args:
            observe: gets the record of each update that has ended.
            bot_id: the id of the bot whose updates these are.
        """

        def observe_and_note(view: ProcessingRecord) -> None:
            observe(view)
            # What the actor does next, such as a delivery, belongs to no update.
            self._current.set(None)
            if view.update_id is None:
                return
            key = bot_id, view.update_id
            record = self._record(key)
            if record.outcome:
                return
            record.kind, record.route = view.update_type, view.route or ""
            record.outcome, record.fault = view.outcome, view.error or ""
            record.request_id = view.request_id or ""
            record.telegram_user_id = view.telegram_user_id or 0
            self._touch(key)
            if view.outcome is not Outcome.REFUSED:
                now = time.time()
                last = max((step.end for step in record.steps), default=now)
                self.note("committed", last, now, view.outcome, of=key)

        return observe_and_note

    def begin(self, update_id: int, bot_id: int) -> None:
        """Record that this task now processes an update, and how long that waited.

        Further steps of this task belong to the update. An update that has ended before
        is not recorded again.
        """
        key = bot_id, update_id
        record = self._record(key)
        self._current.set(None if record.outcome else key)
        if record.outcome:  # delivered again: not a part of the trace
            return
        start = max((step.end for step in record.steps), default=time.time())
        self.note("waited", start, time.time(), of=key)

    def note(
        self,
        name: str,
        start: float,
        end: float,
        detail: str = "",
        *,
        failed: bool = False,
        of: _TraceKey | None = None,
    ) -> None:
        """Record a step of an update.

        Does nothing if this task processes no update and none is given.

        Args:
            name: the name of the step.
            start: when it began, in seconds since the epoch.
            end: when it ended, in seconds since the epoch.
            detail: a short description.
            failed: whether the step failed.
            of: the ids of bot and update; None for the one that this task processes.
        """
        key = of or self._current.get()
        if key:
            step = Step(name=name, start=start, end=end, detail=detail, failed=failed)
            self._record(key).steps += (step,)
            self._touch(key)

    @property
    def current(self) -> int:
        """The id of the update that this task processes, or 0 if it processes none."""
        key = self._current.get()
        return key[1] if key else 0

    def counting(self, count: Callable[[str], None]) -> Callable[[str], None]:
        """Return a function like `count` that also records dropped parts of replies."""

        def count_and_note(fault: str) -> None:
            count(fault)
            self._note_loss(f"Left out of the reply: {fault.replace('_', ' ')}.")

        return count_and_note

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Record calls that Telegram rejects within the block as losses of the reply.

        Calls outside the block, such as those that show typing, are not part of the
        reply.
        """
        token = self._sending.set(True)
        try:
            yield
        finally:
            self._sending.reset(token)

    def note_post(
        self, method: str, status: int, seconds: float, description: str
    ) -> None:
        """Record a request to the Bot API that has just ended.

        Args:
            method: the method.
            status: the HTTP status of the response, or 0 if there was none.
            seconds: how long the request took.
            description: Telegram's error text, or an empty string on success.
        """
        now = time.time()
        words = " ".join(f"{status or 'no answer'} {description}".split())
        detail = f"{method}: {words[:MAX_TEXT_LENGTH]}"
        failed = status != 200 and not _changes_nothing(description)
        self.note("send", now - seconds, now, detail, failed=failed)
        if failed and 400 <= status < 500 and status != 429 and self._sending.get():
            self._note_loss(f"Telegram refused {detail}")

    def _note_loss(self, loss: str) -> None:
        key = self._current.get()
        if key and len(self._record(key).losses) < MAX_LOSSES:
            self._record(key).losses += (loss,)
            self._touch(key)

    def note_request(self, request: str) -> None:
        """Record the request to a service in the trace of this task's update."""
        if key := self._current.get():
            self._record(key).request = request
            self._touch(key)

    def note_reply(self, reply: Reply) -> None:
        """Record the reply of a service in the trace of this task's update."""
        if key := self._current.get():
            self._record(key).reply = _as_text(reply)
            self._touch(key)

    async def run(self) -> None:
        """Post the traces that have changed, at most every 50 ms, until cancelled."""
        headers = {KEY_HEADER: self._key, "Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=5)
        client = aiohttp.ClientSession(headers=headers, timeout=timeout)
        try:
            while True:
                await self._wanted.wait()
                await asyncio.sleep(POST_SECONDS)
                self._wanted.clear()
                await self._post_changes(client)
        finally:
            with CancelScope(shield=True):
                await client.close()

    async def _post_changes(self, client: aiohttp.ClientSession) -> None:
        changed, self._changed = self._changed, set()
        try:
            body = self._encode_traces(changed)
            post = client.post(self._url, data=body, allow_redirects=False)
            async with post as response:
                response.raise_for_status()
        except (aiohttp.ClientError, TimeoutError):
            self._changed |= changed  # retry with the next post

    def _encode_traces(self, changed: set[_TraceKey]) -> bytes:
        """Encode the traces of the changed updates."""
        records = [self._records.get(key) for key in sorted(changed)]
        return msgspec.json.encode([record for record in records if record])

    def _record(self, key: _TraceKey) -> UpdateTrace:
        record = self._records.get(key)
        if record is None:
            bot_id, update_id = key
            record = UpdateTrace(update_id=update_id, bot_id=bot_id)
            self._records[key] = record
            if len(self._records) > MAX_TRACES:
                self._records.popitem(last=False)
        return record

    def _touch(self, key: _TraceKey) -> None:
        self._changed.add(key)
        self._wanted.set()


def _as_text(reply: Reply) -> str:
    """Return a reply in text format, with file sizes instead of file contents."""
    shown = reply
    if any(media.HasField("upload") for each in reply.messages for media in each.media):
        shown = Reply()
        shown.CopyFrom(reply)
        for message in shown.messages:
            for media in message.media:
                if media.HasField("upload"):
                    size = len(media.upload.content)
                    media.upload.content = f"{size} bytes".encode()
    return text_format.MessageToString(shown, as_utf8=True)


def _changes_nothing(description: str) -> bool:
    """Return whether Telegram rejected an edit because it changes nothing."""
    return "message is not modified" in description.lower()


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "::1", "localhost"}
