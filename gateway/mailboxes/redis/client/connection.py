"""A connection to one Redis server, which all callers share.

Concurrency: one task per connection connects and waits until the connection breaks.
Then, and after any other failure, it connects again after a delay. `close` ends it.
Callers only await their replies. The reply to a cancelled caller is read and dropped. A
command whose reply was lost is sent again until its caller gives up, so every command
must be safe to repeat.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable

from anyio import CancelScope
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from gateway.background import BackgroundTask, BackgroundTasks, cancel_and_wait
from gateway.domain.ports import Clock
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.client.pipeline import (
    BATCH_TIMEOUT_SECONDS,
    CommandPipeline,
    RedirectCallback,
    encode_command,
)
from gateway.mailboxes.redis.client.server_health import ServerHealth

PURGE_THRESHOLD = 1000
"""Queue length beyond which abandoned commands are purged while the server fails."""

ServerTimeCallback = Callable[[float, float, float], None]
"""Called with the time that a server reported, in seconds since the epoch, and with
this machine's uptime when the request was sent and when the reply was received."""


def ignore_server_time(server_time: float, asked_at: float, answered_at: float) -> None:
    """Do nothing: the `ServerTimeCallback` for users who do not need the time."""


class PipelinedConnection:
    """A connection to one server that is made again whenever it breaks.

    Args:
        make_connection: makes a connection object, not yet connected.
        scripts: the sources of Lua scripts, which are loaded into the server after
            connecting.
        clock: measures when batches were sent.
        redirect: called with a command whose Cluster slot is on another node or is
            being moved; it has to send the command elsewhere.
        background: runs the task that keeps the connection.
    """

    def __init__(
        self,
        make_connection: Callable[[], AbstractConnection],
        scripts: Iterable[bytes],
        clock: Clock,
        redirect: RedirectCallback,
        background: BackgroundTasks,
    ) -> None:
        self.make_connection = make_connection
        self._background = background
        self._clock = clock
        self._redirect = redirect
        self.on_server_time: ServerTimeCallback = ignore_server_time
        """Called with the server's time whenever a connection has been made."""
        loads = [encode_command((b"SCRIPT", b"LOAD", script)) for script in scripts]
        self._script_count = len(loads)
        # TIME comes first, so that its reply is not delayed by the others.
        self._handshake = b"".join(
            (encode_command((b"TIME",)), encode_command((b"INFO", b"server")), *loads)
        )
        self._queue: deque[RedisCommand] = deque()
        self._pipeline: CommandPipeline | None = None
        """The pipeline over the connection; None while there is no connection."""
        self._task: BackgroundTask | None = None
        self.first_attempt_ended = asyncio.Event()
        """Set when the first attempt to connect has succeeded or failed."""
        self.health = ServerHealth(clock)
        """The health of the server."""
        self._purge_length = PURGE_THRESHOLD

    def start(self) -> None:
        """Start to connect in the background, without waiting for it."""
        self._task = self._background.start(
            "redis connection", self._keep_connected, max_delay=BATCH_TIMEOUT_SECONDS
        )

    async def close(self) -> None:
        """Close the connection, and cancel all replies that have not arrived."""
        if self._task is not None:
            await cancel_and_wait(self._task)
        for command in self._queue:
            command.reply.cancel()

    def set_health_callbacks(
        self, on_restart: Callable[[float], None], on_recovery: Callable[[float], None]
    ) -> None:
        """Set the functions to call when the health of this server changes.

        See `RedisClient.set_health_callbacks`.
        """
        self.health.on_restart, self.health.on_recovery = on_restart, on_recovery

    def submit(self, command: RedisCommand, *, first: bool = False) -> None:
        """Send a command with the next batch. See `RedisClient.submit`.

        While the server fails, the command is kept; long queues are purged of commands
        that nobody waits for.
        """
        if first:
            self._queue.appendleft(command)
        else:
            self._queue.append(command)
        if self._pipeline is not None and self._pipeline.is_idle:
            self._pipeline.schedule_send()
        if self.health.is_failing and len(self._queue) > self._purge_length:
            self._queue.extend(self.take_unsent())
            self._purge_length = 2 * len(self._queue) + PURGE_THRESHOLD

    def take_unsent(self) -> list[RedisCommand]:
        """Remove all unsent commands, and return those that somebody waits for.

        The caller sends them elsewhere.
        """
        unsent = [command for command in self._queue if not command.reply.done()]
        self._queue.clear()
        return unsent

    async def _keep_connected(self) -> None:
        while True:
            connection = self.make_connection()
            try:
                await self._connect_and_serve(connection)
            except Exception as error:  # noqa: BLE001 - the task must go on
                self.health.record_failure(error)
            finally:
                self.first_attempt_ended.set()
                if self._pipeline is not None:
                    self._queue.extendleft(reversed(self._pipeline.unanswered))
                self._pipeline = None
                with CancelScope(shield=True):
                    await connection.disconnect(nowait=True)
            await asyncio.sleep(self.health.next_retry_delay())

    async def _connect_and_serve(self, connection: AbstractConnection) -> None:
        """Connect and serve commands until something fails."""
        async with asyncio.timeout(BATCH_TIMEOUT_SECONDS):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
            asked_at = self._clock.uptime()
            await connection.send_packed_command(self._handshake, check_health=False)
            # Redis may not permit this user to send TIME or INFO.
            with contextlib.suppress(ResponseError):
                self._report_server_time(asked_at, *await connection.read_response())
            info = b""
            with contextlib.suppress(ResponseError):
                info = await connection.read_response()
            for _ in range(self._script_count):
                await connection.read_response()
        self.health.record_connection(info)
        self.first_attempt_ended.set()
        self._pipeline = CommandPipeline(
            get_transport(connection),
            self._queue,
            self._clock,
            self.health,
            self._redirect,
        )
        self._pipeline.schedule_send()
        await self._pipeline.wait_closed()

    def _report_server_time(
        self, asked_at: float, seconds: bytes, microseconds: bytes
    ) -> None:
        server_time = int(seconds) + int(microseconds) / 1e6
        self.on_server_time(server_time, asked_at, self._clock.uptime())


def get_transport(connection: AbstractConnection) -> asyncio.Transport:
    """Return the asyncio transport of a connection that redis-py has opened.

    The transport is not public in redis-py; a test checks that it is still there.
    """
    transport: asyncio.Transport = connection._writer.transport  # type: ignore[union-attr, assignment]  # noqa: SLF001
    return transport
