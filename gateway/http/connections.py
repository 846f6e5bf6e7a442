"""An HTTP server with a limit on open connections; asyncio's own accept has none.

Without free file descriptors, asyncio fails to accept, logs each of its many attempts,
and the process cannot open anything else either. This server accepts no connections
above its limit. Instead, it evicts others to make room: first those that never sent a
request, then those that were idle longest. A connection with a request in progress is
never evicted.

Concurrency: callbacks of the event loop accept, and aiohttp runs a task per connection.
Connections that are accepted while the server closes are closed with it.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Collection, Iterable
from functools import partial
from itertools import chain, islice
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from gateway.http.routing import Endpoints, add_head_endpoints, find_handler
from gateway.observability.logging import RateLimitedLogger, summarize_error

logger = logging.getLogger(__name__)

FIRST_REQUEST_SECONDS = 20.0
"""Timeout for the first request on a new connection."""

_KEEPALIVE_SECONDS = 75
"""Telegram closes an idle connection after 60 s. If the server closed first, it might
do so while Telegram is sending an update."""

_MAX_ACCEPTS_PER_TURN = 32
"""Maximum number of connections accepted or evicted per iteration of the loop."""

_PAUSE_SECONDS = 1.0
"""How long accepting pauses after a failure, unless a connection closes earlier."""

_SHUTDOWN_SECONDS = 3
"""Time at shutdown for requests whose body is still incomplete: they are not accepted
yet."""


class ConnectionCounts:
    """Counters that the HTTP servers of this process share, for the metrics."""

    def __init__(self) -> None:
        self.malformed = 0
        """Requests that were not valid HTTP."""
        self.evicted = 0
        """Connections that were evicted to make room."""
        self.failed_accepts = 0
        """Failed attempts to accept a connection, for example without a free file
        descriptor."""


class _Request(web.BaseRequest):
    """A request whose response does not reveal the server's software."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.popall("Server", None)


class LimitedHttpServer(web.Server):
    """An HTTP server on listening sockets, with a limit on open connections.

    At the limit it closes connections without a request in progress to accept new ones;
    see the module. Paths without a handler get 404 or 405. A GET endpoint also answers
    HEAD.

    Args:
        endpoints: the handlers, by method and path.
        max_connections: the maximum number of open connections; at least 1 is allowed.
        counts: the counters to increment; may be shared with other servers.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        max_connections: int,
        counts: ConnectionCounts,
    ) -> None:
        super().__init__(
            self._handle,
            request_factory=partial(_Request, loop=asyncio.get_running_loop()),
            access_log=None,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            # Telegram does not compress; strangers might, to keep the loop busy.
            auto_decompress=False,
            logger=_AiohttpLogger(counts),
        )
        self._endpoints = add_head_endpoints(endpoints)
        self._max_connections = max(max_connections, 1)
        self._counts = counts
        self._log = RateLimitedLogger(logger)
        self._sockets: list[socket.socket] = []
        self._accept_tasks: set[asyncio.Task[None]] = set()
        self._transports: dict[RequestHandler, asyncio.Transport] = {}
        self._new_since: dict[RequestHandler, float] = {}
        """Connections without a request yet, with their start times; oldest first."""
        self._idle: dict[RequestHandler, None] = {}
        """Connections between requests; longest idle first."""
        self._resume_timer: asyncio.TimerHandle | None = None
        self._late_timer: asyncio.TimerHandle | None = None

    def start(self, sockets: Collection[socket.socket]) -> None:
        """Begin to accept connections on listening, non-blocking sockets.

        The server owns the sockets from now on; `close` closes them.
        """
        self._sockets = list(sockets)
        self._resume()

    async def close(self) -> None:
        """Stop accepting, wait for the requests in progress, and close all connections.

        Requests that need longer than `_SHUTDOWN_SECONDS` are cancelled. The server
        cannot be started again.
        """
        self._pause()
        sockets, self._sockets = self._sockets, []
        for listener in sockets:
            listener.close()
        await asyncio.gather(*self._accept_tasks, return_exceptions=True)
        # Let requests that have already arrived start before idle connections close.
        await asyncio.sleep(0)
        self.pre_shutdown()
        await self.shutdown(_SHUTDOWN_SECONDS)
        for timer in (self._resume_timer, self._late_timer):
            if timer is not None:
                timer.cancel()

    def connection_made(
        self, handler: RequestHandler, transport: asyncio.Transport
    ) -> None:
        """Register a new connection, and close it if no request comes in time.

        Called by aiohttp. The time is `FIRST_REQUEST_SECONDS`.
        """
        super().connection_made(handler, transport)
        self._transports[handler] = transport
        self._new_since[handler] = time.monotonic()
        if self._late_timer is None:
            self._schedule_close_late()

    def connection_lost(
        self, handler: RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Unregister a closed connection, and accept again if the server was full.

        Called by aiohttp.
        """
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
            method, path = request.method, request.rel_url.raw_path
            handler = self._endpoints.get((method, path))
            if handler is None:
                handler = find_handler(self._endpoints, method, path)
            return await handler(request)
        finally:
            if connection in self._transports:
                self._idle[connection] = None
            if self._resume_timer is not None:  # this connection can be evicted now
                self._resume()

    def _accept(self, listener: socket.socket) -> None:
        """Accept waiting connections up to the limit."""
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
                    logging.ERROR, "connection_not_accepted", errno=error.errno
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
        except OSError:  # the client has closed it already
            connection.close()

    def _make_room(self) -> None:
        self._log.log(
            logging.WARNING, "too_many_connections", limit=self._max_connections
        )
        if not self._evict():
            self._pause()

    def _evict(self) -> int:
        """Close a few connections without a request in progress and return how many."""
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
        """Stop accepting until a connection closes or the pause ends."""
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
    """A logger for aiohttp's server that counts malformed requests.

    aiohttp logs them as errors with a traceback, although strangers send them to any
    open port.
    """

    def __init__(self, counts: ConnectionCounts) -> None:
        super().__init__("aiohttp.server", logging.WARNING)
        self._counts = counts
        self._limited = RateLimitedLogger(logger)

    def debug(self, msg: object, *args: object, **options: Any) -> None:  # noqa: ANN401 - as in logging
        """Count a request with an unknown method, which is often TLS; drop the rest."""
        if isinstance(options.get("exc_info"), HttpProcessingError):
            self._count_malformed(options["exc_info"])

    def exception(self, msg: object, *args: object, **options: Any) -> None:  # noqa: ANN401 - as above
        """Log a failed request as an error, and only count a malformed one."""
        error = options.get("exc_info")
        if isinstance(error, HttpProcessingError):
            self._count_malformed(error)
        elif isinstance(error, BaseException):
            logger.error("request_failed", extra={"error": summarize_error(error)})
        else:
            logger.error("request_failed")

    def _count_malformed(self, error: HttpProcessingError) -> None:
        self._counts.malformed += 1
        # Its message is omitted because it quotes the request.
        self._limited.log(logging.INFO, "malformed_request", error=type(error).__name__)
