"""Rules about the requests that a service has to accept."""

from collections.abc import Sequence

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import LocalizedMessage, RetryInfo
from google.rpc.status_pb2 import Status

from gateway.conformance.rule import Rule, Subject, find_breakdown, has_message

_LONGEST_TEXT = "x" * 4_096
"""4,096 characters, the most that a message of Telegram has."""

_SCRIPTS = (
    "\U0001f9ea\U0001f469\u200d\U0001f52c שלום مرحبا 你好 \u202eabc\u202c e\u0301"
)
"""Emoji, one of several characters, right-to-left scripts, a change of the direction,
and a combining character."""

_DETAIL_TYPES = (LocalizedMessage, RetryInfo)


async def _check_answer(subject: Subject) -> Sequence[str]:
    result = await subject.call(subject.requests.build(subject.route))
    return find_breakdown(result)


async def _check_empty(subject: Subject) -> Sequence[str]:
    result = await subject.call(subject.requests.build_empty(subject.route))
    return find_breakdown(result)


async def _check_long_text(subject: Subject) -> Sequence[str]:
    request = subject.requests.build(subject.route, text=_LONGEST_TEXT)
    return find_breakdown(await subject.call(request))


async def _check_scripts(subject: Subject) -> Sequence[str]:
    request = subject.requests.build(subject.route, text=_SCRIPTS)
    return find_breakdown(await subject.call(request))


async def _check_newer(subject: Subject) -> Sequence[str]:
    result = await subject.call(subject.requests.build_newer(subject.route))
    return find_breakdown(result)


async def _check_details(subject: Subject) -> Sequence[str]:
    """Cause an error by an empty request, and read its details."""
    result = await subject.call(subject.requests.build_empty(subject.route))
    if result.details is None:
        return []
    try:
        status = Status.FromString(result.details)
        for detail in status.details:
            for detail_type in _DETAIL_TYPES:
                if detail.TypeName() == detail_type.DESCRIPTOR.full_name:
                    detail_type.FromString(detail.value)
    except DecodeError:
        return ["grpc-status-details-bin is not a google.rpc.Status"]
    if status.code != result.code.value[0]:
        return ["the code in grpc-status-details-bin is not that of the status"]
    return []


ANSWERS = Rule(
    "answers", "The rpc exists, and answers or refuses a valid request.", _check_answer
)
REQUEST_RULES = (
    Rule(
        "accepts_empty_fields",
        "A request of which only the request id is set is answered or refused.",
        _check_empty,
    ),
    Rule(
        "accepts_long_texts",
        "A text of 4,096 characters is answered or refused.",
        _check_long_text,
        has_message,
    ),
    Rule(
        "accepts_all_scripts",
        "Emoji and right-to-left scripts are answered or refused.",
        _check_scripts,
        has_message,
    ),
    Rule(
        "accepts_newer_requests",
        "Unknown fields and values of a newer gateway are answered or refused.",
        _check_newer,
    ),
    Rule(
        "describes_errors",
        "The details of an error are a google.rpc.Status with the same code.",
        _check_details,
    ),
)
