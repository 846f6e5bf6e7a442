"""Runs the rules against services.

The rules run one after the other, so that a failure belongs to one rule.
"""

import time
from collections.abc import AsyncIterator, Collection, Mapping

from msgspec import Struct

from gateway.conformance.known_failures import KnownFailure
from gateway.conformance.report import RuleResult, Verdict
from gateway.conformance.requests import RequestBuilder
from gateway.conformance.rule import Rule, Subject
from gateway.conformance.rules.health import HEALTH_RULES
from gateway.conformance.rules.repetitions import REPETITION_RULES
from gateway.conformance.rules.replies import REPLY_RULES
from gateway.conformance.rules.requests import ANSWERS, REQUEST_RULES
from gateway.conformance.service_client import open_client
from gateway.services.channels import ServiceChannels
from gateway.services.diagnosis.monitor import list_rpc_services
from gateway.services.diagnosis.prober import ServiceProber
from gateway.services.routing.route_table import RouteTable

ROUTE_RULES = (*REQUEST_RULES, *REPLY_RULES, *REPETITION_RULES)
ALL_RULES = (*HEALTH_RULES, ANSWERS, *ROUTE_RULES)
"""All rules, in the order in which they run."""


class ConformanceRun(Struct, frozen=True, kw_only=True):
    """A run of the rules against services.

    Attributes:
        table: the routes.
        channels: have the target and the credentials of each service to examine. They
            are not opened: the run opens its own.
        values: values for the request fields that routes read from commands and
            buttons, by field name.
        known_failures: the rules that are known to fail, which gives another verdict.
        seconds: the deadline of a call.
        stream_seconds: the deadline of a call with a streamed response.
    """

    table: RouteTable
    channels: ServiceChannels
    values: Mapping[str, str] = {}
    known_failures: Collection[KnownFailure] = ()
    seconds: float = 5.0
    stream_seconds: float = 60.0

    async def iter_results(self) -> AsyncIterator[RuleResult]:
        """Run all rules with all services and routes, and yield the result of each.

        If the rpc of a route does not answer, its other rules are skipped.
        """
        for service, target in sorted(self.channels.targets.items()):
            credentials = self.channels.get_credentials(service)
            async with open_client(
                target, credentials, self.seconds, self.stream_seconds
            ) as client:
                subjects = [
                    Subject(
                        route,
                        self.table,
                        client,
                        RequestBuilder(self.values),
                        target,
                        ServiceProber(credentials),
                        list_rpc_services(self.table)[service],
                    )
                    for route in self.table.routes
                    if route.service == service
                ]
                for rule in HEALTH_RULES:
                    yield await self._run(rule, subjects[0], service)
                for subject in subjects:
                    if not subject.route.serves_updates:
                        continue  # the rules are about requests for updates
                    async for result in self._run_of_route(subject):
                        yield result

    async def _run_of_route(self, subject: Subject) -> AsyncIterator[RuleResult]:
        route = subject.route
        answers = await self._run(ANSWERS, subject, subject.name)
        yield answers
        rules = [rule for rule in ROUTE_RULES if rule.applies(route)]
        for rule in rules:
            if answers.problems:
                yield RuleResult(
                    route.service, subject.name, rule.name, Verdict.SKIPPED
                )
            else:
                yield await self._run(rule, subject, subject.name)

    async def _run(self, rule: Rule, subject: Subject, name: str) -> RuleResult:
        started_at = time.monotonic()
        problems = await rule.check(subject)
        is_known = KnownFailure(rule.name, name) in self.known_failures
        if problems:
            verdict = Verdict.KNOWN if is_known else Verdict.FAILED
        else:
            verdict = Verdict.FIXED if is_known else Verdict.PASSED
        return RuleResult(
            subject.route.service,
            name,
            rule.name,
            verdict,
            problems,
            round(time.monotonic() - started_at, 3),
        )
