"""`telegram-gateway bots`: list, add, change and remove the bots of BOTS_FILE.

A command makes its changes in files and at Telegram in an order that loses no update,
and prints each step. The gateways notice the changed files by themselves.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gateway.bots.editor import TAKE_UP_SECONDS, BotEditor
from gateway.cli.routes import load_route_table
from gateway.config.bots import BotConfig, load_bots_file
from gateway.config.settings import load_settings
from gateway.domain.errors import ConfigurationError


def open_editor(take_up_seconds: float = TAKE_UP_SECONDS) -> BotEditor:
    """Return an editor of the BOTS_FILE that the settings name. It prints each step.

    Args:
        take_up_seconds: how many seconds to wait, before a webhook is set, until the
            gateways have applied the changed files.

    Raises:
        ConfigurationError: a setting or a contract is invalid, or BOTS_FILE is not set.
    """
    return BotEditor(
        load_settings(),
        load_route_table(),
        take_up_seconds=take_up_seconds,
        report=click.echo,
    )


def print_bots() -> None:
    """Print the bots of BOTS_FILE, without tokens and secrets.

    Raises:
        ConfigurationError: BOTS_FILE is not set or invalid.
    """
    table = load_route_table()
    bots = load_bots_file(load_settings(), table.service_names, table.route_names).bots
    rows = [
        ("NAME", "ID", "UPDATES", "STATE"),
        *(_build_row(it) for it in bots.values()),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[3]]))


def read_token(file: str) -> str:
    """Read a token from a file without checking it.

    Args:
        file: the path of the file; "-" for the first line of standard input.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    if file == "-":
        return sys.stdin.readline().strip()
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError([f"--token-file {file}: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"--token-file {file}: is not UTF-8"]) from None


def build_fields(
    *,
    token_file: str,
    webhook_secret_file: str | None,
    poll: bool,
    services: Sequence[str],
) -> dict[str, Any]:
    """Return the fields of an entry of BOTS_FILE for the options of `bots add`.

    Args:
        token_file: the file with the token.
        webhook_secret_file: the file with the webhook secret, or None.
        poll: whether the updates are polled; otherwise they arrive at the webhook.
        services: the services that the bot offers; empty for all.

    Raises:
        ConfigurationError: neither the file for the secret nor `--poll` was given.
    """
    fields: dict[str, Any] = {"token_file": token_file}
    if poll:
        fields["updates"] = "poll"
    elif webhook_secret_file is None:
        raise ConfigurationError(["--webhook-secret-file: is needed without --poll"])
    if webhook_secret_file is not None:
        fields["webhook_secret_file"] = webhook_secret_file
    if services:
        fields["services"] = list(services)
    return fields


def _build_row(bot: BotConfig) -> tuple[str, str, str, str]:
    state = "paused" if bot.is_paused else "running"
    return bot.name, str(bot.id), bot.updates, state
