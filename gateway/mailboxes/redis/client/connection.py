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
from gateway.mailboxes.redis.client.pipeline import Batch, Redirect, pack
from gateway.mailboxes.redis.client.protocol import Line, open_line
from gateway.mailboxes.redis.client.server_health import Server
from gateway.mailboxes.redis.commands import Command
from gateway.mailboxes.redis.lua.scripts import Scripts
from gateway.mailboxes.redis.store_clock import LearnTime, ignore_time

DEADLINE = 1.0
"""Seconds within which a batch is answered; else the connection is taken for dead."""

MOST_QUEUED = 1000
"""If nothing is sent, more are looked through for those that nobody waits for."""


class Transport:
    """A connection that is made again whenever it breaks.

    Args:
        connect: makes a connection object, not yet connected.
        scripts: loaded into every server that is connected to.
        clock: tells when a batch was sent.
        redirect: takes a command whose slot of a Cluster is elsewhere or on the move.
        background: runs the task.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        scripts: Scripts,
        clock: Clock,
        redirect: Redirect,
        background: BackgroundTasks | None = None,
    ) -> None:
        self.connect = connect
        self._background = background or BackgroundTasks()
        self._clock = clock
        self._redirect = redirect
        self.learn_time: LearnTime = ignore_time
        """Is told the server's time whenever a connection was made."""
        self._hello = b"".join(
            (
                pack((b"TIME",)),  # first: its answer tells how long the way takes
                pack((b"INFO", b"server")),
                *(pack((b"SCRIPT", b"LOAD", script.source)) for script in scripts),
            )
        )
        self._hellos = len(tuple(scripts))
        self._queue: deque[Command] = deque()
        self._batch: Batch | None = None
        """What is under way."""
        self._line: Line | None = None
        self._sends_soon = False
        self._sent = 0.0
        """When the batch was sent, by the time of the event loop."""
        self._deadline: asyncio.Timeout
        self._watchdog: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.attempted = asyncio.Event()
        """The first attempt to connect has ended, well or badly."""
        self.server = Server(clock)
        """How the server is doing."""
        self._looked_through = MOST_QUEUED

    def start(self) -> None:
        """Start to connect."""
        self._task = self._background.start("redis", self._run, longest_pause=DEADLINE)

    async def close(self) -> None:
        """End the connection. Whoever still waits for an answer is cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for command in self._queue:
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
        self._send_soon()
        if self.server.failing and len(self._queue) > self._looked_through:
            self._queue.extend(self.withdraw())
            self._looked_through = 2 * len(self._queue) + MOST_QUEUED

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
                self.attempted.set()
                if self._batch is not None:
                    self._queue.extendleft(reversed(self._batch.unanswered))
                self._line = self._batch = None
                await connection.disconnect(nowait=True)
            await asyncio.sleep(self.server.pause())

    async def _serve(self, connection: AbstractConnection) -> None:
        """Connect and answer commands, until something fails."""
        async with asyncio.timeout(DEADLINE):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
            asked = self._clock.uptime()
            await connection.send_packed_command(self._hello, check_health=False)
            with contextlib.suppress(ResponseError):  # not everybody may ask
                self._note_time(asked, *await connection.read_response())
            info = b""
            with contextlib.suppress(ResponseError):  # as above
                info = await connection.read_response()
            for _ in range(self._hellos):
                await connection.read_response()
        self.server.greet(info)
        self.attempted.set()
        async with asyncio.timeout(None) as self._deadline:
            self._line = open_line(connection, self._take)
            self._send_soon()
            await self._line.run()

    def _note_time(self, asked: float, seconds: bytes, microseconds: bytes) -> None:
        server_time = int(seconds) + int(microseconds) / 1e6
        self.learn_time(server_time, asked, self._clock.uptime())

    def _send_soon(self) -> None:
        """Send what waits at the end of this turn, unless a batch is under way."""
        if self._line is None or self._batch is not None or self._sends_soon:
            return
        self._sends_soon = True
        asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        """Send a batch."""
        self._sends_soon = False
        if self._line is None:
            return
        loop = asyncio.get_running_loop()
        self._sent = loop.time()
        if self._watchdog is None:
            self._watchdog = loop.call_later(DEADLINE, self._watch)
        # Known before it is filled: whatever goes wrong, the watchdog sees it.
        batch = self._batch = Batch()
        packed = batch.fill(self._queue, self._clock.uptime())
        if packed:
            self._line.send(packed, len(batch))
        else:
            self._batch = None

    def _watch(self) -> None:
        """End the connection if the batch is late. One timer does for many batches."""
        self._watchdog = None
        if self._batch is None:
            return
        loop = asyncio.get_running_loop()
        end = self._sent + DEADLINE
        if end <= loop.time():
            self._deadline.reschedule(end)
        else:
            self._watchdog = loop.call_at(end, self._watch)

    def _take(self, reply: Any) -> None:  # noqa: ANN401 - as Redis answers
        """Hand out the next answer. What is raised ends the connection."""
        batch = self._batch
        if batch is None:
            raise InvalidResponse("an answer that nobody asked for")
        if batch.take(reply):
            batch.finish(self._redirect)
            self._batch = None
            self.server.note_answers()
            if self._queue:
                self._send_soon()
