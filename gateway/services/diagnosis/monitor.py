"""Watches the services, and reports each change of their state once.

Two things are watched. The state of each channel says whether a target can be called,
before the first update comes and without one; if it cannot, a probe finds out why. The
failures of calls say what a service that was reached does wrong.

Concurrency: `run` is one background task. It reads the state of all channels once per
second, which costs microseconds, and probes only failing targets, at most every
`PROBE_INTERVAL_SECONDS` each. Successful calls do nothing here.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

import grpc

from gateway.services.channels import ServiceChannels
from gateway.services.diagnosis.call_failures import CallFailures
from gateway.services.diagnosis.prober import ServiceProber
from gateway.services.diagnosis.problems import ServiceProblem
from gateway.services.routing.route_table import RouteTable

logger = logging.getLogger(__name__)

CHECK_INTERVAL_SECONDS = 1.0

PROBE_INTERVAL_SECONDS = 5.0
"""How often a probe looks whether the cause of a failure has changed."""


def list_rpc_services(table: RouteTable) -> dict[str, set[str]]:
    """Return the full names of the gRPC services with routes, by name in settings."""
    names: dict[str, set[str]] = {}
    for route in table.routes:
        full_name = route.method.rpartition(".")[0]
        names.setdefault(route.service, set()).add(full_name)
    return names


class ServiceMonitor:
    """The state of all services.

    Args:
        channels: the open channels.
        rpc_services: the full names of the gRPC services, by name in settings.
        uptime: returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        channels: ServiceChannels,
        rpc_services: Mapping[str, Collection[str]],
        uptime: Callable[[], float],
    ) -> None:
        self._channels = channels
        self._rpc_services = rpc_services
        self._uptime = uptime
        self._call_failures = CallFailures(uptime)
        self._problems: dict[str, ServiceProblem] = {}
        """What keeps the gateway from calling a service, by service."""
        self._probed_at: dict[str, float] = {}
        """The time of the latest probe, by failing service."""

    @property
    def problems(self) -> list[str]:
        """The problems of the services: a line for each, with what to do about it."""
        unreachable = [
            f"{service}: {problem.explanation}"
            for service, problem in sorted(self._problems.items())
        ]
        return unreachable + self._call_failures.describe()

    @property
    def up(self) -> Mapping[str, int]:
        """For each service, 0 if it is known that it cannot be called, otherwise 1."""
        return {
            service: int(service not in self._problems)
            for service in self._channels.targets
        }

    def record_failure(
        self, service: str, route_name: str, problem: ServiceProblem
    ) -> None:
        """Record that a call failed.

        Args:
            service: the service's name in settings.
            route_name: the route of the call.
            problem: why it failed. A service that cannot be reached is left to `run`.
        """
        # A turn that began with older routes may have called a service that is gone.
        if problem.is_of_call and service in self._channels.targets:
            self._call_failures.record(service, route_name, problem)

    def replace_services(self, rpc_services: Mapping[str, Collection[str]]) -> None:
        """Watch these services from now on; the channels have changed already.

        Args:
            rpc_services: as in the constructor.
        """
        self._rpc_services = rpc_services
        targets = self._channels.targets
        for findings in (self._problems, self._probed_at):
            for service in findings.keys() - targets.keys():
                del findings[service]
        self._call_failures.forget_services(targets)

    async def run(self) -> None:
        """Watch the services until this task is cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_INTERVAL_SECONDS)

    async def check(self) -> None:
        """Look at the state of all services once."""
        self._call_failures.forget_old()
        await asyncio.gather(*map(self._check_service, self._channels.targets))

    async def _check_service(self, service: str) -> None:
        if service not in self._channels.targets:
            return  # the services were replaced since this look began
        # gRPC connects on this request, so that problems are known before a call.
        state = self._channels[service].get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            if self._uptime() - self._probed_at.get(service, -1e9) >= (
                PROBE_INTERVAL_SECONDS
            ):
                await self._probe(service)
        elif state in {
            grpc.ChannelConnectivity.READY,
            grpc.ChannelConnectivity.IDLE,
        }:
            self._report_up(service)

    async def _probe(self, service: str) -> None:
        is_first = service not in self._probed_at
        prober = ServiceProber(self._channels.get_credentials(service))
        finding = await prober.probe(
            self._channels.targets[service], self._rpc_services.get(service, ())
        )
        if service not in self._channels.targets:
            return
        self._probed_at[service] = self._uptime()
        problem = finding.problem
        if problem is None:
            # The service has just started, and the channel is about to connect again;
            # unless that goes on.
            if is_first or service in self._problems:
                return
            problem = ServiceProblem.CONNECTION_FAILED
        if self._problems.get(service) is problem:
            return
        self._problems[service] = problem
        logger.warning(
            "service_down",
            extra={
                "service": service,
                "problem": problem,
                "reason": problem.explanation,
            },
        )

    def _report_up(self, service: str) -> None:
        self._probed_at.pop(service, None)
        if self._problems.pop(service, None):
            logger.warning("service_recovered", extra={"service": service})
