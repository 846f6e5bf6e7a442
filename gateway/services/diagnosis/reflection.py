"""Asks a server for the names of its gRPC services, by gRPC's reflection service.

The messages of `grpc.reflection.v1` are encoded here without a library, as only one
request is made.
"""

from typing import Any

import grpc
from grpc import aio

from gateway.domain.upload_size import iter_fields

_PATHS = tuple(
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    for version in ("v1", "v1alpha")
)
_LIST_SERVICES = b"\x3a\x00"  # ServerReflectionRequest.list_services: field 7, ""
_NAME_PATH = (6, 1, 1)  # list_services_response, service, name


async def list_services(channel: aio.Channel, seconds: float) -> list[str] | None:
    """Ask a server for the full names of its gRPC services.

    Args:
        channel: the channel to the server.
        seconds: how long the server may take to answer, for each version of reflection.

    Returns:
        The sorted names; None if the server has no reflection or the call failed.
    """
    for path in _PATHS:
        # Not a stream of requests: its request may follow the refusal, and gRPC then
        # reports an internal error.
        reflect: Any = channel.unary_stream(path)
        call = reflect(_LIST_SERVICES, timeout=seconds)
        try:
            response = await call.read()
        except aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                continue
            return None
        finally:
            call.cancel()
        if isinstance(response, bytes):
            return sorted(_read_names(response))
    return None


def _read_names(response: bytes) -> list[str]:
    parts = [response]
    for number in _NAME_PATH:
        parts = [
            part[start:end]
            for part in parts
            for found, start, end in iter_fields(part, 0, len(part))
            if found == number
        ]
    return [part.decode(errors="replace") for part in parts]
