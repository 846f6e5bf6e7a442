"""The standard health service, as far as the gateway uses it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

SERVING, NOT_SERVING, SERVICE_UNKNOWN = b"\x01", b"\x02", b"\x03"


class Health(grpc.GenericRpcHandler):
    """Serves Watch, with a status for each service.

    Args:
        statuses: the status of each service by its full name; "" is the whole server.
        aborts_with: ends the calls for other names; None for SERVICE_UNKNOWN.
    """

    def __init__(
        self,
        statuses: Mapping[str, bytes],
        aborts_with: grpc.StatusCode | None = None,
    ) -> None:
        self._statuses = dict(statuses)
        self._changed = asyncio.Event()
        self._aborts_with = aborts_with
        self._handler: grpc.RpcMethodHandler[Any, Any] = (
            grpc.unary_stream_rpc_method_handler(self._watch)
        )

    def report(self, status: bytes) -> None:
        """Change the status of the whole server."""
        self._statuses[""] = status
        self._changed.set()
        self._changed = asyncio.Event()

    async def _watch(
        self, request: bytes, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[bytes]:
        # grpc.health.v1.HealthCheckRequest.service is field 1, like
        # HealthCheckResponse.status.
        name = request[2:].decode()
        if name not in self._statuses and self._aborts_with:
            await context.abort(self._aborts_with)
        while True:
            changed = self._changed
            yield b"\x08" + self._statuses.get(name, SERVICE_UNKNOWN)
            await changed.wait()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Serve Watch only."""
        is_watch = handler_call_details.method == "/grpc.health.v1.Health/Watch"
        return self._handler if is_watch else None
