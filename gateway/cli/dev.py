"""`telegram-gateway dev`: a real bot, answered by a gateway on this machine."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import botgateway
import click

from gateway.cli.bot_api import run_with_api
from gateway.cli.routes import load_route_table
from gateway.cli.sandbox import run_sandbox
from gateway.config.bots import build_environment_bot
from gateway.config.contracts import load_contract_settings
from gateway.config.settings import Settings, load_service_targets, load_settings
from gateway.domain.errors import ConfigurationError
from gateway.sandbox.launcher.dev import run_dev
from gateway.sandbox.launcher.development import Development
from gateway.sandbox.launcher.own_services import add_targets, read_commands
from gateway.sandbox.launcher.service_targets import LOOPBACK, read_targets
from gateway.services.contracts.contract_set import BUILTIN
from gateway.telegram.bot_api.bot_settings import get_me

_TOKEN_MISSING = "TELEGRAM_BOT_TOKEN: is not set"  # noqa: S105 - a message
_LOOPBACK_OF = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - not listened on


def run(
    own: Sequence[str],
    commands: Sequence[str],
    *,
    page_port: int,
    samples_port: int,
    take_over: bool,
    watch: bool,
    keep: Path | None,
) -> int:
    """Run a gateway for the bot of TELEGRAM_BOT_TOKEN, or the sandbox without a token.

    It runs until a signal stops it.

    Args:
        own: addresses of running services, such as "conversation=localhost:50051".
        commands: commands that start services, such as "billing=python server.py".
        page_port: the port of the page, or of the simulated Bot API with its page.
        samples_port: the port of the sample services, which replace services without
            an address.
        take_over: whether to delete the bot's webhook, which prevents polling.
        watch: whether processes are started again when their files change.
        keep: the file with the chats of the simulated Telegram; None to keep none.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: a setting, an address or a command is invalid.
        BotApiError: the token is invalid, or Telegram does not answer.
    """
    names = load_route_table().service_names
    targets = load_service_targets(names) | read_targets(own, names)
    development = Development(
        commands=read_commands(commands, names),
        contracts=_find_contracts(),
        watch=watch,
    )
    try:
        settings = load_settings({"updates": "poll", "workers": 1})
    except ConfigurationError as error:
        if error.problems != (_TOKEN_MISSING,):
            raise
        click.echo("There is no TELEGRAM_BOT_TOKEN: Telegram is simulated.")
        return run_sandbox(
            8000,
            ops_port=9000,
            simulator_port=page_port,
            samples_port=samples_port,
            host=LOOPBACK,
            own=own,
            token=None,
            secret=None,
            development=development,
            keep=keep,
        )
    if keep:
        raise ConfigurationError(
            ["--keep: there is a TELEGRAM_BOT_TOKEN, and Telegram keeps the chats"]
        )
    targets = add_targets(development.commands, targets)
    needs_samples = len(targets) < len(names)
    for name in names:
        targets.setdefault(name, f"{LOOPBACK}:{samples_port}")
    _, username = run_with_api(settings, build_environment_bot(settings), get_me)
    return asyncio.run(
        run_dev(
            username,
            targets,
            page_port=page_port,
            samples_port=samples_port if needs_samples else None,
            operations_url=_find_operations(settings),
            arguments=["--take-over"] if take_over else [],
            development=development,
        )
    )


def _find_contracts() -> list[Path]:
    """Return the files and folders with the contracts that CONTRACTS names."""
    paths: list[Path] = []
    for source in load_contract_settings().contract_sources:
        if source == BUILTIN:
            paths += map(Path, botgateway.__path__)
        else:
            paths.append(Path(source))
    return paths


def _find_operations(settings: Settings) -> str:
    """Return where this machine reaches the gateway's health."""
    host = settings.operations_host
    host = _LOOPBACK_OF.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.ops_port}"
