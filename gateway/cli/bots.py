"""`telegram-gateway bots`: list, add, change and remove the bots of BOTS_FILE.

A command changes files and Telegram in an order that loses no update, and prints each
step. The gateways take up the files by themselves.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr

from gateway.cli.routes import load_route_table
from gateway.cli.webhook import WebhookChange, build_webhook_url
from gateway.config import bots_editor
from gateway.config.bots import (
    PREVIOUS_SUFFIX,
    BotConfig,
    BotEntry,
    generate_webhook_secret,
    get_bot_id,
    load_bots_file,
    read_entries,
)
from gateway.config.settings import Settings, check_token, load_settings
from gateway.domain.errors import BotApiError, ConfigurationError
from gateway.services.routing.route_table import RouteTable
from gateway.telegram.bot_api.bot_settings import (
    delete_webhook,
    get_me,
    get_webhook_info,
)
from gateway.telegram.bot_api.client import BotApiClient, open_bot_api
from gateway.telegram.inbound.update_types import list_allowed_updates

TAKE_UP_SECONDS = 2.0
"""The time in which all gateways take up a change, on all machines that have it."""


class BotEditor:
    """Changes the bots of BOTS_FILE.

    Args:
        settings: the gateway's settings, with a BOTS_FILE.
        table: all routes.
        take_up_seconds: how long the gateways may take to take up a change.

    Raises:
        ConfigurationError: BOTS_FILE is not set.
    """

    def __init__(
        self,
        settings: Settings,
        table: RouteTable,
        take_up_seconds: float = TAKE_UP_SECONDS,
    ) -> None:
        if settings.bots_file is None:
            raise ConfigurationError(["BOTS_FILE: is not set"])
        self._path = settings.bots_file
        self._settings = settings
        self._table = table
        self._take_up_seconds = take_up_seconds

    async def add(self, name: str, fields: Mapping[str, Any]) -> None:
        """Add a bot, and set its webhook.

        Args:
            name: the name.
            fields: the fields of the entry. A file for the webhook secret is made if
                there is none.

        Raises:
            ConfigurationError: the entry is invalid; the file is as before.
            BotApiError: Telegram rejects the token or does not answer.
        """
        secret_file = fields.get("webhook_secret_file")
        if secret_file and not (path := self._resolve(secret_file)).exists():
            bots_editor.write_secret_file(path, generate_webhook_secret())
            click.echo(f"{name}: wrote a new webhook secret to {path}")
        bots_editor.add_entry(self._path, name, fields)
        try:
            bot = self._get_bot(name)
            async with self._open_api(bot.token) as api:
                username = await _check_bot(api, bot.token)
        except (ConfigurationError, BotApiError):
            bots_editor.remove_entry(self._path, name)
            raise
        click.echo(f"{name}: added @{username}, id {bot.id}")
        if bot.updates == "webhook":
            await self._set_webhook(bot)

    async def rotate_token(self, name: str, token: str) -> None:
        """Replace the token of a bot by another one of the same bot.

        Raises:
            ConfigurationError: the token is not one of this bot, or is not in a file.
            BotApiError: Telegram rejects the token or does not answer.
        """
        token = _check_token(token)
        bot, entry = self._get_bot(name), self._get_entry(name)
        if entry.token_file is None:
            raise ConfigurationError(
                [f"{name}: the token is in a variable, not in a file: change it there"]
            )
        if get_bot_id(token) != bot.id:
            raise ConfigurationError([f"{name}: the token is that of another bot"])
        async with self._open_api(token) as api:
            username = await _check_bot(api, token)
        path = self._resolve(entry.token_file)
        bots_editor.write_secret_file(path, token)
        bots_editor.touch(self._path)
        click.echo(f"{name}: wrote the new token of @{username} to {path}")
        if bot.updates == "webhook":
            async with self._open_api(token) as api:
                is_set = bool((await get_webhook_info(api)).url)
            if is_set:
                click.echo(f"{name}: the webhook is as before")
            else:
                await self._set_webhook(self._get_bot(name))

    async def rotate_secret(self, name: str) -> None:
        """Replace the webhook secret of a bot by a new one.

        The gateways accept both secrets before Telegram learns of the new one.

        Raises:
            ConfigurationError: the bot has no secret, or it is not in a file.
            BotApiError: Telegram did not take the new secret; the gateways accept both.
        """
        bot, entry = self._get_bot(name), self._get_entry(name)
        if bot.updates == "poll":
            raise ConfigurationError([f"{name}: is polled and has no secret"])
        if entry.webhook_secret_file is None:
            raise ConfigurationError(
                [f"{name}: the secret is in a variable, not in a file: change it there"]
            )
        path = self._resolve(entry.webhook_secret_file)
        previous = path.with_name(path.name + PREVIOUS_SUFFIX)
        bots_editor.write_secret_file(previous, bot.webhook_secrets[0])
        bots_editor.write_secret_file(path, generate_webhook_secret())
        bots_editor.touch(self._path)
        click.echo(f"{name}: wrote a new webhook secret to {path}")
        try:
            await self._set_webhook(self._get_bot(name))
        except BotApiError:
            click.echo(
                f"{name}: Telegram still uses the previous secret, which is accepted"
                f" for an hour: run `telegram-gateway webhook set --bot {name}`",
                err=True,
            )
            raise
        click.echo(
            f"{name}: the previous secret, in {previous}, is accepted for a minute"
            " after Telegram has used the new one, and for an hour at most"
        )

    def set_paused(self, name: str, *, is_paused: bool) -> None:
        """Pause or resume a bot.

        Raises:
            ConfigurationError: there is no such bot.
        """
        bots_editor.set_paused(self._path, name, is_paused=is_paused)
        click.echo(f"{name}: {'paused' if is_paused else 'resumed'}")

    async def remove(self, name: str) -> None:
        """Delete the webhook of a bot, and remove the bot.

        Telegram keeps the updates that arrive after this for 24 hours.

        Raises:
            ConfigurationError: there is no such bot.
            BotApiError: Telegram does not answer; the bot is as before.
        """
        bot = self._get_bot(name)
        if bot.updates == "webhook":
            async with self._open_api(bot.token) as api:
                await delete_webhook(api)
            click.echo(f"{name}: webhook deleted")
        bots_editor.remove_entry(self._path, name)
        click.echo(f"{name}: removed; its token and its secret are where they were")

    async def _set_webhook(self, bot: BotConfig) -> None:
        """Set the webhook of a bot after the gateways have taken up its secret."""
        if self._settings.webhook_url is None:
            click.echo(f"{bot.name}: WEBHOOK_URL is not set, so no webhook was set")
            return
        await asyncio.sleep(self._take_up_seconds)
        table = self._table.restrict(bot.services, bot.routes)
        change = WebhookChange(
            build_webhook_url(str(self._settings.webhook_url), bot),
            bot.webhook_secrets[0],
            list_allowed_updates(table.update_types),
            prefix=f"{bot.name}: ",
        )
        async with self._open_api(bot.token) as api:
            await change.make(api, force=False)

    def _get_bot(self, name: str) -> BotConfig:
        bots = load_bots_file(
            self._settings, self._table.service_names, self._table.route_names
        ).bots
        if name not in bots:
            raise ConfigurationError([f"{self._path.name}: there is no bot {name}"])
        return bots[name]

    def _get_entry(self, name: str) -> BotEntry:
        return read_entries(self._path, [])[name]

    def _resolve(self, file: str) -> Path:
        return self._path.parent / file

    def _open_api(self, token: str) -> AbstractAsyncContextManager[BotApiClient]:
        return open_bot_api(token, self._settings.api_url)


def open_editor(take_up_seconds: float = TAKE_UP_SECONDS) -> BotEditor:
    """Return the editor for the settings of the environment.

    Raises:
        ConfigurationError: a setting is invalid, or BOTS_FILE is not set.
    """
    return BotEditor(load_settings(), load_route_table(), take_up_seconds)


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
    """Read a token from a file, or from standard input if the file is `-`.

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
    """Return the fields of an entry for the options of `bots add`.

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


def _check_token(token: str) -> str:
    try:
        return check_token(SecretStr(token)).get_secret_value()
    except ValueError as error:
        raise ConfigurationError([f"--token-file: {error}"]) from None


async def _check_bot(api: BotApiClient, token: str) -> str:
    """Return the username of the bot with a token.

    Raises:
        ConfigurationError: it is another bot than the token says.
        BotApiError: Telegram rejects the token or does not answer.
    """
    bot_id, username = await get_me(api)
    if bot_id != get_bot_id(token):
        raise ConfigurationError([f"Telegram says that the token is of bot {bot_id}"])
    return username
