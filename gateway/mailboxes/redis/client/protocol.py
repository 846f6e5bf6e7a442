"""The protocol of one connection: writes batches and parses replies.

redis-py opens the connection, with TLS, login and database. After that its asyncio
transport gets this protocol, which delivers every reply in the same iteration of the
event loop in which it was read. redis-py itself needs three coroutines, a stream and
the wake-up of a task per reply, which is most of the cost of Redis in this process.

Concurrency: everything happens in callbacks of the event loop. `wait_closed` only waits
until the connection breaks.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from hiredis import Reader
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import InvalidResponse

ReplyCallback = Callable[[Any], None]
"""Called with the next reply, which may be an error. An exception from it closes the
connection."""

_INCOMPLETE = object()


class PipelineProtocol(asyncio.Protocol):
    """The protocol of a connection with at most one batch in flight.

    Args:
        transport: the transport of an open connection without pending replies.
        on_reply: called with each reply.
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
        """Wait until the connection breaks.

        Raises:
            Exception: the reason; always raised.
        """
        await self._closed

    def send(self, packed: bytes, reply_count: int) -> None:
        """Write a batch, and expect `reply_count` replies.

        If the connection broke while no batch was in flight, the error is reported now.
        """
        self._missing_replies = reply_count
        if self._error is not None:
            self._fail(self._error)
        else:
            self._transport.write(packed)

    def data_received(self, data: bytes) -> None:
        """Parse and deliver the replies in the data."""
        if self._error is not None:
            return
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                self._on_reply(reply)
                self._missing_replies -= 1
        except Exception as error:  # noqa: BLE001 - `wait_closed` raises it
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the connection is closed."""
        self._fail(exc or ConnectionLost("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        if self._missing_replies and not self._closed.done():
            self._closed.set_exception(self._error)


def attach_protocol(
    connection: AbstractConnection, on_reply: ReplyCallback
) -> PipelineProtocol:
    """Attach our protocol to a connection that redis-py opened.

    The transport is not public in redis-py; a test checks that it is still there.
    """
    transport: Any = connection._writer.transport  # type: ignore[union-attr]  # noqa: SLF001
    return PipelineProtocol(transport, on_reply)
