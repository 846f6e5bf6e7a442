"""The pipeline over one open connection: writes batches of commands and reads replies.

Commands that are submitted in the same iteration of the event loop, or while another
batch is in flight, are sent as one batch, in one write. At most one batch is in flight:
under load the batches grow by themselves, and without load no command has to wait.

redis-py opens the connection, with TLS, login and database. Then this protocol takes
over the connection's asyncio transport, and delivers every reply in the same iteration
of the event loop in which it was read. redis-py would need three coroutines, a stream
and a task wake-up for each reply. That would be most of what Redis costs this process.

Concurrency: everything happens in callbacks of the event loop. `wait_closed` only waits
until the connection breaks.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from hiredis import Reader, pack_command
from redis.asyncio.connection import DefaultParser
from redis.exceptions import (
    AskError,
    InvalidResponse,
    OutOfMemoryError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as ConnectionLost

from gateway.domain.errors import StoreError, StoreFull
from gateway.domain.ports import Clock
from gateway.mailboxes.redis.client.command import Argument, RedisCommand
from gateway.mailboxes.redis.client.server_health import ServerHealth
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

BATCH_TIMEOUT_SECONDS = 1.0
"""How long the replies to a batch may take before the connection is closed."""

MAX_BATCH_COMMANDS, MAX_BATCH_BYTES = 500, 1 << 20
"""The maximum size of a batch: Redis executes that well within the batch timeout."""

RedirectCallback = Callable[[RedisCommand, AskError | TryAgainError], None]
"""Called with a command whose Cluster slot is on another node or is being moved."""

_TRANSIENT_ERROR_CODES = ("MISCONF ", "BUSY ", "NOREPLICAS ", "UNKILLABLE ")
"""Codes of temporary errors without a redis-py class. The command is repeated."""

_INCOMPLETE = object()

encode_command: Callable[[tuple[Argument, ...]], bytes] = pack_command  # type: ignore[assignment]  # takes any tuple
"""Return a command in the protocol of Redis."""


class CommandPipeline(asyncio.Protocol):
    """Sends the commands of a queue over one open connection, until that breaks.

    Args:
        transport: the transport of the connection, without pending replies.
        queue: the unsent commands. The owner of the connection appends to it and then
            calls `schedule_send`.
        clock: measures when batches were sent.
        health: the health of the server, to which answers are reported.
        redirect: called with a command whose Cluster slot is on another node or is
            being moved; it has to send the command elsewhere.

    Attributes:
        is_idle: whether no batch is in flight or scheduled.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        queue: deque[RedisCommand],
        clock: Clock,
        health: ServerHealth,
        redirect: RedirectCallback,
    ) -> None:
        self._transport = transport
        self._queue = queue
        self._clock = clock
        self._health = health
        self._redirect = redirect
        self.is_idle = True
        self._batch: list[RedisCommand] = []
        """The commands in flight, whose replies arrive in the same order."""
        self._reply_count = 0
        self._redirected: list[tuple[RedisCommand, AskError | TryAgainError]] = []
        self._transient_error: Exception | None = None
        self._sent_at = 0.0
        """When the batch was sent, by the clock of the event loop."""
        self._watchdog: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._closed: asyncio.Future[None]
        self._closed = asyncio.get_running_loop().create_future()
        self._reader = Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        transport.set_protocol(self)
        if transport.is_closing():
            self.connection_lost(None)

    @property
    def unanswered(self) -> list[RedisCommand]:
        """The commands of the present batch for whose replies somebody waits.

        After the connection has broken they have to be sent again.
        """
        return [command for command in self._batch if not command.reply.done()]

    async def wait_closed(self) -> None:
        """Wait until the connection breaks or a batch takes too long.

        An error on an idle connection is reported only when the next batch is sent.
        Otherwise a server that closes idle connections would cause endless reconnects.

        Raises:
            Exception: why the connection ended. This method never returns normally.
        """
        await self._closed

    def schedule_send(self) -> None:
        """Send the queued commands at the end of this iteration of the event loop.

        Call it only if `is_idle`.
        """
        self.is_idle = False
        asyncio.get_running_loop().call_soon(self._send_batch)

    def data_received(self, data: bytes) -> None:
        """Parse replies and give them to their commands. Called by asyncio."""
        if self._error is not None:
            return
        reader, batch = self._reader, self._batch
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                if not batch:
                    raise InvalidResponse("a reply without a command")  # noqa: TRY301
                command = batch[self._reply_count]
                self._reply_count += 1
                if isinstance(reply, Exception):
                    self._handle_error(command, reply)
                elif not command.reply.done():
                    command.reply.set_result(reply)
                if self._reply_count == len(batch):
                    self._finish_batch()
        except Exception as error:  # noqa: BLE001 - `wait_closed` raises it
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is closed. Called by asyncio.

        `wait_closed` raises when the next batch is sent, or now if one is in flight.
        """
        self._fail(exc or ConnectionLost("the server closed the connection"))

    def _send_batch(self) -> None:
        """Send the next batch, if the queue has commands."""
        if self._closed.done():  # the owner sends the queue over its next connection
            return
        loop = asyncio.get_running_loop()
        # Before the batch is filled, so that any failure in between is noticed.
        self._sent_at = loop.time()
        if self._watchdog is None:
            self._watchdog = loop.call_later(BATCH_TIMEOUT_SECONDS, self._check_timeout)
        now = self._clock.uptime()
        queue, batch = self._queue, self._batch
        packed = []
        size = 0
        while queue and len(batch) < MAX_BATCH_COMMANDS and size < MAX_BATCH_BYTES:
            command = queue.popleft()
            if command.reply.done():
                continue
            command.sent_at = now
            command.send_count += 1
            batch.append(command)
            packed.append(encode_command(command.arguments))
            size += len(packed[-1])
        if not batch:
            self.is_idle = True
        elif self._error is not None:
            self._fail(self._error)
        else:
            self._transport.write(b"".join(packed))

    def _check_timeout(self) -> None:
        """End the connection if the batch is late. One timer serves many batches."""
        self._watchdog = None
        if not self._batch:
            return
        loop = asyncio.get_running_loop()
        end = self._sent_at + BATCH_TIMEOUT_SECONDS
        if end <= loop.time():
            self._fail(TimeoutError("the replies to a batch took too long"))
        else:
            self._watchdog = loop.call_at(end, self._check_timeout)

    def _handle_error(self, command: RedisCommand, error: Exception) -> None:
        """Fail the command with the error, or record a redirection or temporary error.

        redis-py removes the error code from the text if it has a class for the code, so
        the class decides.

        Raises:
            Exception: the error concerns the connection, not a command; for example the
                server does not accept the login.
        """
        answer: StoreError
        if not isinstance(error, ResponseError):
            raise error
        if isinstance(error, AskError | TryAgainError):
            self._redirected.append((command, error))
            return
        if type(error) is OutOfMemoryError:
            answer = StoreFull("Redis is full")
        elif type(error) is ResponseError and not str(error).startswith(
            _TRANSIENT_ERROR_CODES
        ):
            answer = StoreError("Redis refused a command")
            logger.error(
                "redis_command_refused", extra={"error": summarize_error(error)}
            )
        else:
            self._transient_error = error
            return
        if not command.reply.done():
            command.reply.set_exception(answer)

    def _finish_batch(self) -> None:
        """Redirect commands to other nodes, once all replies have arrived.

        Raises:
            Exception: a temporary error, after which commands have to be repeated.
        """
        if self._redirected:
            for command, redirection in self._redirected:
                self._batch.remove(command)
                if not command.reply.done():
                    self._redirect(command, redirection)
            self._redirected.clear()
        if self._transient_error is not None:
            raise self._transient_error
        self._batch.clear()
        self._reply_count = 0
        self.is_idle = True
        if self._health.is_failing:
            self._health.record_answers()
        else:  # nearly always, so without a call
            self._health.last_answered_at = self._clock.uptime()
        if self._queue and self.is_idle:
            self.schedule_send()

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        if self._batch and not self._closed.done():
            self._closed.set_exception(self._error)
