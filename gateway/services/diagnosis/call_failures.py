"""Remembers failed calls of services that were reached, and logs repeated failures."""

import logging
from collections.abc import Callable, Container

from msgspec import Struct

from gateway.services.diagnosis.problems import ServiceProblem

logger = logging.getLogger(__name__)

MEMORY_SECONDS = 60.0
"""A failure is forgotten if no other one of its kind follows within this time."""

_REPORTED_AFTER = {
    ServiceProblem.UNIMPLEMENTED: 1,
    ServiceProblem.REQUEST_TOO_LARGE: 1,
    ServiceProblem.REPLY_TOO_LARGE: 1,
}
_REPORTED_AFTER_DEFAULT = 3
"""The number of failures after which a problem is reported. A single call may be slow,
or unlucky in a restart; the log line of its update says so."""


class _Repetitions(Struct):
    """Failures of one kind.

    Attributes:
        count: their number.
        latest_at: the time of the latest one.
    """

    count: int
    latest_at: float


class CallFailures:
    """The recent failures of calls, counted by service, route and problem.

    Args:
        uptime: returns the seconds of a monotonic clock.
    """

    def __init__(self, uptime: Callable[[], float]) -> None:
        self._uptime = uptime
        self._recent: dict[tuple[str, str, ServiceProblem], _Repetitions] = {}

    def record(self, service: str, route_name: str, problem: ServiceProblem) -> None:
        """Count a failed call, and log it if such calls have now failed often enough.

        A missing rpc or a message that is too large is logged the first time,
        everything else the third time without a minute's pause between two failures.
        """
        self.forget_old()
        key = service, route_name, problem
        repetitions = self._recent.setdefault(key, _Repetitions(0, 0.0))
        repetitions.count += 1
        repetitions.latest_at = self._uptime()
        if repetitions.count == _get_threshold(problem):
            logger.warning(
                "service_calls_failing",
                extra={
                    "service": service,
                    "route": route_name,
                    "problem": problem,
                    "reason": problem.explanation,
                },
            )

    def forget_old(self) -> None:
        """Forget failures that were not repeated for a minute.

        If they had been logged, the recovery is logged as well.
        """
        latest = self._uptime() - MEMORY_SECONDS
        old = [key for key, it in self._recent.items() if it.latest_at <= latest]
        for key in old:
            service, route_name, problem = key
            if self._recent.pop(key).count >= _get_threshold(problem):
                logger.warning(
                    "service_calls_recovered",
                    extra={
                        "service": service,
                        "route": route_name,
                        "problem": problem,
                    },
                )

    def forget_services(self, kept: Container[str]) -> None:
        """Forget the failures of all services that are not in `kept`; log nothing."""
        self._recent = {key: it for key, it in self._recent.items() if key[0] in kept}

    def describe(self) -> list[str]:
        """Forget old failures, and return a line for each problem that still lasts."""
        self.forget_old()
        return [
            f"{service}: {problem.explanation} ({route_name})"
            for (service, route_name, problem), it in sorted(self._recent.items())
            if it.count >= _get_threshold(problem)
        ]


def _get_threshold(problem: ServiceProblem) -> int:
    return _REPORTED_AFTER.get(problem, _REPORTED_AFTER_DEFAULT)
