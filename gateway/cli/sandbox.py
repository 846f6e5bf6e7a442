"""`telegram-gateway sandbox`: a Telegram on one's desk, and tests that use it."""

import asyncio
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from gateway.domain.errors import ConfigurationError
from gateway.sandbox.launcher import launch
from gateway.sandbox.launcher.service_targets import read_targets
from gateway.sandbox.launcher.stack import Secrets
from gateway.services.routing.route_table import build_route_table, discover_services


def run_sandbox(
    port: int,
    *,
    ops_port: int,
    simulator_port: int,
    samples_port: int,
    host: str,
    own: Sequence[str],
    token: str | None,
    secret: str | None,
) -> int:
    """Run the sandbox; gives the exit code."""
    services = build_route_table(discover_services()).service_names
    run = launch.run_sandbox(
        services,
        port,
        ops_port=ops_port,
        simulator_port=simulator_port,
        samples_port=samples_port,
        host=host,
        targets=read_targets(own, services),
        secrets=_secrets(token, secret),
    )
    return asyncio.run(run)


def play_scenarios(
    files: Sequence[Path], own: Sequence[str], json: Path | None, junit: Path | None
) -> int:
    """Play scenarios; gives the exit code."""
    _require_yaml()
    from gateway.sandbox.scenarios.parser import read_scenarios
    from gateway.sandbox.scenarios.runner import run_scenarios

    faults: list[str] = []
    scenarios = []
    targets: dict[str, str] = {}
    services = build_route_table(discover_services()).service_names
    try:
        scenarios = read_scenarios(files)
    except ConfigurationError as error:
        faults += error.problems
    try:
        targets = read_targets(own, services)
    except ConfigurationError as error:
        faults += error.problems
    for option, path in (("--json", json), ("--junit", junit)):
        if path and not path.absolute().parent.is_dir():
            faults.append(f"{option} {path}: there is no such directory")
    if faults:
        raise ConfigurationError(faults)
    played = run_scenarios(scenarios, services, targets, json=json, junit=junit)
    return asyncio.run(played)


def _require_yaml() -> None:
    """Check that PyYAML is installed: an extra that only scenarios need.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        import_module("yaml")
    except ModuleNotFoundError:
        how = "pip install 'telegram-gateway[sandbox]'"
        fault = f"scenarios are YAML, and PyYAML is not installed: {how}"
        raise ConfigurationError([fault]) from None


def _secrets(token: str | None, secret: str | None) -> Secrets:
    """Take what was given, and make up the rest."""
    made_up = Secrets()
    return Secrets(token=token or made_up.token, webhook=secret or made_up.webhook)
