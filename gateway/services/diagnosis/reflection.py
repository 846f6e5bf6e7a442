"""Asks a server by reflection which services it has.

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
    """Return the full names of a server's services; None if it has no reflection.

    Args:
        channel: the channel to the server.
        seconds: the deadline.
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
