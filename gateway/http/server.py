"""What operators and their machines look at: health, readiness, metrics."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from gateway.domain.errors import ConfigurationError
from gateway.http.connections import ConnectionCounts, LimitedHttpServer

_JSON = "application/json"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_BACKLOG = 128
"""Connections that wait to be accepted."""

_DEFAULT_MAX_CONNECTIONS = 1000


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

Endpoints = Mapping[tuple[str, str], Handler]
"""What is served, by method and path. "/name/" is all that is under it."""


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
    """Serve over HTTP inside of the block; requests under way are finished at its end.

    Args:
        endpoints: what is served.
        host: the address to listen on.
        port: its port.
        reuse_port: other processes of ours listen on the port, too; the system spreads
            the connections over them.
        max_connections: how many may be open at a time.
        counts: what is counted.

    Raises:
        ConfigurationError: the port cannot be had.
    """
    loop = asyncio.get_running_loop()
    try:
        # It knows how to bind all addresses of a name. It does not accept: that is
        # done by the server, on copies of its sockets.
        bound = await loop.create_server(
            asyncio.Protocol,
            host,
            port,
            # None is the system's default, and what platforms without sharing want.
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
    """Serve over HTTP on a Unix socket inside of the block.

    Args:
        endpoints: what is served.
        path: of the socket; one that a dead process left there is replaced.
        max_connections: how many may be open at a time.
        counts: what is counted.
    """
    async with _serve(endpoints, [_bind_unix_socket(path)], max_connections, counts):
        yield


@asynccontextmanager
async def reserve_port(host: str, port: int) -> AsyncIterator[None]:
    """Keep a port for processes of ours that share it, inside of the block.

    Sharing is open to every process of the same user, so that two gateways would each
    get a part of the updates, without a word. Here the port is bound but not listened
    on: first without sharing, which fails if anybody else has it, then open to those
    that share.

    Raises:
        ConfigurationError: the port cannot be had.
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
            # asyncio set it, so that connections of the last run are no obstacle. From
            # here on it would let another reservation in.
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
        build_handler(endpoints),
        max_connections=max_connections,
        counts=counts or ConnectionCounts(),
    )
    server.start(sockets)
    try:
        yield
    finally:
        await server.close()


def build_handler(endpoints: Endpoints) -> Handler:
    """Give the handler of all pages.

    In place of aiohttp's application and router, which took a seventh of the time of a
    request: there is nothing to choose from but whole paths and their first parts.
    """
    head_handlers = {
        ("HEAD", path): it
        for (method, path), it in endpoints.items()
        if method == "GET"
    }
    handlers = {**endpoints, **head_handlers}

    def answer(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        method, path = request.method, request.rel_url.raw_path
        if handler := handlers.get((method, path)):
            return handler(request)
        top = path[: path.find("/", 1) + 1]
        if handler := handlers.get((method, top)):
            return handler(request)
        if allowed := {allowed for allowed, known in handlers if known in {path, top}}:
            raise web.HTTPMethodNotAllowed(method, allowed)
        raise web.HTTPNotFound

    return answer


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
    """Make the public answer of `/health`, which anybody may read."""
    body = msgspec.json.encode({"status": health["status"]})
    return web.Response(body=body, content_type=_JSON)


class HealthEndpoints:
    """Answers from what the rest of the program tells when it is asked."""

    def __init__(
        self,
        *,
        health: Callable[[], Mapping[str, Any]],
        ready: Callable[[], Mapping[str, Any]],
        metrics: Callable[[], bytes],
    ) -> None:
        """Take the questions.

        Args:
            health: what goes into the answer of `/health`.
            ready: what goes into the answer of `/ready`; its "ready" says whether
                updates should be sent here.
            metrics: the page of `/metrics`.
        """
        self._get_health = health
        self._get_readiness = ready
        self._render_metrics = metrics
        self.public: Endpoints = {("GET", "/health"): self.handle_status}
        """`/health` for everybody: "ok" or "degraded", and nothing else."""
        self.internal: Endpoints = {
            ("GET", "/health"): self._handle_health,
            ("GET", "/ready"): self._handle_ready,
            ("GET", "/metrics"): self._handle_metrics,
        }
        """`/health` with all details, `/ready` and `/metrics`: for operators."""

    async def handle_status(self, request: web.BaseRequest) -> web.Response:
        """Answer whether all is well, without a reason."""
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
