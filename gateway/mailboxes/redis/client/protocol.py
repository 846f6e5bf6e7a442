"""The bytes of one connection: batches out, answers in.

redis-py makes the connection: address, TLS, password, database. Then its asyncio
transport gets a protocol of ours, which hands out every answer in the turn of the event
loop that read it. redis-py's way to an answer costs three coroutines, a stream and a
task that wakes up, which is most of what a Redis costs this process.

Concurrency: all of it happens in callbacks of the event loop. `wait_closed` only waits
    for the
end of the connection.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from hiredis import Reader
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import InvalidResponse

ReplyCallback = Callable[[Any], None]
"""Takes the next answer, be it an error. What it raises ends the line."""

_INCOMPLETE = object()


class PipelineProtocol(asyncio.Protocol):
    """A connection that carries batches. There is one under way at most.

    Args:
        transport: of a connection that was made, and that nothing is under way on.
        take: takes the answers.
    """

    def __init__(self, transport: asyncio.Transport, on_reply: ReplyCallback) -> None:
        self._transport = transport
        self._on_reply = on_reply
        self._missing_replies = 0
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

    async def wait_closed(self) -> None:
        """Carry batches, until an error says why no more of them."""
        await self._closed

    def send(self, packed: bytes, reply_count: int) -> None:
        """Write a batch, and take so many answers.

        A connection that broke while nobody asked is noticed here.
        """
        self._missing_replies = reply_count
        if self._error is not None:
            self._fail(self._error)
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
                self._on_reply(reply)
                self._missing_replies -= 1
        except Exception as error:  # noqa: BLE001 - it ends the line, which is told
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that there is no connection any more."""
        self._fail(exc or ConnectionLost("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        if self._missing_replies and not self._closed.done():
            self._closed.set_exception(self._error)


def attach_protocol(
    connection: AbstractConnection, on_reply: ReplyCallback
) -> PipelineProtocol:
    """Make a line of a connection that redis-py made.

    The transport is no public part of redis-py; a test says whether it is still there.
    """
    transport: Any = connection._writer.transport  # type: ignore[union-attr]  # noqa: SLF001
    return PipelineProtocol(transport, on_reply)
