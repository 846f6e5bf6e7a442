"""Opens HTTP servers, and has the endpoints for health, readiness and metrics."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from gateway.domain.errors import ConfigurationError
from gateway.http.connections import ConnectionCounts, LimitedHttpServer
from gateway.http.routing import Endpoints

_JSON = "application/json"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_BACKLOG = 128
"""Number of connections that may wait to be accepted."""

_DEFAULT_MAX_CONNECTIONS = 1000


@asynccontextmanager
async def serve_http(
    endpoints: Endpoints,
    host: str,
    port: int,
    *,
    reuse_port: bool = False,
    max_connections: int = _DEFAULT_MAX_CONNECTIONS,
    counts: ConnectionCounts | None = None,
) -> AsyncIterator[None]:
    """Serve HTTP on a TCP port inside the block; at its end finish open requests.

    Args:
        endpoints: the handlers, by method and path.
        host: the address or host name to listen on; all addresses of the name are used.
        port: the port to listen on.
        reuse_port: True to share the port with other processes of this user, so that
            the kernel distributes connections among them; False to fail if the port is
            in use.
        max_connections: the maximum number of open connections; above it, idle
            ones are evicted.
        counts: counts malformed requests, evicted connections and failed accepts; None
            counts them nowhere.

    Raises:
        ConfigurationError: the port is not available, or the host is unknown.
    """
    loop = asyncio.get_running_loop()
    try:
        # asyncio binds all addresses of a host name. It does not accept connections:
        # LimitedHttpServer does that on copies of the sockets.
        bound = await loop.create_server(
            asyncio.Protocol,
            host,
            port,
            # None is the default, and required on platforms without SO_REUSEPORT.
            reuse_port=True if reuse_port else None,
            start_serving=False,
        )
        sockets = [it.dup() for it in bound.sockets]
        bound.close()
        for it in sockets:
            it.setblocking(False)
            it.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:
        raise _build_listen_error(host, port, error) from None
    async with _serve(endpoints, sockets, max_connections, counts):
        yield


@asynccontextmanager
async def serve_unix_socket(
    endpoints: Endpoints,
    path: Path,
    *,
    max_connections: int = _DEFAULT_MAX_CONNECTIONS,
    counts: ConnectionCounts | None = None,
) -> AsyncIterator[None]:
    """Serve HTTP on a Unix socket inside the block; at its end finish open requests.

    Args:
        endpoints: the handlers, by method and path.
        path: the path of the socket. A file that is there, such as the socket of an
            ended process, is removed first. The socket remains after the block.
        max_connections: the maximum number of open connections; above it, idle
            ones are evicted.
        counts: counts malformed requests, evicted connections and failed accepts; None
            counts them nowhere.

    Raises:
        OSError: the socket cannot be created.
    """
    async with _serve(endpoints, [_bind_unix_socket(path)], max_connections, counts):
        yield


@asynccontextmanager
async def reserve_port(host: str, port: int) -> AsyncIterator[None]:
    """Reserve a TCP port inside the block for worker processes that will share it.

    Every process of the same user could share the port, so that each of two gateways
    would silently get a part of the updates. Therefore the supervisor binds the port
    here, without listening: first without sharing, which fails if another process uses
    the port; after that, sharing is enabled for the workers, which call `serve_http`
    with `reuse_port`.

    Raises:
        ConfigurationError: the port is in use, or the host is unknown.
    """
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            asyncio.Protocol, host, port, start_serving=False
        )
    except (OSError, UnicodeError) as error:
        raise _build_listen_error(host, port, error) from None
    async with server:
        for listener in server.sockets:
            # asyncio set SO_REUSEADDR, so that connections of the last run do not
            # prevent binding. From now on it would allow another reservation.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield


@asynccontextmanager
async def _serve(
    endpoints: Endpoints,
    sockets: Collection[socket.socket],
    max_connections: int,
    counts: ConnectionCounts | None,
) -> AsyncIterator[None]:
    server = LimitedHttpServer(
        endpoints,
        max_connections=max_connections,
        counts=counts or ConnectionCounts(),
    )
    server.start(sockets)
    try:
        yield
    finally:
        await server.close()


def _bind_unix_socket(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    listener.bind(str(path))
    listener.listen(_BACKLOG)
    return listener


def _build_listen_error(
    host: str, port: int, error: OSError | UnicodeError
) -> ConfigurationError:
    if isinstance(error, UnicodeError):
        reason = "no such host"
    elif isinstance(error, socket.gaierror) or error.errno is None:
        reason = str(error.strerror)
    else:
        reason = os.strerror(error.errno)
    return ConfigurationError([f"cannot listen on {host}:{port}: {reason}"])


def build_status_response(health: Mapping[str, Any]) -> web.Response:
    """Build the public response of `/health`: 200 with {"status": "ok"} or "degraded".

    Args:
        health: the fields of the detailed `/health`; only "status" is used.
    """
    body = msgspec.json.encode({"status": health["status"]})
    return web.Response(body=body, content_type=_JSON)


class HealthEndpoints:
    """The handlers of `/health`, `/ready` and `/metrics`, for `serve_http`."""

    def __init__(
        self,
        *,
        health: Callable[[], Mapping[str, Any]],
        ready: Callable[[], Mapping[str, Any]],
        metrics: Callable[[], bytes],
    ) -> None:
        """Set the functions that return the contents of the responses.

        They are called for each request, and must not block.

        Args:
            health: returns the fields of `/health`; "status" is "ok" or "degraded".
            ready: returns the fields of `/ready`. "ready" is True if this process
                should get updates, for which `/ready` has the status 200, and otherwise
                503.
            metrics: returns the page of `/metrics` in the Prometheus text format.
        """
        self._get_health = health
        self._get_readiness = ready
        self._render_metrics = metrics
        self.public: Endpoints = {("GET", "/health"): self.handle_status}
        """The public `/health`, which contains only "ok" or "degraded"."""
        self.internal: Endpoints = {
            ("GET", "/health"): self._handle_health,
            ("GET", "/ready"): self._handle_ready,
            ("GET", "/metrics"): self._handle_metrics,
        }
        """The detailed `/health`, `/ready` and `/metrics`, for operators."""

    async def handle_status(self, request: web.BaseRequest) -> web.Response:
        """Respond to the public `/health` with "ok" or "degraded", without details."""
        return build_status_response(self._get_health())

    async def _handle_health(self, request: web.BaseRequest) -> web.Response:
        body = msgspec.json.encode(self._get_health())
        return web.Response(body=body, content_type=_JSON)

    async def _handle_ready(self, request: web.BaseRequest) -> web.Response:
        ready = self._get_readiness()
        body = msgspec.json.encode(ready)
        status = 200 if ready["ready"] else 503
        return web.Response(status=status, body=body, content_type=_JSON)

    async def _handle_metrics(self, request: web.BaseRequest) -> web.Response:
        return web.Response(
            body=self._render_metrics(), headers={"Content-Type": _PROMETHEUS}
        )
