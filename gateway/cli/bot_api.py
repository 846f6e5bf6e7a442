"""Runs a command's calls of the Bot API."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from gateway.config.bots import BotConfig, load_bots
from gateway.config.settings import Settings
from gateway.domain.errors import ConfigurationError
from gateway.telegram.bot_api.client import BotApiClient, open_bot_api

_T = TypeVar("_T")


def run_with_api(
    settings: Settings, bot: BotConfig, act: Callable[[BotApiClient], Awaitable[_T]]
) -> _T:
    """Call a function with a client of a bot, and return its result.

    Args:
        settings: the gateway's settings.
        bot: the bot.
        act: makes the calls. The client is open until it returns.
    """

    async def run() -> _T:
        async with open_bot_api(bot.token, settings.api_url) as api:
            return await act(api)

    return asyncio.run(run())


def choose_bots(settings: Settings, name: str | None) -> Sequence[BotConfig]:
    """Return the bot with a name, or all bots without one.

    Args:
        settings: the gateway's settings.
        name: the name of a bot in BOTS_FILE, or None.

    Raises:
        ConfigurationError: there is no bot with this name, or BOTS_FILE is invalid.
    """
    bots = load_bots(settings)
    if name is None:
        return list(bots.values())
    if not name or name not in bots:
        raise ConfigurationError([f"there is no bot {name!r} in BOTS_FILE"])
    return [bots[name]]
