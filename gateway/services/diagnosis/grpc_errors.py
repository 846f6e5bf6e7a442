"""Finds out from the error of a gRPC call what is wrong with the service.

gRPC has one status for everything that keeps a call from its service, UNAVAILABLE. The
reason is only in the text of the error, which is compared here and never passed on: a
service can write that text too, and may quote a user in it.
"""

import re
from collections.abc import Sequence

import grpc
from grpc import aio

from gateway.services.diagnosis.problems import ServiceProblem

_NO_CONNECTION = re.compile(
    "connections to all backends failing|failed to connect to all addresses"
    "|errors resolving "
)
"""How the texts begin that gRPC writes about a target that it is not connected to."""

_BROKEN_CONNECTION = re.compile(
    r"^(Socket closed|Stream removed|recvmsg:|sendmsg:)|GOAWAY|keepalive|Broken pipe"
    r"|[Tt]ransport closed|reset by peer"
)
"""What gRPC writes about a connection that broke during a call."""

_BY_TEXT: Sequence[tuple[str, ServiceProblem]] = (
    ("errors resolving ", ServiceProblem.NAME_NOT_FOUND),
    ("health check call failed", ServiceProblem.HEALTH_CHECK_FAILED),
    ("backend unhealthy", ServiceProblem.NOT_SERVING),
    ("Hostname Verification", ServiceProblem.CERTIFICATE_FOR_OTHER_HOST),
    ("certificate has expired", ServiceProblem.CERTIFICATE_EXPIRED),
    ("certificate is not yet valid", ServiceProblem.CERTIFICATE_EXPIRED),
    ("CERTIFICATE_VERIFY_FAILED", ServiceProblem.CERTIFICATE_UNTRUSTED),
    ("WRONG_VERSION_NUMBER", ServiceProblem.TLS_NOT_SPOKEN),
    ("Secure read failed", ServiceProblem.CLIENT_CERTIFICATE_REFUSED),
    ("CERTIFICATE_REQUIRED", ServiceProblem.CLIENT_CERTIFICATE_REFUSED),
    ("handshake", ServiceProblem.TLS_FAILED),
    ("Failed parsing HTTP/2", ServiceProblem.NOT_GRPC),
    ("before receiving SETTINGS", ServiceProblem.NO_RESPONSE),
    ("Connection refused", ServiceProblem.CONNECTION_REFUSED),
    ("No such file or directory", ServiceProblem.CONNECTION_REFUSED),
    ("unreachable", ServiceProblem.UNREACHABLE),
    ("No route to host", ServiceProblem.UNREACHABLE),
    ("timed out", ServiceProblem.UNREACHABLE),
    ("Socket closed", ServiceProblem.CONNECTION_CLOSED),
    ("reset by peer", ServiceProblem.CONNECTION_CLOSED),
)
"""Parts of gRPC's texts. The first one that occurs decides."""

_REPLY_TOO_LARGE = "CLIENT: Received message larger than max"

_REQUEST_TOO_LARGE = re.compile(
    r"received message (after decompression )?larger than max"
    r"|message exceeds (the )?maximum (configured message )?size"
    r"|decoded message length too large",
    re.IGNORECASE,
)
"""What servers write in C++, Python, Node, Go, Java, .NET and Rust about a request that
is larger than their limit."""


def recognize_problem(error: aio.AioRpcError) -> ServiceProblem | None:
    """Return the problem of a service that made a call fail.

    Returns:
        The problem; None if the failure shows none: the service itself rejected this
        call, or the connection broke during the call and gRPC opens another one.
    """
    details = error.details() or ""
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return _recognize_unavailability(details)
        case grpc.StatusCode.UNIMPLEMENTED:
            return ServiceProblem.UNIMPLEMENTED
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServiceProblem.DEADLINE_EXCEEDED
        case grpc.StatusCode.RESOURCE_EXHAUSTED if _REPLY_TOO_LARGE in details:
            return ServiceProblem.REPLY_TOO_LARGE
        case grpc.StatusCode.RESOURCE_EXHAUSTED | grpc.StatusCode.OUT_OF_RANGE:
            if _REQUEST_TOO_LARGE.search(details):
                return ServiceProblem.REQUEST_TOO_LARGE
    return None


def _recognize_unavailability(details: str) -> ServiceProblem | None:
    if _NO_CONNECTION.match(details):
        found = (problem for text, problem in _BY_TEXT if text in details)
        return next(found, ServiceProblem.CONNECTION_FAILED)
    if _BROKEN_CONNECTION.search(details):
        return None
    return ServiceProblem.SAYS_UNAVAILABLE
