"""Changes BOTS_FILE, its tokens and secrets, and the webhooks of the bots.

Each change is made in files and at Telegram in an order that loses no update. The
running gateways notice the changed files by themselves and apply them.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from gateway.bots.offered_updates import list_offered_updates
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
from gateway.config.settings import Settings, check_token
from gateway.domain.errors import BotApiError, ConfigurationError
from gateway.services.routing.route_table import RouteTable
from gateway.telegram.bot_api.bot_settings import (
    delete_webhook,
    get_me,
    get_webhook_info,
)
from gateway.telegram.bot_api.client import BotApiClient, open_bot_api
from gateway.telegram.bot_api.managed_bots import replace_managed_bot_token
from gateway.telegram.bot_api.webhook_change import WebhookChange

UNCONFIRMED_SUFFIX = ".unconfirmed"
"""The suffix of an empty file that exists from the writing of a new webhook secret
until Telegram uses it."""

TAKE_UP_SECONDS = 2.0
"""How many seconds after a change of the files all gateways have applied it, on all
machines that have the changed files."""


class BotEditor:
    """Changes the bots of BOTS_FILE.

    Args:
        settings: the gateway's settings, with a BOTS_FILE.
        table: all routes. A webhook is set for the types of updates that they need.
        take_up_seconds: how many seconds to wait, before a webhook is set, until the
            gateways have applied the changed files.
        report: called with a line of text for each step.

    Raises:
        ConfigurationError: BOTS_FILE is not set.
    """

    def __init__(
        self,
        settings: Settings,
        table: RouteTable,
        *,
        take_up_seconds: float = TAKE_UP_SECONDS,
        report: Callable[[str], object],
    ) -> None:
        self._report = report
        if settings.bots_file is None:
            raise ConfigurationError(["BOTS_FILE: is not set"])
        self._path = settings.bots_file
        self._settings = settings
        self._table = table
        self._take_up_seconds = take_up_seconds

    async def add(self, name: str, fields: Mapping[str, Any]) -> None:
        """Add a bot to BOTS_FILE, and set its webhook unless it is polled.

        Args:
            name: the name of the bot.
            fields: the fields of its entry. If the file of `webhook_secret_file` is
                missing, it is written with a new secret.

        Raises:
            ConfigurationError: the entry is invalid; BOTS_FILE is as before.
            BotApiError: Telegram rejects the token or does not answer; BOTS_FILE is as
                before. Or the webhook could not be set; the bot was added.
        """
        secret_file = fields.get("webhook_secret_file")
        if secret_file and not (path := self._resolve(secret_file)).exists():
            await _write(path, generate_webhook_secret())
            self._report(f"{name}: wrote a new webhook secret to {path}")
        await asyncio.to_thread(bots_editor.add_entry, self._path, name, fields)
        try:
            bot = await self._load_bot(name)
            async with self._open_api(bot.token) as api:
                username = await _check_bot(api, bot.token)
        except (ConfigurationError, BotApiError):
            bots_editor.withdraw_entry(self._path, name)
            raise
        self._report(f"{name}: added @{username}, id {bot.id}")
        if bot.updates == "webhook":
            await self._set_webhook(bot)

    async def rotate_token(self, name: str, token: str) -> None:
        """Write another token of a bot into its file.

        If Telegram has lost the bot's webhook, it is set.

        Args:
            name: the name of the bot.
            token: the new token, which Telegram accepts already.

        Raises:
            ConfigurationError: there is no such bot, the token belongs to another bot,
                or the present token is not in a file; nothing was changed.
            BotApiError: Telegram rejects the token or does not answer.
        """
        bot, path = await self._load_bot(name), self._find_token_file(name)
        token = _check_token_of(bot, token)
        async with self._open_api(token) as api:
            await _check_bot(api, token)
        await self._replace_token(bot, path, token)

    async def _replace_token(self, bot: BotConfig, path: Path, token: str) -> None:
        """Write another token of a bot, and set the webhook if there is none."""
        name = bot.name
        await _write(path, token)
        bots_editor.touch(self._path)
        self._report(f"{name}: wrote the new token to {path}")
        if bot.updates == "webhook":
            async with self._open_api(token) as api:
                is_set = bool((await get_webhook_info(api)).url)
            if is_set:
                self._report(f"{name}: the webhook is as before")
            else:
                await self._set_webhook(await self._load_bot(name))

    async def replace_managed_token(self, name: str, manager: str) -> None:
        """Let Telegram make another token for a managed bot, and write it to its file.

        Telegram revokes the present token at once.

        Args:
            name: the name of the managed bot.
            manager: the name of the bot that manages it.

        Raises:
            ConfigurationError: there is no such bot, or its token is not in a file that
                can be written.
            BotApiError: Telegram rejects the request or does not answer.
        """
        bot, manager_bot = await self._load_bot(name), await self._load_bot(manager)
        path = self._find_token_file(name)
        # Telegram revokes the present token: the new one must not get lost because the
        # file cannot be written.
        await _write(path, bot.token)
        async with self._open_api(manager_bot.token) as api:
            token = await replace_managed_bot_token(api, bot.id)
        await self._replace_token(bot, path, _check_token_of(bot, token))

    async def add_managed(self, name: str, token: str) -> None:
        """Add a bot that another bot manages, with new files for its token and secret.

        The files are beside BOTS_FILE, `NAME.token` and `NAME.secret`.

        Args:
            name: the name of the bot.
            token: its token.

        Raises:
            ConfigurationError: there is another bot with this name, the files belong to
                another bot, or they cannot be written.
            BotApiError: Telegram rejects the token or does not answer.
        """
        token = _check_token(token)
        token_file, secret_file = f"{name}.token", f"{name}.secret"
        self._check_unused(name, {token_file, secret_file})
        path = self._resolve(token_file)
        if not await asyncio.to_thread(_may_have_token, path, get_bot_id(token)):
            raise ConfigurationError([f"{path}: has something else than its token"])
        await _write(path, token)
        await self.add(
            name, {"token_file": token_file, "webhook_secret_file": secret_file}
        )

    def _check_unused(self, name: str, files: Collection[str]) -> None:
        """Make sure that no bot has a name or files."""
        problems: list[str] = []
        entries = read_entries(self._path, problems)
        if name in entries:
            problems.append(f"{self._path.name}: there is a bot {name} already")
        paths = {self._resolve(file).resolve() for file in files}
        for other, entry in entries.items():
            used = [it for it in (entry.token_file, entry.webhook_secret_file) if it]
            if paths & {self._resolve(file).resolve() for file in used}:
                problems.append(f"{self._path.name}: {other} has a file of {name}")
        if problems:
            raise ConfigurationError(problems)

    async def rotate_secret(self, name: str) -> None:
        """Replace the webhook secret of a bot by a new random one.

        The previous secret is kept in a file, so that the gateways accept both before
        Telegram learns of the new one. After a failure call this again: it continues
        with the same new secret.

        Raises:
            ConfigurationError: the bot has no secret, the secret is not in a file, or
                WEBHOOK_URL is not set; nothing was changed.
            BotApiError: Telegram did not accept the new secret; the gateways accept
                both secrets for an hour.
        """
        bot, entry = await self._load_bot(name), self._get_entry(name)
        if bot.updates == "poll":
            raise ConfigurationError([f"{name}: is polled and has no secret"])
        if entry.webhook_secret_file is None:
            raise ConfigurationError(
                [f"{name}: the secret is in a variable, not in a file: change it there"]
            )
        if self._settings.webhook_url is None:
            raise ConfigurationError(
                ["WEBHOOK_URL: is not set, so Telegram would not learn of the secret"]
            )
        path = self._resolve(entry.webhook_secret_file)
        previous = path.with_name(path.name + PREVIOUS_SUFFIX)
        unconfirmed = path.with_name(path.name + UNCONFIRMED_SUFFIX)
        if await asyncio.to_thread(unconfirmed.exists):
            # Telegram may still use the previous secret, which must stay accepted.
            self._report(f"{name}: goes on with the webhook secret in {path}")
        else:
            await _write(previous, bot.webhook_secrets[0])
            await _write(unconfirmed, "")
            await _write(path, generate_webhook_secret())
            bots_editor.touch(self._path)
            self._report(f"{name}: wrote a new webhook secret to {path}")
        try:
            await self._set_webhook(await self._load_bot(name))
        except BotApiError:
            self._report(
                f"{name}: Telegram still uses the previous secret, which is accepted"
                f" for an hour: run `telegram-gateway bots rotate {name}` again"
            )
            raise
        await asyncio.to_thread(unconfirmed.unlink, missing_ok=True)
        self._report(
            f"{name}: the previous secret, in {previous}, is accepted for a minute"
            " after Telegram has used the new one, and for an hour at most"
        )

    def set_paused(self, name: str, *, is_paused: bool) -> None:
        """Pause or resume a bot in BOTS_FILE.

        Args:
            name: the name of the bot.
            is_paused: True to only store its updates; False to process them again.

        Raises:
            ConfigurationError: there is no such bot.
        """
        bots_editor.set_paused(self._path, name, is_paused=is_paused)
        self._report(f"{name}: {'paused' if is_paused else 'resumed'}")

    async def remove(self, name: str) -> None:
        """Delete the webhook of a bot, and remove the bot from BOTS_FILE.

        Telegram keeps the updates that arrive after this for 24 hours. The files with
        its token and its secret stay.

        Raises:
            ConfigurationError: there is no such bot, it is the only one, or the file
                has to be edited by hand; the bot is as before.
            BotApiError: Telegram does not answer; the bot is as before.
        """
        bot = await self._load_bot(name)
        # A bot without a webhook whose entry stays would get no updates.
        bots_editor.remove_entry(self._path, name, is_trial=True)
        if bot.updates == "webhook":
            async with self._open_api(bot.token) as api:
                await delete_webhook(api)
            self._report(f"{name}: webhook deleted")
        bots_editor.remove_entry(self._path, name)
        self._report(f"{name}: removed; its token and its secret are where they were")

    async def _set_webhook(self, bot: BotConfig) -> None:
        """Set the webhook of a bot after the gateways have taken up its secret."""
        if self._settings.webhook_url is None:
            self._report(f"{bot.name}: WEBHOOK_URL is not set, so no webhook was set")
            return
        await asyncio.sleep(self._take_up_seconds)
        change = WebhookChange(
            bot.build_webhook_url(str(self._settings.webhook_url)),
            bot.webhook_secrets[0],
            list_offered_updates(bot, self._table),
            report=self._report,
            prefix=f"{bot.name}: ",
        )
        async with self._open_api(bot.token) as api:
            await change.make(api, force=False)

    async def _load_bot(self, name: str) -> BotConfig:
        """Return a bot as the file has it now."""
        table = self._table
        loaded = await asyncio.to_thread(
            load_bots_file, self._settings, table.service_names, table.route_names
        )
        bots = loaded.bots
        if name not in bots:
            raise ConfigurationError([f"{self._path.name}: there is no bot {name}"])
        return bots[name]

    def _find_token_file(self, name: str) -> Path:
        """Return the file with the token of a bot.

        Raises:
            ConfigurationError: the token is not in a file.
        """
        file = self._get_entry(name).token_file
        if file is None:
            raise ConfigurationError(
                [f"{name}: the token is in a variable, not in a file: change it there"]
            )
        return self._resolve(file)

    def _get_entry(self, name: str) -> BotEntry:
        return read_entries(self._path, [])[name]

    def _resolve(self, file: str) -> Path:
        return self._path.parent / file

    def _open_api(self, token: str) -> AbstractAsyncContextManager[BotApiClient]:
        return open_bot_api(token, self._settings.api_url)


async def _write(path: Path, value: str) -> None:
    await asyncio.to_thread(bots_editor.write_secret_file, path, value)


def _check_token(token: str) -> str:
    try:
        return check_token(SecretStr(token)).get_secret_value()
    except ValueError as error:
        raise ConfigurationError([f"the token {error}"]) from None


def _check_token_of(bot: BotConfig, token: str) -> str:
    token = _check_token(token)
    if get_bot_id(token) != bot.id:
        raise ConfigurationError([f"{bot.name}: the token is that of another bot"])
    return token


def _may_have_token(path: Path, bot_id: int) -> bool:
    """Return whether a file is missing or has a token of a bot."""
    try:
        return get_bot_id(_check_token(path.read_text(encoding="utf-8").strip())) == (
            bot_id
        )
    except FileNotFoundError:
        return True
    except (OSError, UnicodeDecodeError, ConfigurationError):
        return False


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
