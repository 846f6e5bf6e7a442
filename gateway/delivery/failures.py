"""The failures of rpcs, with their details as google.rpc messages."""

from collections.abc import Iterable

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from msgspec import Struct

_MAX_VIOLATIONS = 100
"""Number of reported violations. gRPC limits the size of the details to 8 KiB."""

_MAX_DETAILS_BYTES = 4096


class Violation(Struct, frozen=True):
    """A wrong field of a request.

    Attributes:
        field: the path of the field, such as "messages[0].text".
        description: what is wrong, without the value.
    """

    field: str
    description: str


class RpcFailure(Exception):
    """An rpc fails with this status, which the caller gets.

    Attributes:
        code: the status code.
        message: the status message, for people. It never contains a text, name, token
            or secret.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, details: Message | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self._details = details

    def build_trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """Return the gRPC trailers with the details; empty if there are none."""
        if self._details is None:
            return ()
        packed = Any()
        packed.Pack(self._details)
        number, _ = self.code.value
        status = Status(code=number, message=self.message, details=[packed])
        return (("grpc-status-details-bin", status.SerializeToString()),)


def build_invalid_argument(violations: Iterable[Violation]) -> RpcFailure:
    """Return the failure of a request with wrong fields.

    Args:
        violations: at least one. The message has the first, the details have all, or
            as many as fit.
    """
    bad_request = BadRequest()
    found = list(violations)
    for violation in found[:_MAX_VIOLATIONS]:
        bad_request.field_violations.add(
            field=violation.field, description=violation.description
        )
        if bad_request.ByteSize() > _MAX_DETAILS_BYTES:
            break
    first = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return RpcFailure(
        grpc.StatusCode.INVALID_ARGUMENT,
        f"{first.field}: {first.description}{more}",
        bad_request,
    )


def build_resource_exhausted(message: str, retry_seconds: float) -> RpcFailure:
    """Return the failure of a request that the caller may repeat later.

    Args:
        message: the status message.
        retry_seconds: the time after which to repeat it, which the details contain.
    """
    delay = Duration()
    delay.FromNanoseconds(int(retry_seconds * 1e9))
    return RpcFailure(
        grpc.StatusCode.RESOURCE_EXHAUSTED, message, RetryInfo(retry_delay=delay)
    )
