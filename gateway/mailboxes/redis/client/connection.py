"""One connection to one Redis server, which all callers share: the group commit.

What is asked in one turn of the event loop, and while a batch is under way, travels in
one write and comes back in one read. At most one batch is under way: under load batches
grow by themselves, and nobody waits while there is no load.

Concurrency: one task per transport connects, and waits for the end of the connection;
batches are written and answers handed out in callbacks of the event loop. The callers
only wait for their answer. A caller that was cancelled leaves its answer to be read and
dropped. A command whose answer was lost is sent again until its caller gives up: every
command may be repeated.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import InvalidResponse, ResponseError

from gateway.background import BackgroundTasks
from gateway.domain.ports import Clock
from gateway.mailboxes.redis.client.pipeline import (
    CommandBatch,
    RedirectCallback,
    encode_command,
)
from gateway.mailboxes.redis.client.protocol import PipelineProtocol, attach_protocol
from gateway.mailboxes.redis.client.server_health import ServerHealth
from gateway.mailboxes.redis.commands import RedisCommand
from gateway.mailboxes.redis.lua.scripts import Scripts
from gateway.mailboxes.redis.store_clock import ServerTimeCallback, ignore_server_time

BATCH_TIMEOUT_SECONDS = 1.0
"""Seconds within which a batch is answered; else the connection is taken for dead."""

PURGE_THRESHOLD = 1000
"""If nothing is sent, more are looked through for those that nobody waits for."""


class PipelinedConnection:
    """A connection that is made again whenever it breaks.

    Args:
        make_connection: makes a connection object, not yet connected.
        scripts: loaded into every server that is connected to.
        clock: tells when a batch was sent.
        redirect: takes a command whose slot of a Cluster is elsewhere or on the move.
        background: runs the task.
    """

    def __init__(
        self,
        make_connection: Callable[[], AbstractConnection],
        scripts: Scripts,
        clock: Clock,
        redirect: RedirectCallback,
        background: BackgroundTasks | None = None,
    ) -> None:
        self.make_connection = make_connection
        self._background = background or BackgroundTasks()
        self._clock = clock
        self._redirect = redirect
        self.on_server_time: ServerTimeCallback = ignore_server_time
        """Is told the server's time whenever a connection was made."""
        self._handshake = b"".join(
            (
                encode_command(
                    (b"TIME",)
                ),  # first: its answer tells how long the way takes
                encode_command((b"INFO", b"server")),
                *(
                    encode_command((b"SCRIPT", b"LOAD", script.source))
                    for script in scripts
                ),
            )
        )
        self._script_count = len(tuple(scripts))
        self._queue: deque[RedisCommand] = deque()
        self._batch: CommandBatch | None = None
        """What is under way."""
        self._protocol: PipelineProtocol | None = None
        self._is_send_scheduled = False
        self._sent_at = 0.0
        """When the batch was sent, by the time of the event loop."""
        self._batch_timeout: asyncio.Timeout
        self._watchdog: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.first_attempt_ended = asyncio.Event()
        """The first attempt to connect has ended, well or badly."""
        self.health = ServerHealth(clock)
        """How the server is doing."""
        self._purge_length = PURGE_THRESHOLD

    def start(self) -> None:
        """Start to connect."""
        self._task = self._background.start(
            "redis", self._keep_connected, max_delay=BATCH_TIMEOUT_SECONDS
        )

    async def close(self) -> None:
        """End the connection. Whoever still waits for an answer is cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for command in self._queue:
            command.reply.cancel()

    def set_health_callbacks(
        self, on_restart: Callable[[float], None], on_recovery: Callable[[float], None]
    ) -> None:
        """Set the callbacks. See `RedisClient.set_health_callbacks`."""
        self.health.on_restart, self.health.on_recovery = on_restart, on_recovery

    def submit(self, command: RedisCommand, *, first: bool = False) -> None:
        """Send a command with the next batch. See `RedisClient.submit`."""
        if first:
            self._queue.appendleft(command)
        else:
            self._queue.append(command)
        self._schedule_send()
        if self.health.is_failing and len(self._queue) > self._purge_length:
            self._queue.extend(self.take_unsent())
            self._purge_length = 2 * len(self._queue) + PURGE_THRESHOLD

    def take_unsent(self) -> list[RedisCommand]:
        """Take back what was not sent yet, and is still waited for."""
        unsent = [command for command in self._queue if not command.reply.done()]
        self._queue.clear()
        return unsent

    async def _keep_connected(self) -> None:
        while True:
            connection = self.make_connection()
            try:
                await self._connect_and_serve(connection)
            except Exception as error:  # noqa: BLE001 - no error may end the transport
                self.health.record_failure(error)
            finally:
                self.first_attempt_ended.set()
                if self._batch is not None:
                    self._queue.extendleft(reversed(self._batch.unanswered))
                self._protocol = self._batch = None
                await connection.disconnect(nowait=True)
            await asyncio.sleep(self.health.next_retry_delay())

    async def _connect_and_serve(self, connection: AbstractConnection) -> None:
        """Connect and answer commands, until something fails."""
        async with asyncio.timeout(BATCH_TIMEOUT_SECONDS):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
            asked_at = self._clock.uptime()
            await connection.send_packed_command(self._handshake, check_health=False)
            with contextlib.suppress(ResponseError):  # not everybody may ask
                self._report_server_time(asked_at, *await connection.read_response())
            info = b""
            with contextlib.suppress(ResponseError):  # as above
                info = await connection.read_response()
            for _ in range(self._script_count):
                await connection.read_response()
        self.health.record_connection(info)
        self.first_attempt_ended.set()
        async with asyncio.timeout(None) as self._batch_timeout:
            self._protocol = attach_protocol(connection, self._handle_reply)
            self._schedule_send()
            await self._protocol.wait_closed()

    def _report_server_time(
        self, asked_at: float, seconds: bytes, microseconds: bytes
    ) -> None:
        server_time = int(seconds) + int(microseconds) / 1e6
        self.on_server_time(server_time, asked_at, self._clock.uptime())

    def _schedule_send(self) -> None:
        """Send what waits at the end of this turn, unless a batch is under way."""
        if self._protocol is None or self._batch is not None or self._is_send_scheduled:
            return
        self._is_send_scheduled = True
        asyncio.get_running_loop().call_soon(self._send_batch)

    def _send_batch(self) -> None:
        """Send a batch."""
        self._is_send_scheduled = False
        if self._protocol is None:
            return
        loop = asyncio.get_running_loop()
        self._sent_at = loop.time()
        if self._watchdog is None:
            self._watchdog = loop.call_later(
                BATCH_TIMEOUT_SECONDS, self._check_batch_timeout
            )
        # Known before it is filled: whatever goes wrong, the watchdog sees it.
        batch = self._batch = CommandBatch()
        packed = batch.fill(self._queue, self._clock.uptime())
        if packed:
            self._protocol.send(packed, len(batch))
        else:
            self._batch = None

    def _check_batch_timeout(self) -> None:
        """End the connection if the batch is late. One timer does for many batches."""
        self._watchdog = None
        if self._batch is None:
            return
        loop = asyncio.get_running_loop()
        end = self._sent_at + BATCH_TIMEOUT_SECONDS
        if end <= loop.time():
            self._batch_timeout.reschedule(end)
        else:
            self._watchdog = loop.call_at(end, self._check_batch_timeout)

    def _handle_reply(self, reply: Any) -> None:  # noqa: ANN401 - as Redis answers
        """Hand out the next answer. What is raised ends the connection."""
        batch = self._batch
        if batch is None:
            raise InvalidResponse("an answer that nobody asked for")
        if batch.handle_reply(reply):
            batch.finish(self._redirect)
            self._batch = None
            self.health.record_answers()
            if self._queue:
                self._schedule_send()
