"""What the status of a failed call means: for the gateway, and for the user."""

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import LocalizedMessage, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from gateway.domain.errors import (
    ServiceError,
    ServiceFailed,
    ServiceTimeout,
    ServiceUnavailable,
)

_DETAILS_KEY = "grpc-status-details-bin"
"""Where a service puts a google.rpc.Status, in the trailers (AIP-193)."""

_ERROR_CLASSES = {
    grpc.StatusCode.DEADLINE_EXCEEDED: ServiceTimeout,
    grpc.StatusCode.UNAVAILABLE: ServiceUnavailable,
    # By the service: a call that our side cancels raises CancelledError instead.
    grpc.StatusCode.CANCELLED: ServiceUnavailable,
}


def to_service_error(error: aio.AioRpcError, route: str) -> ServiceError:
    """Turn a status into our error.

    What its details say may quote the user: it stays out, but for the text that is
    meant for the user.
    """
    code = error.code()
    error_class = _ERROR_CLASSES.get(code, ServiceFailed)
    user_message, retry_after = _read_details(error)
    if code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        retry_after = 0
    return error_class(f"{route}: {code.name}", user_message, retry_after)


def _read_details(error: aio.AioRpcError) -> tuple[str, float]:
    """Give the text for the user and the seconds to wait; empty and 0 if not there."""
    user_message, retry_after = "", 0.0
    try:
        for key, value in error.trailing_metadata() or ():
            if key != _DETAILS_KEY or not isinstance(value, bytes):
                continue
            for detail in Status.FromString(value).details:
                if detail.TypeName() == LocalizedMessage.DESCRIPTOR.full_name:
                    message = LocalizedMessage.FromString(detail.value)
                    user_message = message.message.strip()
                elif detail.TypeName() == RetryInfo.DESCRIPTOR.full_name:
                    delay = RetryInfo.FromString(detail.value).retry_delay
                    retry_after = delay.seconds + delay.nanos / 1e9
    except DecodeError:
        pass  # a status that cannot be read says no more than its code
    return user_message, retry_after
