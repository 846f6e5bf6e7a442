"""Watches the services, and logs each change of their state once.

Two things are watched. The state of each channel says whether a target can be called,
also before the first update comes; if it cannot, a probe (a connection of its own)
finds out why. The failures of calls say what a service that was reached does wrong.

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
    """Return the gRPC services that have routes.

    Returns:
        By the service's name in settings, the full names of its gRPC services.
    """
    names: dict[str, set[str]] = {}
    for route in table.routes:
        full_name = route.method.rpartition(".")[0]
        names.setdefault(route.service, set()).add(full_name)
    return names


class ServiceMonitor:
    """Finds out and remembers which services cannot be called, or fail, and why.

    Args:
        channels: the open channels.
        rpc_services: by the service's name in settings, the full names of its gRPC
            services; a probe asks for their health.
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
        """The problems of the services: a line for each, with what to do about it.

        Failures of calls that were not repeated for a minute are forgotten first.
        """
        unreachable = [
            f"{service}: {problem.explanation}"
            for service, problem in sorted(self._problems.items())
        ]
        return unreachable + self._call_failures.describe()

    @property
    def up(self) -> Mapping[str, int]:
        """By service, 0 if the latest probe found it cannot be called, otherwise 1.

        A service that was not probed yet has 1.
        """
        return {
            service: int(service not in self._problems)
            for service in self._channels.targets
        }

    def record_failure(
        self, service: str, route_name: str, problem: ServiceProblem
    ) -> None:
        """Record that a call failed, if the service was reached.

        A problem of the connection is ignored here: `run` watches the connections. So
        is a service that the gateway does not serve any more.

        Args:
            service: the service's name in settings.
            route_name: the route of the call.
            problem: why the call failed.
        """
        # A turn that began with older routes may have called a service that is gone.
        if problem.is_of_call and service in self._channels.targets:
            self._call_failures.record(service, route_name, problem)

    def replace_services(self, rpc_services: Mapping[str, Collection[str]]) -> None:
        """Watch other services after `ServiceChannels.replace`; forget removed ones.

        Args:
            rpc_services: as in the constructor, of the new services.
        """
        self._rpc_services = rpc_services
        targets = self._channels.targets
        for findings in (self._problems, self._probed_at):
            for service in findings.keys() - targets.keys():
                del findings[service]
        self._call_failures.forget_services(targets)

    async def run(self) -> None:
        """Check the services every second, until this task is cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_INTERVAL_SECONDS)

    async def check(self) -> None:
        """Check the channels of all services once; probe failing ones if that is due.

        A channel that is not connected starts to connect. Changes are logged.
        """
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
