"""One HTTP/1.1 connection to the Bot API, used for one request at a time.

Concurrency: all code here runs in callbacks of the event loop. A connection has at most
one exchange, a request and its response, and is `is_ready` before and after it. Any
error closes the connection, so that a response never reaches another request.

The responses are parsed by httptools, which wraps llhttp, the parser of Node.js. It
calls the `on_...` methods. No error here quotes the request, which contains the token.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

_MAX_HEAD_BYTES = 64 * 1024
_MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""Maximum size of a response with its head. Those of the Bot API have a few thousand
bytes."""


class ResponseLost(Exception):
    """The request may have been sent, at least in part, but no response arrived.

    So it is unknown whether the server executed the request.
    """


class Response(NamedTuple):
    """An HTTP response with any status.

    Attributes:
        status: the HTTP status.
        retry_after: the Retry-After header, or an empty string if it is missing or the
            status is 200.
        body: the body.
    """

    status: int
    retry_after: str
    body: bytes


class Connection(asyncio.BufferedProtocol):
    """An open connection to the server, created by `loop.create_connection`.

    Args:
        buffer: where the loop stores the bytes that it reads. Connections may share it,
            because the loop passes the bytes on before it reads again. Without it the
            loop allocates 256 KiB per read, which costs more than everything done here.
        on_lost: called once, with this connection, when the connection is lost.
    """

    def __init__(
        self, buffer: memoryview, on_lost: Callable[["Connection"], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = buffer
        self._on_lost = on_lost
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        # The parser takes its callbacks when it is created.
        self.on_header = self._headers.__setitem__
        self.on_body = self._body.append
        self._parser = HttpResponseParser(self)
        self._exchange: asyncio.Future[Response] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        """Fires at the deadline of this exchange or of an earlier one. Nearly all
        exchanges end in time, so a new timer for each of them would be wasted."""
        self._received_bytes = 0
        self._status = 0
        self._is_reusable = True

    @property
    def is_ready(self) -> bool:
        """Whether `send` may be called: no request is in progress or has failed."""
        return (
            self._exchange is None
            and self._is_reusable
            and not self._transport.is_closing()
        )

    def send(self, request: bytes, deadline: float) -> asyncio.Future[Response]:
        """Send a request. The connection must be `is_ready`.

        A caller that stops waiting for the response must call `abort`, and so must a
        caller that finds the connection not `is_ready` after the response.

        Args:
            request: the bytes of head and body.
            deadline: the event loop's time at which the connection is closed if no
                complete response has arrived.

        Returns:
            A future of the response. Its exception is ResponseLost if the connection
            breaks or the deadline passes.
        """
        self._exchange = self._loop.create_future()
        self._deadline = deadline
        if self._timer is None or deadline < self._timer.when():
            self._set_timer()
        self._received_bytes = 0
        self._transport.write(request)
        return self._exchange

    def abort(self) -> None:
        """Close the connection now. An exchange in progress fails with ResponseLost."""
        self._is_reusable = False
        self._transport.abort()
        self._fail_exchange()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport that the event loop passes for the open connection."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer that the event loop is to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse bytes that the event loop has read into the buffer.

        Bytes that belong to no request, a response that cannot be parsed, and one that
        is too large close the connection.
        """
        if self._exchange is None:
            self.abort()  # There is no request that this responds to.
            return
        self._received_bytes += nbytes
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (HttpParserError, HttpParserUpgrade):
            # If the response is complete already, the error is in the bytes after it.
            self._is_reusable = False
        if self._exchange is None:
            # The server would read the unsent rest as the next request.
            self._is_reusable &= not self._transport.get_write_buffer_size()
        elif not self._is_reusable or self._received_bytes > (
            _MAX_RESPONSE_BYTES if self._status else _MAX_HEAD_BYTES
        ):
            self.abort()

    def eof_received(self) -> None:
        """Send no further requests: the server has closed its side of the connection.

        `connection_lost` follows and does the rest.
        """
        self._is_reusable = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Deliver a response that ends with its connection; fail any other exchange.

        Then call `on_lost`.
        """
        self._is_reusable = False
        if self._timer is not None:
            self._timer.cancel()
        if exc is None and self._status and not self._has_length():
            self.on_message_complete()
        self._fail_exchange()
        self._on_lost(self)

    def on_message_begin(self) -> None:
        """Reject a second response to one request: the connection is then closed."""
        if self._exchange is None:
            raise HttpParserError

    def on_headers_complete(self) -> None:
        """Store the status of the response that is being parsed."""
        self._status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        """Deliver the response to the waiting caller; forget an interim one (1xx)."""
        if self._status >= 200:
            self._is_reusable &= self._parser.should_keep_alive()
            exchange, self._exchange = self._exchange, None
            if exchange is not None and not exchange.done():
                retry_after = "" if self._status == 200 else self._find_retry_after()
                body = b"".join(self._body)
                exchange.set_result(Response(self._status, retry_after, body))
            self._body.clear()
        self._headers.clear()
        self._status = 0

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._end_late)

    def _end_late(self) -> None:
        """Abort an exchange that has passed its deadline."""
        self._timer = None
        if self._exchange is None:
            return
        if self._loop.time() < self._deadline:
            self._set_timer()
        else:
            self.abort()

    def _has_length(self) -> bool:
        lengths = (b"content-length", b"transfer-encoding")
        return any(name.lower() in lengths for name in self._headers)

    def _fail_exchange(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None and not exchange.done():
            exchange.set_exception(ResponseLost())

    def _find_retry_after(self) -> str:
        for name, value in self._headers.items():
            if name.lower() == b"retry-after":
                return value.decode("latin-1")
        return ""
