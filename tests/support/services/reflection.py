"""Server reflection, as far as it lists services."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc


class Reflection(grpc.GenericRpcHandler):
    """Lists services.

    Args:
        services: their full names.
    """

    def __init__(self, services: Sequence[str]) -> None:
        # ServerReflectionResponse.list_services_response.service.name
        listed = b"".join(
            _encode(1, _encode(1, service.encode())) for service in services
        )
        self._response = _encode(6, listed)
        self._handler: grpc.RpcMethodHandler[Any, Any] = (
            grpc.stream_stream_rpc_method_handler(self._answer)
        )

    async def _answer(
        self, requests: AsyncIterator[bytes], _: object
    ) -> AsyncIterator[bytes]:
        async for request in requests:
            assert request == b"\x3a\x00"  # list_services: ""
            yield self._response

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Serve the older version of the protocol, which many servers have."""
        path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        return self._handler if handler_call_details.method == path else None


def _encode(number: int, value: bytes) -> bytes:
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value
