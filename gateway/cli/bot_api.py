"""Runs calls of the Bot API for a command, in an event loop of their own."""

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
    """Run an asynchronous function with a Bot API client of a bot; return its result.

    Args:
        settings: the gateway's settings, with the address of the Bot API.
        bot: the bot.
        act: makes the calls. The client is closed when this function has returned.
    """

    async def run() -> _T:
        async with open_bot_api(bot.token, settings.api_url) as api:
            return await act(api)

    return asyncio.run(run())
