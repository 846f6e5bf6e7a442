"""Asks a service for its health, by the standard rpc `grpc.health.v1.Health.Watch`.

The gateway's channels use the same rpc. Both messages have one field, so they are
encoded here without a library.
"""

from enum import IntEnum

import grpc
from grpc import aio

_PATH = "/grpc.health.v1.Health/Watch"
_SERVICE_TAG = b"\x0a"  # HealthCheckRequest.service: field 1, a string
_STATUS_TAG = b"\x08"  # HealthCheckResponse.status: field 1, a varint


class Health(IntEnum):
    """The health that a service reports, as grpc.health.v1's ServingStatus."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


async def get_health(
    channel: aio.Channel, service: str, seconds: float
) -> Health | None:
    """Ask a server for the health of a service.

    Args:
        channel: the channel to the server.
        service: the full name of the service, or "" for the whole server.
        seconds: how long the server may take to answer.

    Returns:
        The reported health; None if the server has no health service.

    Raises:
        AioRpcError: the call failed, for example because no server was reached.
    """
    name = service.encode()
    request = _SERVICE_TAG + bytes([len(name)]) + name if name else b""
    watch: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(_PATH)
    call = watch(request, timeout=seconds)
    try:
        response = await call.read()
        # At the end of the stream there is no response, but a constant.
        return _decode_health(response if isinstance(response, bytes) else b"")
    except aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return None
        # Health services return this status from Check, and some from Watch.
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return Health.SERVICE_UNKNOWN
        raise
    finally:
        call.cancel()


def _decode_health(response: bytes) -> Health:
    if response.startswith(_STATUS_TAG) and response[1:] in (b"\x01", b"\x02", b"\x03"):
        return Health(response[1])
    return Health.UNKNOWN
