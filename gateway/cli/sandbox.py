"""`telegram-gateway sandbox`: the sandbox, and scenario tests that run in it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from gateway.cli.routes import load_route_table
from gateway.config.contracts import load_contract_settings
from gateway.config.settings import check_secret, check_token
from gateway.domain.errors import ConfigurationError
from gateway.sandbox.launcher import launch
from gateway.sandbox.launcher.chat_file import ChatFile
from gateway.sandbox.launcher.development import Development
from gateway.sandbox.launcher.gateway_bots import find_name_problems
from gateway.sandbox.launcher.own_services import (
    OwnService,
    add_targets,
    read_commands,
)
from gateway.sandbox.launcher.service_targets import read_targets
from gateway.sandbox.launcher.stack import Secrets
from gateway.sandbox.simulator.limits.flood_limits import LimitSettings


def run_sandbox(  # noqa: PLR0913 - one parameter per option
    port: int,
    *,
    ops_port: int,
    simulator_port: int,
    samples_port: int,
    host: str,
    own: Sequence[str],
    token: str | None,
    secret: str | None,
    limits: bool = False,
    bots: Sequence[str] = (),
    development: Development | None = None,
    keep: Path | None = None,
) -> int:
    """Run the sandbox until a signal stops it, and return the exit code.

    Args:
        port: the port of the gateway.
        ops_port: the port of the gateway's health and metrics.
        simulator_port: the port of the simulated Bot API with its page.
        samples_port: the port of the sample services.
        host: the loopback address of all these ports.
        own: addresses of running services, such as "conversation=localhost:50051".
        token: the bot token; None for that of `keep`, or a random one.
        secret: the webhook secret; None for that of `keep`, or a random one.
        limits: whether the simulated Telegram enforces its limits of messages.
        bots: the usernames of several bots; empty for one bot.
        development: services to start and files to watch; None for none.
        keep: the file that keeps the chats over a restart; None to keep none.

    Raises:
        ConfigurationError: an option is invalid.
    """
    if problems := find_name_problems(bots):
        raise ConfigurationError(problems)
    services = load_route_table().service_names
    development = development or Development()
    chats = ChatFile(keep) if keep else None
    if chats:
        token = token or chats.token
        secret = secret or chats.webhook_secret
    run = launch.run_sandbox(
        services,
        port,
        ops_port=ops_port,
        simulator_port=simulator_port,
        samples_port=samples_port,
        host=host,
        targets=add_targets(development.commands, read_targets(own, services)),
        secrets=_build_secrets(token, secret),
        settings=_get_contract_settings(),
        limits=LimitSettings() if limits else None,
        bots=bots,
        development=development,
        chats=chats,
    )
    return asyncio.run(run)


def play_scenarios(
    files: Sequence[Path],
    own: Sequence[str],
    given_commands: Sequence[str],
    json: Path | None,
    junit: Path | None,
) -> int:
    """Play scenarios in a sandbox, and write the reports.

    Args:
        files: the files of the scenarios.
        own: addresses of running services, such as "billing=localhost:50051".
        given_commands: commands that start services, such as "billing=node a.js".
        json: the file for a report as JSON; None to write none.
        junit: the file for a report as XML for JUnit; None to write none.

    Returns:
        The exit code: 0 if all steps succeeded, 1 if one failed.

    Raises:
        ConfigurationError: a file or an option is invalid; it has all problems.
    """
    from gateway.sandbox.scenarios.parser import read_scenarios
    from gateway.sandbox.scenarios.runner import run_scenarios

    problems: list[str] = []
    scenarios = []
    targets: dict[str, str] = {}
    commands: list[OwnService] = []
    services = load_route_table().service_names
    try:
        scenarios = read_scenarios(files)
    except ConfigurationError as error:
        problems += error.problems
    try:
        targets = read_targets(own, services)
    except ConfigurationError as error:
        problems += error.problems
    try:
        commands = read_commands(given_commands, services)
    except ConfigurationError as error:
        problems += error.problems
    for option, path in (("--json", json), ("--junit", junit)):
        if path and not path.absolute().parent.is_dir():
            problems.append(f"{option} {path}: there is no such directory")
    if problems:
        raise ConfigurationError(problems)
    played = run_scenarios(
        scenarios,
        services,
        add_targets(commands, targets),
        settings=_get_contract_settings(),
        commands=commands,
        json=json,
        junit=junit,
    )
    return asyncio.run(played)


def _get_contract_settings() -> dict[str, str]:
    """Return the setting for the contracts, which the gateway does not inherit."""
    return {"CONTRACTS": load_contract_settings().contracts}


def _build_secrets(token: str | None, secret: str | None) -> Secrets:
    """Return the given secrets, and random ones in place of missing ones.

    Raises:
        ConfigurationError: a given one is invalid.
    """
    problems = []
    for option, value, check in (
        ("--token", token, check_token),
        ("--secret", secret, check_secret),
    ):
        try:
            if value:
                check(SecretStr(value))
        except ValueError as error:
            problems.append(f"{option}: {error}")
    if problems:
        raise ConfigurationError(problems)
    generated = Secrets()
    return Secrets(token=token or generated.token, webhook=secret or generated.webhook)
