"""Delivers updates to one webhook as Telegram does.

It follows telegram-bot-api's WebhookActor.cpp. Not simulated: the rate at which new
connections are opened (about 20 a second), and the removal of a webhook that responds
with 410 for 23 hours.

Concurrency: one task for each loaded queue, which is a queue whose updates are being
sent. It sends the queue's oldest update repeatedly until the response is 2xx or the
update expires, then the next one. At most `2 * max_connections` queues are loaded, and
at most `max_connections` of them send at the same time, in the order of their requests.
Stopping a sender cancels its open requests; their updates stay in the queue.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from msgspec import Struct

from gateway.background import cancel_and_wait
from gateway.sandbox.simulator.delivery.update_queue import PendingUpdate, UpdateQueue
from gateway.sandbox.simulator.state.update_log import UpdateLog
from gateway.sandbox.simulator.state.webhook import Webhook

MAX_PAUSE_SECONDS = 60.0
"""Upper limit of the pauses; it is multiplied with a random factor from 1 to 2."""
MAX_RETRY_AFTER_SECONDS = 3600
MAX_RESPONSE_BYTES = 2**20
"""Maximum size of a response with a method call (TDLib: HttpReader.cpp)."""
_IDLE_SECONDS = 10.0
"""After this time without a success only one connection is used."""


ExecuteReply = Callable[[str, bytes], None]
"""Executes the method call in a response, given its content type and body."""


class DeliveryTiming(Struct, frozen=True):
    """The pauses and timeouts of webhook deliveries.

    Attributes:
        scale: factor for the pauses between attempts; 1 is Telegram's.
        answer_seconds: the timeout of a request.
        sleep: waits for a number of seconds.
    """

    scale: float = 1.0
    answer_seconds: float = 60.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class _Response(Struct, frozen=True):
    """The response of a webhook, or status 0 and the reason if there was none.

    `body` is only kept if its content type allows a method call.
    """

    status: int
    error: str
    retry_after: float = 0.0
    content_type: str = ""
    body: bytes = b""

    @property
    def is_accepted(self) -> bool:
        is_whole = len(self.body) <= MAX_RESPONSE_BYTES
        return 200 <= self.status < 300 and is_whole


class WebhookSender:
    """Sends the queued updates to a webhook until it is stopped.

    Args:
        webhook: the settings of the webhook.
        queue: the queued updates; those that are accepted or expire are removed.
        update_log: records each attempt.
        failed: called with the error text of each failed attempt.
        carry_out: called with the content type and the body of a response that may
            contain a method call.
        session: the HTTP client.
        timing: the pauses and timeouts.
    """

    def __init__(
        self,
        webhook: Webhook,
        queue: UpdateQueue,
        update_log: UpdateLog,
        *,
        failed: Callable[[str], None],
        carry_out: ExecuteReply,
        session: aiohttp.ClientSession,
        timing: DeliveryTiming,
    ) -> None:
        self._webhook = webhook
        self._failed = failed
        self._carry_out = carry_out
        self._queue = queue
        self._update_log = update_log
        self._session = session
        self._timing = timing
        self._limit: int = webhook.info["max_connections"]
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._sending = 0
        self._asking: deque[asyncio.Future[None]] = deque()
        self._last_success = -_IDLE_SECONDS

    def load(self) -> None:
        """Start tasks for queues that have none, oldest first, up to the limit.

        Has to be called after an update was added.
        """
        if len(self._tasks) >= 2 * self._limit:
            return
        for key in list(self._queue.keys()):
            if key not in self._tasks:
                name = f"queue {key}"
                self._tasks[key] = asyncio.create_task(self._empty(key), name=name)
                if len(self._tasks) >= 2 * self._limit:
                    return

    async def stop(self) -> None:
        """Cancel all tasks and requests; raise the error of a task that had failed."""
        tasks = list(self._tasks.values())
        await cancel_and_wait(*tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def _empty(self, key: int) -> None:
        while pending := self._queue.head(key):
            await self._deliver(pending)
            self._queue.remove(pending)
        # After an exception the task stays here, so that `stop` raises it.
        del self._tasks[key]
        self.load()

    async def _deliver(self, pending: PendingUpdate) -> None:
        """Send an update until it is accepted or expired."""
        delay, pause, failed = 1.0, 0.0, False
        while time.time() + pause <= pending.expires_at:
            await self._timing.sleep(pause * self._timing.scale)
            answer = await self._attempt(pending)
            if answer.is_accepted:
                return
            self._failed(answer.error)
            pause = answer.retry_after
            if failed and not pause:
                longest = MAX_PAUSE_SECONDS * random.uniform(1, 2)  # noqa: S311 - jitter
                pause = delay = min(2 * delay, longest)
            failed = True
        self._update_log.drop(pending.update_id, pending.bot_id)

    async def _attempt(self, pending: PendingUpdate) -> _Response:
        async with self._connection():
            self._update_log.start_attempt(pending.update_id, pending.bot_id)
            answer = _Response(0, "")
            try:
                answer = await self._post(pending)
            finally:
                self._update_log.end_attempt(
                    pending.update_id,
                    answer.status,
                    accepted=answer.is_accepted,
                    bot_id=pending.bot_id,
                )
            if answer.is_accepted:
                self._last_success = time.monotonic()
                if answer.body:
                    self._carry_out(answer.content_type, answer.body)
            return answer

    async def _post(self, pending: PendingUpdate) -> _Response:
        headers = {"Content-Type": "application/json"}
        if self._webhook.secret_token:
            headers["X-Telegram-Bot-Api-Secret-Token"] = self._webhook.secret_token
        try:
            async with self._session.post(
                self._webhook.url,
                data=pending.body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._timing.answer_seconds),
            ) as response:
                return await _read(response)
        except TimeoutError:
            return _Response(0, "Read timeout expired")
        except aiohttp.ClientConnectorError:
            return _Response(0, "Connection refused")
        except aiohttp.ClientError:
            return _Response(0, "Connection closed")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[None]:
        """Occupy one of the connections within the block."""
        if self._sending >= self._allowed():
            record = asyncio.get_running_loop().create_future()
            self._asking.append(record)
            await record
        else:
            self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1
            while self._asking and self._sending < self._allowed():
                record = self._asking.popleft()
                if not record.done():  # it is cancelled where the sender is stopped
                    self._sending += 1
                    record.set_result(None)

    def _allowed(self) -> int:
        is_idle = time.monotonic() - self._last_success > _IDLE_SECONDS
        return 1 if is_idle else self._limit


async def _read(response: aiohttp.ClientResponse) -> _Response:
    """Read a response to its end."""
    content_type = response.headers.get("Content-Type", "")
    may_call = any(each in content_type.lower() for each in _CALLING)
    body = bytearray()
    async for piece in response.content.iter_any():
        if may_call and len(body) <= MAX_RESPONSE_BYTES:
            body += piece
    given = response.headers.get("Retry-After", "")
    seconds = int(given) if given.isascii() and given.isdecimal() else 0
    return _Response(
        response.status,
        f"Wrong response from the webhook: {response.status} {response.reason}",
        min(seconds, MAX_RETRY_AFTER_SECONDS),
        content_type,
        bytes(body),
    )


_CALLING = ("application/json", "x-www-form-urlencoded", "multipart/form-data")
"""The content types of responses that may contain a method call."""
