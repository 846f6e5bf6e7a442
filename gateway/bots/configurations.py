"""Keeps the configurations of the bots for the supervisor, which runs no bots."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Self

from gateway.background import BackgroundTasks
from gateway.bots.file_watcher import BotsFileWatcher
from gateway.config.bots import BotConfig, build_environment_bot, load_bots_file
from gateway.config.settings import Settings


class BotConfigurations:
    """The configurations of all bots, read again when BOTS_FILE changes.

    They are loaded on entering `async with`, and read again inside it.

    Args:
        settings: the gateway's settings.
        background: runs the background tasks.
    """

    def __init__(self, settings: Settings, background: BackgroundTasks) -> None:
        self._settings = settings
        self._background = background
        self._by_id: dict[int, BotConfig] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Load the configurations.

        Raises:
            ConfigurationError: BOTS_FILE is invalid.
        """
        if self._settings.bots_file is None:
            await self._replace({"": build_environment_bot(self._settings)})
            return self
        load = partial(load_bots_file, self._settings)
        loaded = load()
        await self._replace(loaded.bots)
        watcher = BotsFileWatcher(load, self._replace, loaded)
        await self._stack.enter_async_context(
            self._background.running("watch bots file", watcher.run)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def find(self, bot_id: int) -> BotConfig | None:
        """Return the configuration of the bot with an id, or None if there is none."""
        return self._by_id.get(bot_id)

    async def _replace(self, bots: Mapping[str, BotConfig]) -> None:
        known = self._by_id
        self._by_id = {
            # An unchanged configuration stays the same object.
            bot.id: known[bot.id] if known.get(bot.id) == bot else bot
            for bot in bots.values()
        }
