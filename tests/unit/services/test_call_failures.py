"""Failures of calls become a problem once, and are forgotten after a minute."""

import logging

import pytest

from gateway.services.diagnosis.call_failures import MEMORY_SECONDS, CallFailures
from gateway.services.diagnosis.problems import ServiceProblem


class Failures:
    """The failures, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.failures = CallFailures(lambda: self.now)

    def record(self, problem: ServiceProblem, times: int = 1) -> None:
        """Record failures of one route."""
        for _ in range(times):
            self.failures.record("PROFILE", "/profile", problem)


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return level and name of the logged events."""
    return [(it.levelname, it.msg) for it in caplog.records]


@pytest.mark.parametrize(
    "problem",
    [
        ServiceProblem.UNIMPLEMENTED,
        ServiceProblem.REQUEST_TOO_LARGE,
        ServiceProblem.REPLY_TOO_LARGE,
    ],
)
def test_a_mistake_of_a_service_is_logged_once_at_its_first_call(
    problem: ServiceProblem, caplog: pytest.LogCaptureFixture
) -> None:
    failures = Failures()
    failures.record(problem, times=100)
    assert events(caplog) == [("WARNING", "service_calls_failing")]
    (record,) = caplog.records
    assert vars(record)["service"] == "PROFILE"
    assert vars(record)["route"] == "/profile"
    assert vars(record)["problem"] == problem
    assert vars(record)["reason"] == problem.explanation
    assert failures.failures.describe() == [
        f"PROFILE: {problem.explanation} (/profile)"
    ]


@pytest.mark.parametrize(
    "problem", [ServiceProblem.DEADLINE_EXCEEDED, ServiceProblem.SAYS_UNAVAILABLE]
)
def test_what_may_happen_to_one_call_is_a_problem_if_it_repeats(
    problem: ServiceProblem, caplog: pytest.LogCaptureFixture
) -> None:
    failures = Failures()
    failures.record(problem, times=2)
    assert failures.failures.describe() == []
    assert events(caplog) == []
    failures.record(problem)
    assert len(failures.failures.describe()) == 1
    assert events(caplog) == [("WARNING", "service_calls_failing")]


def test_a_problem_ends_a_minute_after_its_last_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    failures = Failures()
    failures.record(ServiceProblem.UNIMPLEMENTED)
    failures.now += MEMORY_SECONDS - 1
    failures.record(ServiceProblem.UNIMPLEMENTED)
    failures.now += MEMORY_SECONDS - 1
    assert len(failures.failures.describe()) == 1
    failures.now += 1
    failures.failures.forget_old()
    assert failures.failures.describe() == []
    assert [name for _, name in events(caplog)] == [
        "service_calls_failing",
        "service_calls_recovered",
    ]
    failures.record(ServiceProblem.UNIMPLEMENTED)
    assert len(events(caplog)) == 3


def test_rare_failures_are_no_problem(caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures()
    for _ in range(10):
        failures.record(ServiceProblem.DEADLINE_EXCEEDED)
        failures.now += MEMORY_SECONDS
    assert failures.failures.describe() == []
    assert events(caplog) == []


def test_routes_and_problems_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    failures = CallFailures(lambda: 0.0)
    for route in "/profile", "/start":
        failures.record("PROFILE", route, ServiceProblem.UNIMPLEMENTED)
    failures.record("PROFILE", "/start", ServiceProblem.REPLY_TOO_LARGE)
    assert len(failures.describe()) == len(caplog.records) == 3
