"""Rules about repeated, cancelled and simultaneous calls."""

import asyncio
from collections.abc import Sequence

import grpc

from gateway.conformance.rule import Rule, Subject, has_message
from gateway.conformance.service_client import CallResult

_SIMULTANEOUS_CALLS = 4
_CANCELLED_CALLS = 50
_USERS = 20


def _get_content(result: CallResult) -> object:
    """Return what a user gets, however it was cut into pieces."""
    return result.code, result.text, str(result.result)


async def _check_repetition(subject: Subject) -> Sequence[str]:
    request = subject.requests.build(subject.route)
    first = await subject.call(request)
    second = await subject.call(request)
    if _get_content(first) != _get_content(second):
        return ["the same request id got another answer the second time"]
    return []


async def _check_simultaneous_repetition(subject: Subject) -> Sequence[str]:
    request = subject.requests.build(subject.route)
    results = await asyncio.gather(
        *(subject.call(request) for _ in range(_SIMULTANEOUS_CALLS))
    )
    if len({_get_content(result) for result in results}) > 1:
        return [f"{_SIMULTANEOUS_CALLS} calls with one request id got several answers"]
    return []


async def _check_cancellation(subject: Subject) -> Sequence[str]:
    await asyncio.gather(
        *(_cancel_one(subject, user) for user in range(_CANCELLED_CALLS))
    )
    result = await subject.call(subject.requests.build(subject.route))
    if result.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return [f"after {_CANCELLED_CALLS} cancelled calls there is no answer in time"]
    return []


async def _cancel_one(subject: Subject, user: int) -> None:
    request = subject.requests.build(subject.route, user=user)
    await subject.client.cancel_after_start(
        subject.route, request.content, request.request_id
    )


async def _check_users(subject: Subject) -> Sequence[str]:
    """Call for several users at once, each with a text that no other one has."""
    markers = [f"marker{subject.requests.run}x{user:03}x" for user in range(_USERS)]
    results = await asyncio.gather(
        *(
            subject.call(subject.requests.build(subject.route, user=user, text=marker))
            for user, marker in enumerate(markers)
        )
    )
    for own, result in zip(markers, results, strict=True):
        content = f"{result.text} {result.result}"
        if any(marker in content for marker in markers if marker != own):
            return ["a user got the text of another user"]
    return []


async def _check_session(subject: Subject) -> Sequence[str]:
    first = await subject.call(subject.requests.build(subject.route))
    second = await subject.call(subject.requests.build(subject.route))
    if first.is_ok and second.is_ok and first.result != second.result:
        return ["the same user got another internal user id the second time"]
    return []


REPETITION_RULES = (
    Rule(
        "repeats_answers",
        "A request with the same id gets the same answer again.",
        _check_repetition,
    ),
    Rule(
        "repeats_simultaneous_answers",
        "Requests with the same id at the same time get the same answer.",
        _check_simultaneous_repetition,
    ),
    Rule(
        "survives_cancellations",
        f"After {_CANCELLED_CALLS} cancelled calls the next one is answered in time.",
        _check_cancellation,
    ),
    Rule(
        "separates_users",
        "No user gets the text of another user who writes at the same time.",
        _check_users,
        has_message,
    ),
    Rule(
        "keeps_sessions",
        "A user has the same internal user id in every request.",
        _check_session,
        lambda route: route.trigger.kind == "session",
    ),
)
