"""Runs a command's calls of the Bot API."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.config.bots import BotConfig
from gateway.config.settings import Settings
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
