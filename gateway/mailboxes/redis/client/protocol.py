"""The bytes of one connection: batches out, answers in.

redis-py makes the connection: address, TLS, password, database. Then its asyncio
transport gets a protocol of ours, which hands out every answer in the turn of the event
loop that read it. redis-py's way to an answer costs three coroutines, a stream and a
task that wakes up, which is most of what a Redis costs this process.

Concurrency: all of it happens in callbacks of the event loop. `run` only waits for the
end of the connection.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from hiredis import Reader
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import InvalidResponse

Take = Callable[[Any], None]
"""Takes the next answer, be it an error. What it raises ends the line."""

_INCOMPLETE = object()


class Line(asyncio.Protocol):
    """A connection that carries batches. There is one under way at most.

    Args:
        transport: of a connection that was made, and that nothing is under way on.
        take: takes the answers.
    """

    def __init__(self, transport: asyncio.Transport, take: Take) -> None:
        self._transport = transport
        self._take = take
        self._missing = 0
        self._error: Exception | None = None
        self._ended: asyncio.Future[None]
        self._ended = asyncio.get_running_loop().create_future()
        self._reader = Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        transport.set_protocol(self)
        if transport.is_closing():
            self.connection_lost(None)

    async def run(self) -> None:
        """Carry batches, until an error says why no more of them."""
        await self._ended

    def send(self, packed: bytes, answers: int) -> None:
        """Write a batch, and take so many answers.

        A connection that broke while nobody asked is noticed here.
        """
        self._missing = answers
        if self._error is not None:
            self._end(self._error)
        else:
            self._transport.write(packed)

    def data_received(self, data: bytes) -> None:
        """Take the answers in it."""
        if self._error is not None:
            return
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                self._take(reply)
                self._missing -= 1
        except Exception as error:  # noqa: BLE001 - it ends the line, which is told
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that there is no connection any more."""
        self._end(exc or Lost("the server closed the connection"))

    def _end(self, error: Exception) -> None:
        self._error = self._error or error
        if self._missing and not self._ended.done():
            self._ended.set_exception(self._error)


def open_line(connection: AbstractConnection, take: Take) -> Line:
    """Make a line of a connection that redis-py made.

    The transport is no public part of redis-py; a test says whether it is still there.
    """
    transport: Any = connection._writer.transport  # type: ignore[union-attr]  # noqa: SLF001
    return Line(transport, take)
