"""An HTTP server with a bound on its connections.

asyncio's own way to accept knows no bound. Without file descriptors left it fails, logs
each of its many attempts, and what else the process wants to open fails with it. Here
nothing is accepted beyond the bound. New connections then take the place of others:
first of those that never sent a request, then of those that were idle longest. A
connection with a request under way is never closed for that.

Concurrency: callbacks of the event loop accept, and aiohttp runs a task per connection.
What is accepted while the server closes is closed with it.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from itertools import chain, islice
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from gateway.observability.logging import RateLimitedLogger, summarize_error

logger = logging.getLogger(__name__)

FIRST_REQUEST_SECONDS = 20.0
"""How long a new connection has until its first request is here."""

_KEEPALIVE_SECONDS = 75
"""Telegram closes an idle connection after 60 s. A server that closes first may do so
just as an update is being written."""

_MAX_ACCEPTS_PER_TURN = 32
"""Connections accepted, or closed to make room, per turn of the loop at most."""

_PAUSE_SECONDS = 1.0
"""How long nothing is accepted when it failed, unless there may be room before."""

_SHUTDOWN_SECONDS = 3
"""For a request whose body is still on its way at the stop: it was not accepted yet."""


class ConnectionCounts:
    """What the HTTP servers of this process count."""

    def __init__(self) -> None:
        self.malformed = 0
        """Requests that were no HTTP."""
        self.evicted = 0
        """Connections that were closed to make room."""
        self.failed_accepts = 0
        """Attempts to accept a connection that failed, for example for lack of file
        descriptors."""


class _Request(web.BaseRequest):
    """A request whose answer does not tell which libraries made it."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.popall("Server", None)


class LimitedHttpServer(web.Server):
    """Serves HTTP on sockets that listen already.

    Args:
        handler: answers requests.
        most_connections: how many may be open.
        counts: what is counted.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        max_connections: int,
        counts: ConnectionCounts,
    ) -> None:
        super().__init__(
            self._handle,
            access_log=None,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            # Telegram compresses nothing; strangers would, to keep the loop busy.
            auto_decompress=False,
            logger=_AiohttpLogger(counts),
        )
        self._handler = handler
        self._max_connections = max(max_connections, 1)
        self._counts = counts
        self._log = RateLimitedLogger(logger)
        self._sockets: list[socket.socket] = []
        self._accept_tasks: set[asyncio.Task[None]] = set()
        self._transports: dict[RequestHandler, asyncio.Transport] = {}
        self._new_since: dict[RequestHandler, float] = {}
        """Connections that sent no request yet, and since when; the oldest first."""
        self._idle: dict[RequestHandler, None] = {}
        """Connections whose requests were answered; those idle longest first."""
        self._resume_timer: asyncio.TimerHandle | None = None
        self._late_timer: asyncio.TimerHandle | None = None

    def _make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return _Request(message, payload, protocol, writer, task, loop)

    def start(self, sockets: Collection[socket.socket]) -> None:
        """Accept connections. The sockets are closed by `close`."""
        self._sockets = list(sockets)
        self._resume()

    async def close(self) -> None:
        """Accept nothing more, finish the requests under way and close everything."""
        self._pause()
        sockets, self._sockets = self._sockets, []
        for listener in sockets:
            listener.close()
        await asyncio.gather(*self._accept_tasks, return_exceptions=True)
        # Requests that are here already begin before idle connections are closed.
        await asyncio.sleep(0)
        self.pre_shutdown()
        await self.shutdown(_SHUTDOWN_SECONDS)
        for timer in (self._resume_timer, self._late_timer):
            if timer is not None:
                timer.cancel()

    def connection_made(
        self, handler: RequestHandler, transport: asyncio.Transport
    ) -> None:
        """Note a connection. aiohttp calls this."""
        super().connection_made(handler, transport)
        self._transports[handler] = transport
        self._new_since[handler] = time.monotonic()
        if self._late_timer is None:
            self._schedule_close_late()

    def connection_lost(
        self, handler: RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Forget a connection. aiohttp calls this."""
        super().connection_lost(handler, exc)
        self._transports.pop(handler, None)
        self._new_since.pop(handler, None)
        self._idle.pop(handler, None)
        if self._resume_timer is not None:
            self._resume()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        if self._new_since.pop(connection, None) is None:
            self._idle.pop(connection, None)
        try:
            return await self._handler(request)
        finally:
            if connection in self._transports:
                self._idle[connection] = None
            if self._resume_timer is not None:  # this one may make room
                self._resume()

    def _accept(self, listener: socket.socket) -> None:
        """Accept what waits, as far as there is room."""
        for _ in range(_MAX_ACCEPTS_PER_TURN):
            if len(self._transports) + len(self._accept_tasks) >= self._max_connections:
                self._make_room()
                return
            try:
                connection, _address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._counts.failed_accepts += 1
                self._log.log(
                    logging.ERROR, "connection not accepted", errno=error.errno
                )
                self._evict()
                self._pause()
                return
            connection.setblocking(False)
            task = asyncio.create_task(self._serve(connection), name="connection")
            self._accept_tasks.add(task)
            task.add_done_callback(self._accept_tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        """Hand a connection to aiohttp."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(self, connection)
        except OSError:  # it is gone already
            connection.close()

    def _make_room(self) -> None:
        self._log.log(
            logging.WARNING, "too many connections", limit=self._max_connections
        )
        if not self._evict():
            self._pause()

    def _evict(self) -> int:
        """Close a few connections without a request under way; gives how many."""
        count = min(self._max_connections // 8 + 1, _MAX_ACCEPTS_PER_TURN)
        evicted = list(islice(chain(self._new_since, self._idle), count))
        self._abort(evicted)
        self._counts.evicted += len(evicted)
        return len(evicted)

    def _abort(self, connections: Iterable[RequestHandler]) -> None:
        for connection in connections:
            self._new_since.pop(connection, None)
            self._idle.pop(connection, None)
            self._transports[connection].abort()

    def _pause(self) -> None:
        """Accept nothing until there may be room, or for a while."""
        loop = asyncio.get_running_loop()
        for listener in self._sockets:
            loop.remove_reader(listener)
        if self._resume_timer is None:
            self._resume_timer = loop.call_later(_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        if self._resume_timer is not None:
            self._resume_timer.cancel()
            self._resume_timer = None
        loop = asyncio.get_running_loop()
        for listener in self._sockets:
            loop.add_reader(listener, self._accept, listener)

    def _schedule_close_late(self) -> None:
        loop = asyncio.get_running_loop()
        self._late_timer = loop.call_later(FIRST_REQUEST_SECONDS / 4, self._close_late)

    def _close_late(self) -> None:
        """Close connections that did not send their first request in time."""
        self._late_timer = None
        latest = time.monotonic() - FIRST_REQUEST_SECONDS
        late = [it for it, since in self._new_since.items() if since <= latest]
        self._abort(late)
        if self._new_since:
            self._schedule_close_late()


class _AiohttpLogger(logging.Logger):
    """Takes what aiohttp's server logs.

    It logs requests that are no HTTP as errors, with a traceback. They are what
    strangers send to any open port.
    """

    def __init__(self, counts: ConnectionCounts) -> None:
        super().__init__("aiohttp.server", logging.WARNING)
        self._counts = counts
        self._limited = RateLimitedLogger(logger)

    def debug(self, msg: object, *args: object, **options: Any) -> None:  # noqa: ANN401 - as logging has it
        """Count a request in an unknown method, which is often TLS; drop the rest."""
        if isinstance(options.get("exc_info"), HttpProcessingError):
            self._count_malformed(options["exc_info"])

    def exception(self, msg: object, *args: object, **options: Any) -> None:  # noqa: ANN401 - as above
        """Log a failure of ours as an error, but no malformed request."""
        error = options.get("exc_info")
        if isinstance(error, HttpProcessingError):
            self._count_malformed(error)
        elif isinstance(error, BaseException):
            logger.error("request failed", extra={"error": summarize_error(error)})
        else:
            logger.error("request failed")

    def _count_malformed(self, error: HttpProcessingError) -> None:
        self._counts.malformed += 1
        # Not its message, which quotes the request.
        self._limited.log(logging.INFO, "malformed request", error=type(error).__name__)
