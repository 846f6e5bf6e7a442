"""One connection to one Redis server, which all callers share: the group commit.

What is asked in one turn of the event loop, and while a batch is under way, travels in
one write and comes back in one read. At most one batch is under way: under load batches
grow by themselves, and nobody waits while there is no load.

Concurrency: one task per transport connects, writes and reads; the callers only wait
for their answer. A caller that was cancelled leaves its answer to be read and dropped.
A command whose answer was lost is sent again until its caller gives up: every command
may be repeated.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    OutOfMemoryError,
    ResponseError,
    TryAgainError,
)

from gateway.domain.errors import MailboxesError, MailboxesFull
from gateway.domain.ports import Clock
from gateway.logs import describe
from gateway.mailboxes.commands import Argument, Command
from gateway.mailboxes.scripts import Scripts
from gateway.mailboxes.server import Server

logger = logging.getLogger(__name__)

DEADLINE = 1.0
"""Seconds within which a batch is answered; else the connection is taken for dead."""

MOST_COMMANDS, MOST_BYTES = 500, 1 << 20
"""Of one batch: Redis does it well within the deadline."""

MOST_QUEUED = 1000
"""If nothing is sent, more are looked through for those that nobody waits for."""

_PASSING = ("MISCONF ", "BUSY ", "NOREPLICAS ", "UNKILLABLE ")
"""Codes that redis-py has no class for: they pass, so the command is repeated."""


class Transport:
    """A connection that is made again whenever it breaks.

    Args:
        connect: makes a connection object, not yet connected.
        scripts: loaded into every server that is connected to.
        clock: tells when a batch was sent.
        redirect: takes a command whose slot of a Cluster is elsewhere or on the move.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        scripts: Scripts,
        clock: Clock,
        redirect: Callable[[Command, AskError | TryAgainError], None],
    ) -> None:
        self.connect = connect
        self._clock = clock
        self._redirect = redirect
        self._hello = _pack((b"INFO", b"server")) + b"".join(
            _pack((b"SCRIPT", b"LOAD", script.source)) for script in scripts
        )
        self._hellos = len(tuple(scripts))
        self._queue: deque[Command] = deque()
        self._batch: list[Command] = []
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.server = Server(clock)
        """How the server is doing."""
        self._looked_through = MOST_QUEUED
        self.connections = 0
        """How many connections were made."""
        self.writes = 0
        """How many batches were written."""

    def start(self) -> None:
        """Start to connect."""
        self._task = asyncio.create_task(self._run(), name="redis")

    async def close(self) -> None:
        """End the connection. Whoever still waits for an answer is cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for command in (*self._batch, *self._queue):
            command.reply.cancel()

    def listen(
        self, on_restart: Callable[[float], None], on_return: Callable[[float], None]
    ) -> None:
        """Ask to be told how the server is doing. See `Submits.listen`."""
        self.server.on_restart, self.server.on_return = on_restart, on_return

    def submit(self, command: Command, *, first: bool = False) -> None:
        """Send a command with the next batch. See `Submits.submit`."""
        if first:
            self._queue.appendleft(command)
        else:
            self._queue.append(command)
        self._wanted.set()
        if self.server.failing and len(self._queue) > self._looked_through:
            self._queue.extend(self.withdraw())
            self._looked_through = 2 * len(self._queue) + MOST_QUEUED

    @property
    def failing(self) -> bool:
        """True: the server fails."""
        return self.server.failing

    def answered(self, shard: int) -> float:
        """Tell when the server answered last."""
        return self.server.answered

    def failing_at(self, shard: int) -> bool:
        """Tell whether the server fails."""
        return self.server.failing

    def withdraw(self) -> list[Command]:
        """Take back what was not sent yet, and is still waited for."""
        withdrawn = [command for command in self._queue if not command.reply.done()]
        self._queue.clear()
        return withdrawn

    async def _run(self) -> None:
        while True:
            connection = self.connect()
            try:
                await self._serve(connection)
            except Exception as error:  # noqa: BLE001 - no error may end the transport
                self.server.note_failure(error)
            finally:
                waiting = [
                    command for command in self._batch if not command.reply.done()
                ]
                self._batch = []
                self._queue.extendleft(reversed(waiting))
                self._wanted.set()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(self.server.pause())

    async def _serve(self, connection: AbstractConnection) -> None:
        """Connect and answer commands, until something fails."""
        async with asyncio.timeout(DEADLINE):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
            await connection.send_packed_command(self._hello, check_health=False)
            info = b""
            with contextlib.suppress(ResponseError):  # not everybody may ask
                info = await connection.read_response()
            for _ in range(self._hellos):
                await connection.read_response()
        self.connections += 1
        self.server.greet(info)
        while True:
            await self._wanted.wait()
            await self._exchange(connection)

    async def _exchange(self, connection: AbstractConnection) -> None:
        """Send a batch and hand out its answers."""
        packed = self._take_batch()
        if not packed:
            return
        refused: Exception | None = None
        astray: list[tuple[Command, AskError | TryAgainError]] = []
        async with asyncio.timeout(DEADLINE):
            await connection.send_packed_command(packed, check_health=False)
            for command in self._batch:
                try:
                    reply = await connection.read_response()
                except (AskError, TryAgainError) as error:
                    astray.append((command, error))
                except ResponseError as error:  # an answer, so that more of them follow
                    refused = self._take_error(command, error) or refused
                else:
                    if not command.reply.done():
                        command.reply.set_result(reply)
        for command, direction in astray:
            self._batch.remove(command)
            if not command.reply.done():
                self._redirect(command, direction)
        if refused is not None:
            raise refused
        self.server.note_answers()

    def _take_batch(self) -> bytes:
        """Move commands from the queue into the batch; give them as one write."""
        sent = self._clock.uptime()
        packed = []
        size = 0
        batch = self._batch = []
        while self._queue and len(batch) < MOST_COMMANDS and size < MOST_BYTES:
            command = self._queue.popleft()
            if command.reply.done():
                continue
            command.sent = sent
            command.sends += 1
            batch.append(command)
            packed.append(_pack(command.arguments))
            size += len(packed[-1])
        if not self._queue:
            self._wanted.clear()
        self.writes += bool(batch)
        return b"".join(packed)

    def _take_error(self, command: Command, error: ResponseError) -> Exception | None:
        """Take an error as the answer; give it back if the command is to be repeated.

        redis-py takes the code out of the text, so the class is what tells.
        """
        answer: MailboxesError
        if type(error) is OutOfMemoryError:
            answer = MailboxesFull("Redis is full")
        elif type(error) is ResponseError and not str(error).startswith(_PASSING):
            answer = MailboxesError("Redis refused a command")
            logger.error("redis refused a command", extra={"error": describe(error)})
        else:
            return error
        if not command.reply.done():
            command.reply.set_exception(answer)
        return None


def _pack(arguments: tuple[Argument, ...]) -> bytes:
    """Write a command in the protocol of Redis."""
    packed: bytes = pack_command(arguments)  # type: ignore[arg-type]  # a longer tuple
    return packed
