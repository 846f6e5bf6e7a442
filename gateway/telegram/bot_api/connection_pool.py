"""Connections to the Bot API that are kept for the next request.

Concurrency: each request lives in the task that makes it, from opening a connection to
the end of the answer, and has the connection to itself. If the task is cancelled, or
anything fails, the connection is closed. Who comes when all are in use waits in turn.

The newest connection is taken first, so that the others become old and are closed.
Those that open connections at once share one look-up of the host: each holds one of the
few threads that the whole process has for that.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes, urlsplit

from aiohappyeyeballs import AddrInfoType, start_connection

from gateway.telegram.bot_api.connection import Connection, Response

_NEXT_ADDRESS_SECONDS = 0.25
"""After that the next address of the host is tried beside: RFC 8305."""

_BUFFER_BYTES = 64 * 1024


class NotSent(Exception):
    """Nothing of the request was sent."""


class Pool:
    """Posts JSON to methods under one address. Redirects are not followed.

    A wrong address makes all requests fail with NotSent.

    Args:
        url: the address, with a slash at its end.
        limit: how many requests may be under way at once.
        seconds: how long one may take, with waiting for a connection.
        connect_seconds: how long opening a connection may take.
        idle_seconds: how long a connection is kept without use.
    """

    def __init__(
        self,
        url: str,
        *,
        limit: int,
        seconds: float,
        connect_seconds: float,
        idle_seconds: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._turns = asyncio.Semaphore(limit)
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._connections: set[Connection] = set()
        self._idle: dict[Connection, float] = {}
        """And since when, the longest first."""
        self._closing_idle: asyncio.TimerHandle | None = None
        self._looking_up: asyncio.Task[Sequence[AddrInfoType]] | None = None
        self._closed = False
        self._none_open = asyncio.Event()
        self._heads: dict[str, bytes] = {}
        self._host: str | None = None
        self._tls: ssl.SSLContext | None = None
        try:
            self._read(url)
        except ValueError:
            self._host = None

    def _read(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"}:
            return
        credentials, _, host = parts.netloc.rpartition("@")
        self._path = quote(parts.path, safe="/:%!$&'()*+,;=@~").encode()
        self._fields = (
            b" HTTP/1.1\r\nHost: " + host.encode("idna") + b"\r\n"
            b"Content-Type: application/json\r\nAccept-Encoding: identity\r\n"
        )
        if credentials:
            user = base64.b64encode(unquote_to_bytes(credentials))
            self._fields += b"Authorization: Basic " + user + b"\r\n"
        if parts.scheme == "https":
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        # "host." is looked up as it stands; certificates are for "host".
        self._certified = (parts.hostname or "").rstrip(".")
        self._port = parts.port or (443 if self._tls else 80)
        self._host = parts.hostname

    async def post(self, method: str, body: bytes) -> Response:
        """Post JSON and give the answer, whatever its status.

        Raises:
            NotSent: nothing was sent.
            NoAnswer: something may have been sent, and no whole answer came.
        """
        request = self._request(method, body)
        deadline = self._loop.time() + self._seconds
        # Those under way came earlier and end earlier: this needs no deadline.
        await self._turns.acquire()
        try:
            connection = self._take() or await self._connect(deadline)
            try:
                return await connection.send(request, deadline)
            finally:
                self._put_back(connection)
        finally:
            self._turns.release()

    async def close(self) -> None:
        """Close all connections. Requests under way get no answer."""
        self._closed = True
        if self._closing_idle is not None:
            self._closing_idle.cancel()
        for connection in self._connections:
            connection.end()
        if self._connections:
            await self._none_open.wait()

    def _request(self, method: str, body: bytes) -> bytes:
        if self._host is None:
            raise NotSent
        head = self._heads.get(method)
        if head is None:
            line = b"POST " + self._path + method.encode()
            head = self._heads[method] = line + self._fields + b"Content-Length: "
        return b"%b%d\r\n\r\n%b" % (head, len(body), body)

    def _take(self) -> Connection | None:
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.ready:
                return connection
        return None

    def _serves(self, connection: Connection) -> bool:
        return connection.ready and not self._closed

    def _put_back(self, connection: Connection) -> None:
        if not self._serves(connection):
            connection.end()
            return
        now = self._loop.time()
        self._idle[connection] = now
        if self._closing_idle is None:
            self._closing_idle = self._loop.call_at(
                now + self._idle_seconds, self._close_idle
            )

    def _close_idle(self) -> None:
        self._closing_idle = None
        now = self._loop.time()
        while self._idle:
            connection, since = next(iter(self._idle.items()))
            end = since + self._idle_seconds
            if end > now:
                self._closing_idle = self._loop.call_at(end, self._close_idle)
                return
            del self._idle[connection]
            connection.end()

    async def _connect(self, deadline: float) -> Connection:
        if self._closed:
            raise NotSent
        end = min(deadline, self._loop.time() + self._connect_seconds)
        try:
            async with asyncio.timeout_at(end):
                connection = await self._open()
        except (OSError, ValueError):
            # ValueError: there is no address.
            raise NotSent from None
        if not self._serves(connection):
            connection.end()
            raise NotSent
        self._connections.add(connection)
        return connection

    async def _open(self) -> Connection:
        addresses = await self._addresses()
        opened = await start_connection(
            addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, interleave=1
        )
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._buffer, self._forget),
            sock=opened,
            ssl=self._tls,
            server_hostname=self._certified if self._tls else None,
        )
        return connection

    async def _addresses(self) -> Sequence[AddrInfoType]:
        """Look the host up; who asks while that is under way shares the answer."""
        if self._looking_up is None or self._looking_up.done():
            self._looking_up = self._loop.create_task(self._look_up())
        # Who goes away takes the answer from nobody else.
        return await asyncio.shield(self._looking_up)

    async def _look_up(self) -> Sequence[AddrInfoType]:
        try:
            return await self._loop.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM
            )
        except (OSError, ValueError):
            return []  # ValueError: a host name that cannot be one.

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._idle.pop(connection, None)
        if self._closed and not self._connections:
            self._none_open.set()
