"""Runs scenario files against services: a team's end-to-end tests for its bot.

Concurrency: one task starts the sandbox, plays the scenarios one after the other in a
child task, and stops the sandbox. A process that ends by itself, or a signal, cancels
the child task.
"""

import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from gateway.background import BackgroundTasks
from gateway.sandbox.launcher.development import Development
from gateway.sandbox.launcher.own_services import OwnService
from gateway.sandbox.launcher.service_targets import free_ports, resolve_targets
from gateway.sandbox.launcher.stack import Ports, run_stack
from gateway.sandbox.launcher.subprocesses import (
    ProcessExited,
    StopRequested,
    Subprocesses,
)
from gateway.sandbox.samples.delivery_client import DeliveryClient
from gateway.sandbox.scenarios.player import Report, new_ids, play
from gateway.sandbox.scenarios.report import as_json, as_junit, as_lines, summary
from gateway.sandbox.scenarios.scenario import Scenario
from gateway.sandbox.server import Simulator
from gateway.stop_signals import receive_stop_signals

_STANDARD_ERROR = 2
"""Output of the subprocesses: standard output is only for the report."""
_MAX_USERS = 100_000


async def run_scenarios(
    scenarios: Sequence[Scenario],
    services: Collection[str],
    targets: Mapping[str, str],
    *,
    settings: Mapping[str, str] | None = None,
    commands: Sequence[OwnService] = (),
    json: Path | None = None,
    junit: Path | None = None,
) -> int:
    """Start a sandbox on free ports, play scenarios, print reports, and stop it.

    Args:
        scenarios: the scenarios to play.
        services: the names of all routed services, as in their settings.
        targets: addresses of services that replace samples, by service name.
        settings: further settings of the gateway; None for none.
        commands: the developer's own services to start.
        json: where to write a JSON report; None for nowhere.
        junit: where to write a JUnit report; None for nowhere.

    Returns:
        The exit code: 0 if all scenarios succeeded, 1 if a scenario failed, if a
        process of the sandbox ended or did not start, or if a report cannot be written,
        130 after a signal.
    """
    began = time.monotonic()
    children = Subprocesses(_STANDARD_ERROR)
    gateway, ops, simulator, samples, delivery = free_ports(5)
    ports = Ports(
        gateway=gateway,
        ops=ops,
        simulator=simulator,
        samples=samples,
        delivery=delivery,
    )
    async with (
        BackgroundTasks() as background,
        receive_stop_signals(background, lambda _: children.stop()),
    ):
        try:
            async with run_stack(
                children,
                ports,
                resolve_targets(services, samples, targets),
                settings={"LOG_LEVEL": "ERROR", **(settings or {})},
                max_users=_MAX_USERS,
                bots=_list_bots(scenarios),
                development=Development(commands=commands, wait_for_services=True),
            ) as environment:
                reports = await children.run_during(
                    _play_all(scenarios, environment, ports)
                )
        except StopRequested:
            sys.stderr.write("stopped by a signal\n")
            return 130
        except ProcessExited as ended:
            sys.stderr.write(f"the sandbox stopped: {ended}\n")
            return 1
    seconds = time.monotonic() - began
    _print(summary(reports, seconds))
    written = _write(json, as_json, reports, seconds)
    written &= _write(junit, as_junit, reports, seconds)
    return 0 if written and not any(report.failed for report in reports) else 1


def _list_bots(scenarios: Sequence[Scenario]) -> list[str]:
    """Return the usernames of all bots, each once."""
    return list(dict.fromkeys(bot for each in scenarios for bot in each.bots))


async def _play_all(
    scenarios: Sequence[Scenario], simulator: Simulator, ports: Ports
) -> list[Report]:
    ids = new_ids()
    reports = []
    deliveries = DeliveryClient(ports.delivery_target)
    try:
        for scenario in scenarios:
            report = await play(scenario, simulator, ids, deliveries)
            _print("\n".join(as_lines(report)) + "\n")
            reports.append(report)
    finally:
        await deliveries.close()
    return reports


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _write(
    path: Path | None,
    show: Callable[[Sequence[Report], float], bytes],
    reports: Sequence[Report],
    seconds: float,
) -> bool:
    """Write a report if it has a path, and return False if that fails."""
    if path:
        try:
            path.write_bytes(show(reports, seconds))
        except OSError as error:
            sys.stderr.write(f"{path}: {error.strerror}\n")
            return False
    return True
