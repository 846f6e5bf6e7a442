"""Converts the error of a failed gRPC call to a ServiceError of the domain."""

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
from gateway.services.diagnosis.problems import ServiceProblem

_DETAILS_KEY = "grpc-status-details-bin"
"""The trailer in which a service sends a google.rpc.Status (AIP-193)."""

_ERROR_CLASSES = {
    grpc.StatusCode.DEADLINE_EXCEEDED: ServiceTimeout,
    grpc.StatusCode.UNAVAILABLE: ServiceUnavailable,
    # Cancelled by the service: if the gateway cancels a call, it raises CancelledError.
    grpc.StatusCode.CANCELLED: ServiceUnavailable,
}

_SAME_AS_STATUS = {
    ServiceProblem.UNIMPLEMENTED,
    ServiceProblem.DEADLINE_EXCEEDED,
    ServiceProblem.SAYS_UNAVAILABLE,
}
"""Problems that say no more than the status of the call."""


def to_service_error(
    error: aio.AioRpcError, route: str, problem: ServiceProblem | None = None
) -> ServiceError:
    """Convert a gRPC error to a `ServiceError`, without what may quote the user.

    A timeout becomes ServiceTimeout; UNAVAILABLE and CANCELLED become
    ServiceUnavailable; any other status becomes ServiceFailed. The text that the
    service wrote for the user is kept, and after RESOURCE_EXHAUSTED also the seconds to
    wait before a retry.

    Args:
        error: the error.
        route: the name of the route that was called.
        problem: what `recognize_problem` returned for the error. It is named in the
            message if it says more than the status.
    """
    code = error.code()
    error_class = _ERROR_CLASSES.get(code, ServiceFailed)
    user_message, retry_after = _read_details(error)
    if code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        retry_after = None
    says_more = problem is not None and problem not in _SAME_AS_STATUS
    reason = f"{code.name} ({problem})" if says_more else code.name
    return error_class(f"{route}: {reason}", user_message, retry_after)


def _read_details(error: aio.AioRpcError) -> tuple[str | None, float | None]:
    """Return the text for the user and the seconds to wait, as far as there are any."""
    user_message, retry_after = None, None
    try:
        for key, value in error.trailing_metadata() or ():
            if key != _DETAILS_KEY or not isinstance(value, bytes):
                continue
            for detail in Status.FromString(value).details:
                if detail.TypeName() == LocalizedMessage.DESCRIPTOR.full_name:
                    message = LocalizedMessage.FromString(detail.value)
                    user_message = message.message.strip() or None
                elif detail.TypeName() == RetryInfo.DESCRIPTOR.full_name:
                    delay = RetryInfo.FromString(detail.value).retry_delay
                    retry_after = delay.seconds + delay.nanos / 1e9
    except DecodeError:
        pass  # without readable details, only the code is used
    return user_message, retry_after
