"""One HTTP/1.1 connection to the Bot API, for one request after the other.

Concurrency: all of it runs in the event loop's own callbacks. A connection has one
exchange at a time, a request and its answer, and is `is_ready` before and after.
Whatever goes wrong ends the connection, so that no answer meets another's request.

Answers are parsed by httptools, which is llhttp, the parser of Node.js. It calls the
`on_...` methods. No error here says what was sent: the token is part of it.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

_MAX_HEAD_BYTES = 64 * 1024
_MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""Bytes of an answer, with its head. Those of the Bot API have some thousands."""


class ResponseLost(Exception):
    """Some of the request may have been sent, and no whole answer came."""


class Response(NamedTuple):
    """An answer.

    Attributes:
        status: the HTTP status.
        retry_after: the header of that name. Empty: there is none, or all is well.
        body: the body.
    """

    status: int
    retry_after: str
    body: bytes


class Connection(asyncio.BufferedProtocol):
    """A connection, made by `loop.create_connection`.

    Args:
        buffer: where the loop puts what it reads. Connections may share one, because
            the loop hands it over before it reads anything else. Without one it makes
            256 KiB for each read, which costs more than all that is done here.
        on_lost: is told once that the connection is gone.
    """

    def __init__(
        self, buffer: memoryview, on_lost: Callable[["Connection"], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = buffer
        self._on_lost = on_lost
        self._parser = HttpResponseParser(self)
        self._exchange: asyncio.Future[Response] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        """Set for the deadline of this exchange or of one before it: nearly all end in
        time, so that a timer for each would cost more than it does."""
        self._received_bytes = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._status = 0
        self._is_complete = False
        self._is_reusable = True

    @property
    def is_ready(self) -> bool:
        """True: a request may be sent."""
        return (
            self._exchange is None
            and self._is_reusable
            and not self._transport.is_closing()
        )

    def send(self, request: bytes, deadline: float) -> asyncio.Future[Response]:
        """Send a request, head and body. The connection must be `is_ready`.

        Whoever does not wait for the answer to its end must call `abort`, and so must
        who finds the connection not `is_ready` after it.

        Args:
            request: the bytes.
            deadline: when the connection ends if no whole answer came, by the loop's
                time.

        Raises:
            ResponseLost: by the future.
        """
        self._exchange = self._loop.create_future()
        self._deadline = deadline
        if self._timer is None or deadline < self._timer.when():
            self._set_timer()
        self._received_bytes = 0
        self._transport.write(request)
        return self._exchange

    def abort(self) -> None:
        """Close the connection now; an exchange under way gets no answer."""
        self._is_reusable = False
        self._transport.abort()
        self._fail_exchange()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the loop room for what it reads."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse a piece of an answer."""
        if self._exchange is None:
            self.abort()  # Nobody asked.
            return
        self._received_bytes += nbytes
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (HttpParserError, HttpParserUpgrade):
            # If the answer is complete already, it is what came after it.
            self._is_reusable = False
        if self._is_complete:
            # What is still unsent would be taken for the next request.
            self._is_reusable &= not self._transport.get_write_buffer_size()
            self._deliver_response()
        elif not self._is_reusable or self._received_bytes > (
            _MAX_RESPONSE_BYTES if self._status else _MAX_HEAD_BYTES
        ):
            self.abort()

    def eof_received(self) -> None:
        """Note that the server closes; what is still to come says `connection_lost`."""
        self._is_reusable = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Give an answer that ends with its connection; any other is lost."""
        self._is_reusable = False
        if self._timer is not None:
            self._timer.cancel()
        if exc is None and self._status and not self._has_length():
            self._deliver_response()
        self._fail_exchange()
        self._on_lost(self)

    def on_message_begin(self) -> None:
        """Refuse a second answer to one request."""
        if self._is_complete:
            raise HttpParserError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Note the status: the head is complete."""
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Note that the answer is complete, if it is more than an interim one."""
        if self._status < 200:
            self._status = 0
            self._headers.clear()
        else:
            self._is_complete = True
            self._is_reusable &= self._parser.should_keep_alive()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._end_late)

    def _end_late(self) -> None:
        """End an exchange that took too long."""
        self._timer = None
        if self._exchange is None:
            return
        if self._loop.time() < self._deadline:
            self._set_timer()
        else:
            self.abort()

    def _has_length(self) -> bool:
        lengths = (b"content-length", b"transfer-encoding")
        return any(name.lower() in lengths for name, _ in self._headers)

    def _deliver_response(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None and not exchange.done():
            retry_after = "" if self._status == 200 else self._find_retry_after()
            body = b"".join(self._body)
            exchange.set_result(Response(self._status, retry_after, body))
        self._headers.clear()
        self._body.clear()
        self._status = 0
        self._is_complete = False

    def _fail_exchange(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None and not exchange.done():
            exchange.set_exception(ResponseLost())

    def _find_retry_after(self) -> str:
        for name, value in self._headers:
            if name.lower() == b"retry-after":
                return value.decode("latin-1")
        return ""
