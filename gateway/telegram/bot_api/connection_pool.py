"""A pool of connections to the Bot API.

Concurrency: each request runs in the task that makes it, from opening a connection to
the end of the response, and has the connection to itself. If the task is cancelled, or
anything fails, the connection is closed. Requests beyond the limit wait in the order of
their arrival.

The most recently used connection is used first, so that surplus connections stay idle
and are closed. Tasks that open connections at the same time share one lookup of the
host, because each lookup occupies one of the few threads that the process has for them.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes, urlsplit

from aiohappyeyeballs import AddrInfoType, start_connection

from gateway.telegram.bot_api.connection import Connection, Response

_NEXT_ADDRESS_DELAY_SECONDS = 0.25
"""Delay after which the host's next address is tried in parallel (RFC 8305)."""

_BUFFER_BYTES = 64 * 1024

_MAX_HEADS = 20_000
"""Maximum number of kept heads. Each bot has one for each method that it calls, and
heads with replaced tokens are never used again."""


class RequestNotSent(Exception):
    """No part of the request was sent, so the server certainly did not execute it."""


class ConnectionPool:
    """Posts JSON to the paths under one URL, over connections that are kept open.

    Redirects are not followed. With an invalid URL all requests fail with
    RequestNotSent.

    Args:
        url: the URL, with a trailing slash.
        max_requests: the maximum number of simultaneous requests.
        request_timeout: the timeout in seconds for getting a connection, and once more
            for the request on it: together up to twice as long.
        connect_timeout: seconds that opening a connection may take.
        idle_timeout: seconds after which an unused connection is closed.
    """

    def __init__(
        self,
        url: str,
        *,
        max_requests: int,
        request_timeout: float,
        connect_timeout: float,
        idle_timeout: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._request_timeout = request_timeout
        self._connect_timeout = connect_timeout
        self._idle_timeout = idle_timeout
        self._slots = asyncio.Semaphore(max_requests)
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._connections: set[Connection] = set()
        self._idle: dict[Connection, float] = {}
        """The idle connections and when they became idle, the longest idle first."""
        self._idle_timer: asyncio.TimerHandle | None = None
        self._host_lookup: asyncio.Task[Sequence[AddrInfoType]] | None = None
        self._closed = False
        self._all_closed = asyncio.Event()
        self._request_heads: dict[str, bytes] = {}
        self._host: str | None = None
        self._tls: ssl.SSLContext | None = None
        try:
            self._parse_url(url)
        except ValueError:
            self._host = None

    def _parse_url(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"}:
            return
        credentials, _, host = parts.netloc.rpartition("@")
        self._path = _quote(parts.path)
        self._header_fields = (
            b" HTTP/1.1\r\nHost: " + host.encode("idna") + b"\r\n"
            b"Content-Type: application/json\r\nAccept-Encoding: identity\r\n"
        )
        if credentials:
            user = base64.b64encode(unquote_to_bytes(credentials))
            self._header_fields += b"Authorization: Basic " + user + b"\r\n"
        if parts.scheme == "https":
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        # "host." is looked up unchanged, but certificates are issued for "host".
        self._tls_hostname = (parts.hostname or "").rstrip(".")
        self._port = parts.port or (443 if self._tls else 80)
        self._host = parts.hostname

    async def post(self, path: str, body: bytes) -> Response:
        """Post JSON and return the response, whatever its status.

        Args:
            path: the path under the URL, which consists of a token and a method.
            body: the JSON.

        Raises:
            RequestNotSent: no part of the request was sent.
            ResponseLost: a part of the request may have been sent, but no complete
                response arrived.
        """
        head = self._request_heads.get(path) or self._build_head(path)
        request = b"%b%d\r\n\r\n%b" % (head, len(body), body)
        deadline = self._loop.time() + self._request_timeout
        # This needs no timeout: requests in progress started and will end earlier.
        await self._slots.acquire()
        try:
            connection: Connection | None = None
            while self._idle and connection is None:
                idle, _ = self._idle.popitem()
                connection = idle if idle.is_ready else None
            if connection is None:
                connection = await self._connect(deadline)
            # A new deadline: a request that is given up early may be executed.
            deadline = self._loop.time() + self._request_timeout
            try:
                return await connection.send(request, deadline)
            finally:
                if self._closed or not connection.is_ready:
                    connection.abort()
                else:
                    self._idle[connection] = self._loop.time()
                    if self._idle_timer is None:
                        self._schedule_close_idle()
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Close all connections, and wait until they are closed.

        Requests in progress fail with ResponseLost, later ones with RequestNotSent.
        """
        self._closed = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for connection in self._connections:
            connection.abort()
        if self._connections:
            await self._all_closed.wait()

    def _build_head(self, path: str) -> bytes:
        """Build and keep the head of the requests to a path, up to their length."""
        if self._host is None:
            raise RequestNotSent
        line = b"POST " + self._path + _quote(path)
        head = line + self._header_fields + b"Content-Length: "
        if len(self._request_heads) >= _MAX_HEADS:
            self._request_heads.clear()
        self._request_heads[path] = head
        return head

    def _schedule_close_idle(self) -> None:
        """Set the timer for the connection that has been idle longest."""
        since = next(iter(self._idle.values()))
        self._idle_timer = self._loop.call_at(
            since + self._idle_timeout, self._close_idle
        )

    def _close_idle(self) -> None:
        self._idle_timer = None
        latest = self._loop.time() - self._idle_timeout
        while self._idle:
            connection, since = next(iter(self._idle.items()))
            if since > latest:
                self._schedule_close_idle()
                return
            del self._idle[connection]
            connection.abort()

    async def _connect(self, deadline: float) -> Connection:
        end = min(deadline, self._loop.time() + self._connect_timeout)
        try:
            async with asyncio.timeout_at(end):
                connection = await self._open()
        except (OSError, ValueError):
            # ValueError: the host has no address.
            raise RequestNotSent from None
        if self._closed or not connection.is_ready:
            connection.abort()
            raise RequestNotSent
        self._connections.add(connection)
        return connection

    async def _open(self) -> Connection:
        if self._closed:
            raise RequestNotSent
        addresses = await self._find_addresses()
        opened_socket = await start_connection(
            addresses, happy_eyeballs_delay=_NEXT_ADDRESS_DELAY_SECONDS, interleave=1
        )
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._buffer, self._on_connection_lost),
            sock=opened_socket,
            ssl=self._tls,
            server_hostname=self._tls_hostname if self._tls else None,
        )
        return connection

    async def _find_addresses(self) -> Sequence[AddrInfoType]:
        """Look up the host's addresses; simultaneous callers share one lookup."""
        if self._host_lookup is None or self._host_lookup.done():
            self._host_lookup = self._loop.create_task(self._look_up_host())
        # A cancelled caller must not cancel the lookup for the others.
        return await asyncio.shield(self._host_lookup)

    async def _look_up_host(self) -> Sequence[AddrInfoType]:
        try:
            return await self._loop.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM
            )
        except (OSError, ValueError):
            return []  # ValueError: the host name is invalid.

    def _on_connection_lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._idle.pop(connection, None)
        if self._closed and not self._connections:
            self._all_closed.set()


def _quote(path: str) -> bytes:
    return quote(path, safe="/:%!$&'()*+,;=@~").encode()
