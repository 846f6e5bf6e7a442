"""Checks the requests of the rpc Call."""

from collections.abc import Iterator
from typing import Any

from botgateway.delivery.v1.delivery_service_pb2 import CallRequest
from msgspec import MsgspecError, json

from gateway.delivery.failures import Violation

MAX_PARAMETERS_BYTES = 64 * 2**10


def check_call(request: CallRequest) -> Iterator[Violation]:
    """Yield a violation for a wrong method or wrong parameters of a Call request.

    Whether the method is allowed is not checked here.
    """
    if not request.method:
        yield Violation("method", "is empty")
    problem = _find_parameters_problem(request.parameters_json)
    if problem is not None:
        yield Violation("parameters_json", problem)


def _find_parameters_problem(text: str) -> str | None:
    if not text:
        return None
    if len(text.encode()) > MAX_PARAMETERS_BYTES:
        return f"has more than {MAX_PARAMETERS_BYTES} bytes"
    try:
        json.decode(text, type=dict[str, Any])
    except (MsgspecError, RecursionError):
        return "is not a JSON object"
    return None
