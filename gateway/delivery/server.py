"""The gRPC server of the Delivery service, with health and reflection."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import anyio
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from msgspec import Struct

from gateway.delivery.handlers import (
    BROADCAST_SERVICE_NAME,
    SERVICE_NAME,
    DeliveryHandlers,
)
from gateway.delivery.tls import ServerTls, load_credentials
from gateway.domain.errors import ConfigurationError
from gateway.domain.upload_size import MAX_BYTES_WITH_FILES

_MAX_CONCURRENT_RPCS = 1000
"""More are refused with RESOURCE_EXHAUSTED, before their requests fill the memory."""

_RESPONSE_SECONDS = 0.5
"""How long the responses of finished rpcs may take to be sent."""


class ServerAddress(Struct, frozen=True, kw_only=True):
    """Where the server listens, and how.

    Attributes:
        host: the address to listen on.
        port: the port to listen on.
        shares_port: whether other workers of this gateway listen on this port, too.
        tls: the TLS files; None for no encryption.
    """

    host: str
    port: int
    shares_port: bool = False
    tls: ServerTls | None = None


@contextlib.asynccontextmanager
async def serve_deliveries(
    address: ServerAddress,
    handlers: DeliveryHandlers,
    *,
    drain_seconds: float,
) -> AsyncIterator[None]:
    """Serve the Delivery and Broadcast services inside the block.

    At the end of the block no new rpcs are accepted, and running ones are finished.

    Args:
        address: where to listen.
        handlers: the handlers of the rpcs.
        drain_seconds: how long running rpcs may take at the end of the block; after
            that they are cancelled.

    Raises:
        ConfigurationError: a TLS file is invalid, or the port is not available.
    """
    server = aio.server(
        options=(
            ("grpc.so_reuseport", int(address.shares_port)),
            ("grpc.max_receive_message_length", MAX_BYTES_WITH_FILES),
            # Services may keep idle connections open behind a firewall.
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ),
        maximum_concurrent_rpcs=_MAX_CONCURRENT_RPCS,
    )
    server.add_generic_rpc_handlers(handlers.generic_handlers)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection(
        (
            SERVICE_NAME,
            BROADCAST_SERVICE_NAME,
            health.SERVICE_NAME,
            reflection.SERVICE_NAME,
        ),
        server,
    )
    _listen(server, address)
    await server.start()
    for service in ("", SERVICE_NAME, BROADCAST_SERVICE_NAME):
        await servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield
    finally:
        await servicer.enter_graceful_shutdown()
        await _drain(server, handlers, drain_seconds)


async def _drain(
    server: aio.Server, handlers: DeliveryHandlers, max_seconds: float
) -> None:
    """Accept nothing new, and finish the running rpcs of deliveries."""
    stopping = asyncio.ensure_future(server.stop(max_seconds))
    with anyio.move_on_after(max_seconds):
        await handlers.drain()
    # Watchers of the health and of reflection stay connected: do not wait for them.
    await server.stop(min(_RESPONSE_SECONDS, max_seconds))
    await stopping


def _listen(server: aio.Server, address: ServerAddress) -> None:
    host = f"[{address.host}]" if ":" in address.host else address.host
    target = f"{host}:{address.port}"
    try:
        if address.tls is None:
            server.add_insecure_port(target)
        else:
            server.add_secure_port(target, load_credentials(address.tls))
    except RuntimeError:
        # gRPC does not say why.
        problem = f"cannot listen on {target}: {_find_reason(address)}"
        raise ConfigurationError([problem]) from None


def _find_reason(address: ServerAddress) -> str:
    """Return why it is impossible to listen on an address."""
    try:
        family, kind, *_, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as listener:
            listener.bind(target)
    except socket.gaierror as error:
        return str(error.strerror)
    except OSError as error:
        return os.strerror(error.errno or 0)
    return "gRPC cannot use the address"
