"""A TCP proxy between one worker and Redis, on which a network can fail.

Concurrency: one event loop. Each connection has two pipes, each of which keeps the
order of its bytes whatever happens to them.
"""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast


class Network:
    """The way from one worker to Redis.

    What is held back is not lost: as in a real network, where TCP sends again, it
    arrives when the fault is over, even if its sender has given up meanwhile.

    Attributes:
        holding_requests: nothing gets to Redis.
        holding_answers: nothing gets back.
        delay: seconds by which everything is late.
        refusing: new connections are closed at once.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._pipes: set[_Pipe] = set()
        self.holding_requests = False
        self.holding_answers = False
        self.delay = 0.0
        self.refusing = False

    @property
    def url(self) -> str:
        """The URL of Redis, as the worker knows it."""
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Incoming(self, self._target), "127.0.0.1", 0
        )

    async def stop(self) -> None:
        """End it all."""
        assert self._server is not None
        self._server.close()
        self.reset()

    def reset(self) -> None:
        """Break all connections."""
        for pipe in list(self._pipes):
            pipe.abort()

    def heal(self) -> None:
        """Let everything through again."""
        self.holding_requests = self.holding_answers = self.refusing = False
        self.delay = 0.0
        for pipe in list(self._pipes):
            pipe.pump()

    def add(self, pipe: "_Pipe") -> None:
        """Take note of a pipe."""
        self._pipes.add(pipe)

    def remove(self, pipe: "_Pipe") -> None:
        """Forget a pipe."""
        self._pipes.discard(pipe)


class _Pipe:
    """One direction of a connection."""

    def __init__(self, network: Network, held: Callable[[], bool]) -> None:
        self._network = network
        self._held = held
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._ended = False
        self.output: asyncio.Transport | None = None
        network.add(self)

    def feed(self, data: bytes) -> None:
        """Take bytes on their way."""
        now = asyncio.get_running_loop().time()
        last = self._waiting[-1][0] if self._waiting else now
        self._waiting.append((max(now + self._network.delay, last), data))
        self.pump()

    def end(self) -> None:
        """Close the other side behind what is under way."""
        self._ended = True
        self.pump()

    def abort(self) -> None:
        """Break it."""
        self._waiting.clear()
        self._ended = True
        if self.output is not None:
            # With nothing to linger for, TCP resets instead of closing.
            option = struct.pack("ii", 1, 0)
            connection = self.output.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it is closed already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
            self.output.abort()
        self._network.remove(self)

    def pump(self) -> None:
        """Send what may go."""
        if self.output is None or self._held():
            return
        loop = asyncio.get_running_loop()
        while self._waiting:
            due, data = self._waiting[0]
            if due > loop.time():
                loop.call_at(due, self.pump)
                return
            self._waiting.popleft()
            if not self.output.is_closing():
                self.output.write(data)
        if self._ended:
            self.output.close()
            self._network.remove(self)


class _Incoming(asyncio.Protocol):
    """The worker's side."""

    def __init__(self, network: Network, target: int) -> None:
        self._network = network
        self._target = target
        self._requests = _Pipe(network, lambda: network.holding_requests)
        self._answers = _Pipe(network, lambda: network.holding_answers)
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to Redis too."""
        worker = cast("asyncio.Transport", transport)
        if self._network.refusing:
            self._requests.abort()
            self._answers.abort()
            worker.abort()
            return
        self._answers.output = worker
        self._connecting = asyncio.create_task(self._connect(worker))

    def data_received(self, data: bytes) -> None:
        """Pass requests on."""
        self._requests.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the way there behind what is under way."""
        self._requests.end()

    async def _connect(self, worker: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            redis, _ = await loop.create_connection(
                lambda: _Outgoing(self._answers), "127.0.0.1", self._target
            )
        except OSError:
            self._requests.abort()
            self._answers.abort()
            return
        if worker.is_closing() and not self._network.holding_requests:
            redis.abort()
            return
        self._requests.output = redis
        self._requests.pump()


class _Outgoing(asyncio.Protocol):
    """The side of Redis."""

    def __init__(self, answers: _Pipe) -> None:
        self._answers = answers

    def data_received(self, data: bytes) -> None:
        """Pass answers back."""
        self._answers.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection to the client after what was received is forwarded."""
        self._answers.end()
