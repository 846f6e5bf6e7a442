"""Tells the chat page what became of each update: which steps it took, and when.

It sits around the parts of a gateway, which know nothing of it. Only the sandbox starts
a gateway with it: what it tells holds texts of users.

Concurrency: steps are noted in the task of the actor, request or call that takes them.
A context variable holds which update a task is at; the actor's own task sets it, and
what it awaits inherits it. One task, `run`, posts what is new; what cannot be posted is
dropped, because the gateway must not wait for a page.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from botgateway.chat.v1.reply_pb2 import Reply
from google.protobuf import text_format
from msgspec import Struct

from gateway.domain.errors import Faults
from gateway.domain.turn import Turn
from gateway.domain.update import Envelope

KEY_HEADER = "X-Sandbox-Key"
"""Carries the key that the sandbox gave to its gateway."""

MOST_TURNS = 1000
"""Updates whose steps are kept at a time; the oldest go first."""

POST_SECONDS = 0.05
"""How often what is new is posted."""


class Step(Struct):
    """Something that took time on an update's way. Times: seconds since the epoch."""

    name: str
    start: float
    end: float
    detail: str = ""


class Record(Struct):
    """What is known of an update's way so far."""

    update_id: int
    kind: str = ""
    route: str = ""
    outcome: str = ""
    fault: str = ""
    request_id: str = ""
    telegram_user_id: int = 0
    steps: list[Step] = []
    request: str = ""
    """What the service was asked, as text format."""
    reply: str = ""
    """What was sent back, as text format."""


class Recorder:
    """Collects steps and posts them.

    Args:
        url: where to.
        key: lets the receiver know the sender.

    Raises:
        Faults: the address is not on this machine.
    """

    def __init__(self, url: str, key: str) -> None:
        if urlsplit(url).hostname not in {"127.0.0.1", "::1", "localhost"}:
            raise Faults(["SANDBOX_TURNS_URL: is not on loopback"])
        self._url = url
        self._key = key
        self._records: OrderedDict[int, Record] = OrderedDict()
        self._changed: set[int] = set()
        self._wanted = asyncio.Event()
        self._current: ContextVar[int] = ContextVar("update_id", default=0)

    def accepting(
        self, accept: Callable[[Envelope], Awaitable[None]]
    ) -> Callable[[Envelope], Awaitable[None]]:
        """Note when an update came and when it was stored."""

        async def accept_and_note(envelope: Envelope) -> None:
            start = time.time()
            self.note("received", envelope.arrived, start, of=envelope.update_id)
            await accept(envelope)
            self.note("stored", start, time.time(), of=envelope.update_id)

        return accept_and_note

    def observing(self, observe: Callable[[Turn], None]) -> Callable[[Turn], None]:
        """Note what became of an update; what ended a moment ago was its commit."""

        def observe_and_note(turn: Turn) -> None:
            observe(turn)
            if not turn.update_id:
                return
            record = self._record(turn.update_id)
            record.kind, record.route = turn.kind, turn.route
            record.outcome, record.fault = turn.outcome, turn.fault
            record.request_id = turn.request_id
            record.telegram_user_id = turn.telegram_user_id
            now = time.time()
            last = max((step.end for step in record.steps), default=now)
            self.note("committed", last, now, turn.outcome, of=turn.update_id)

        return observe_and_note

    def begin(self, update_id: int) -> None:
        """Say which update this task is at from now on."""
        self._current.set(update_id)
        record = self._record(update_id)
        start = max((step.end for step in record.steps), default=time.time())
        self.note("waited", start, time.time(), of=update_id)

    def note(
        self, name: str, start: float, end: float, detail: str = "", *, of: int = 0
    ) -> None:
        """Note a step.

        Args:
            name: what it is called.
            start: when it began, in seconds since the epoch.
            end: when it ended.
            detail: what else there is to say, in a few words.
            of: the update. 0: the one that this task is at.
        """
        update_id = of or self._current.get()
        if update_id:
            self._record(update_id).steps.append(Step(name, start, end, detail))
            self._touch(update_id)

    def note_request(self, request: str) -> None:
        """Note what a service is asked."""
        if update_id := self._current.get():
            self._record(update_id).request = request
            self._touch(update_id)

    def note_reply(self, reply: Reply) -> None:
        """Note what is sent back."""
        if update_id := self._current.get():
            self._record(update_id).reply = text_format.MessageToString(
                reply, as_utf8=True
            )
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
                body = self._take()
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with client.post(self._url, data=body):
                        pass

    def _take(self) -> bytes:
        """Give what changed since it was last given."""
        changed, self._changed = self._changed, set()
        records = [self._records.get(update_id) for update_id in sorted(changed)]
        return msgspec.json.encode([record for record in records if record])

    def _record(self, update_id: int) -> Record:
        record = self._records.get(update_id)
        if record is None:
            record = self._records[update_id] = Record(update_id)
            if len(self._records) > MOST_TURNS:
                self._records.popitem(last=False)
        return record

    def _touch(self, update_id: int) -> None:
        self._changed.add(update_id)
        self._wanted.set()
