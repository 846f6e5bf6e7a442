"""Tells the chat page what became of each update: which steps it took, and when.

It sits around the parts of a gateway, which know nothing of it. What it tells holds
texts of users, so it works only where the Bot API is a simulator on this machine, and
tells nobody but this machine.

Concurrency: steps are noted in the task of the actor, request or call that takes them.
A context variable holds which update a task is at; the actor's own task sets it, and
what it awaits inherits it. One task, `run`, posts what is new; what cannot be posted
goes along with what comes next. The gateway never waits for the page.
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
from botgateway.chat.v1.reply_pb2 import Reply
from google.protobuf import text_format

from gateway.domain.errors import ConfigurationError
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import Envelope
from gateway.sandbox.tracing.trace_model import Step, UpdateTrace

logger = logging.getLogger(__name__)

KEY_HEADER = "X-Sandbox-Key"
"""Carries the key that the sandbox gave to its gateway."""

MAX_TRACES = 10_000
"""Updates whose steps are kept at a time; the oldest go first."""

POST_SECONDS = 0.05
"""How often what is new is posted."""

MAX_TEXT_LENGTH = 1_000
"""Characters of an error's text that are shown."""

MAX_LOSSES = 100
"""Of one reply."""


class Tracer:
    """Collects steps and posts them.

    Args:
        url: where to.
        key: lets the receiver know the sender.
        api_url: the Bot API that the gateway uses.

    Raises:
        ConfigurationError: something of it is not on this machine, or the key is empty.
    """

    def __init__(self, url: str, key: str, api_url: str) -> None:
        if not (_is_here(url) and _is_here(api_url) and key):
            raise ConfigurationError(["SANDBOX_TURNS_URL: is for the sandbox alone"])
        logger.warning("the sandbox is told what users write")
        self._url = url
        self._key = key
        self._records: OrderedDict[int, UpdateTrace] = OrderedDict()
        self._changed: set[int] = set()
        self._wanted = asyncio.Event()
        self._current: ContextVar[int] = ContextVar("update_id", default=0)
        self._sending: ContextVar[bool] = ContextVar("sending", default=False)

    def accepting(
        self, accept: Callable[[Envelope], Awaitable[None]]
    ) -> Callable[[Envelope], Awaitable[None]]:
        """Note when an update came and when it was stored."""

        async def accept_and_note(envelope: Envelope) -> None:
            if self._record(envelope.update_id).outcome:  # delivered again
                await accept(envelope)
                return
            start = time.time()
            self.note("received", envelope.arrived_at, start, of=envelope.update_id)
            await accept(envelope)
            self.note("stored", start, time.time(), of=envelope.update_id)

        return accept_and_note

    def observing(
        self, observe: Callable[[ProcessingRecord], None]
    ) -> Callable[[ProcessingRecord], None]:
        """Note what became of an update; what ended a moment ago was its commit."""

        def observe_and_note(view: ProcessingRecord) -> None:
            observe(view)
            if not view.update_id:
                return
            record = self._record(view.update_id)
            if record.outcome:
                return
            record.kind, record.route = view.update_type, view.route
            record.outcome, record.fault = view.outcome, view.error
            record.request_id = view.request_id
            record.telegram_user_id = view.telegram_user_id
            self._touch(view.update_id)
            if view.outcome is not Outcome.REFUSED:
                now = time.time()
                last = max((step.end for step in record.steps), default=now)
                self.note("committed", last, now, view.outcome, of=view.update_id)

        return observe_and_note

    def begin(self, update_id: int) -> None:
        """Say which update this task is at from now on."""
        record = self._record(update_id)
        self._current.set(0 if record.outcome else update_id)
        if record.outcome:  # delivered again: that is no part of its way
            return
        start = max((step.end for step in record.steps), default=time.time())
        self.note("waited", start, time.time(), of=update_id)

    def note(
        self,
        name: str,
        start: float,
        end: float,
        detail: str = "",
        *,
        failed: bool = False,
        of: int = 0,
    ) -> None:
        """Note a step.

        Args:
            name: what it is called.
            start: when it began, in seconds since the epoch.
            end: when it ended.
            detail: what else there is to say, in a few words.
            failed: an error was the answer.
            of: the update. 0: the one that this task is at.
        """
        update_id = of or self._current.get()
        if update_id:
            step = Step(name=name, start=start, end=end, detail=detail, failed=failed)
            self._record(update_id).steps += (step,)
            self._touch(update_id)

    @property
    def current(self) -> int:
        """The update that this task is at. 0: none."""
        return self._current.get()

    def counting(self, count: Callable[[str], None]) -> Callable[[str], None]:
        """Note each part that is left out of a reply, besides counting it."""

        def count_and_note(fault: str) -> None:
            count(fault)
            self._note_loss(f"Left out of the reply: {fault.replace('_', ' ')}.")

        return count_and_note

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Take what Telegram refuses inside of the block for a loss of the reply.

        Outside of it are calls that nobody misses, such as those that show typing.
        """
        token = self._sending.set(True)
        try:
            yield
        finally:
            self._sending.reset(token)

    def note_post(
        self, method: str, status: int, seconds: float, description: str
    ) -> None:
        """Note a request to the Bot API.

        Args:
            method: its method.
            status: of the answer. 0: none came.
            seconds: how long it took.
            description: Telegram's words for the error. Empty: there was none.
        """
        now = time.time()
        words = " ".join(f"{status or 'no answer'} {description}".split())
        detail = f"{method}: {words[:MAX_TEXT_LENGTH]}"
        failed = status != 200 and not _changes_nothing(description)
        self.note("send", now - seconds, now, detail, failed=failed)
        if failed and 400 <= status < 500 and status != 429 and self._sending.get():
            self._note_loss(f"Telegram refused {detail}")

    def _note_loss(self, loss: str) -> None:
        update_id = self._current.get()
        if update_id and len(self._record(update_id).losses) < MAX_LOSSES:
            self._record(update_id).losses += (loss,)
            self._touch(update_id)

    def note_request(self, request: str) -> None:
        """Note what a service is asked."""
        if update_id := self._current.get():
            self._record(update_id).request = request
            self._touch(update_id)

    def note_reply(self, reply: Reply) -> None:
        """Note what is sent back."""
        if update_id := self._current.get():
            self._record(update_id).reply = _as_text(reply)
            self._touch(update_id)

    async def run(self) -> None:
        """Post what is new, for ever."""
        headers = {KEY_HEADER: self._key, "Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as client:
            while True:
                await self._wanted.wait()
                await asyncio.sleep(POST_SECONDS)
                self._wanted.clear()
                changed, self._changed = self._changed, set()
                try:
                    body = self._told_of(changed)
                    post = client.post(self._url, data=body, allow_redirects=False)
                    async with post as response:
                        response.raise_for_status()
                except (aiohttp.ClientError, TimeoutError):
                    self._changed |= changed  # with the next ones

    def _told_of(self, changed: set[int]) -> bytes:
        """Give what is known of some updates."""
        records = [self._records.get(update_id) for update_id in sorted(changed)]
        return msgspec.json.encode([record for record in records if record])

    def _record(self, update_id: int) -> UpdateTrace:
        record = self._records.get(update_id)
        if record is None:
            record = UpdateTrace(update_id=update_id)
            self._records[update_id] = record
            if len(self._records) > MAX_TRACES:
                self._records.popitem(last=False)
        return record

    def _touch(self, update_id: int) -> None:
        self._changed.add(update_id)
        self._wanted.set()


def _as_text(reply: Reply) -> str:
    """Show a reply as text format, with the sizes of files in place of the files."""
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
    """Tell whether a refused edit was one to what the message shows already."""
    return "message is not modified" in description.lower()


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "::1", "localhost"}
