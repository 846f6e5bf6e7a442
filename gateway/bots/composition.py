"""Runs the bots of a process, and replaces those that change in BOTS_FILE."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from gateway.background import BackgroundTasks
from gateway.bots.bot import Bot, BotFactory
from gateway.bots.file_watcher import BotsFileWatcher
from gateway.bots.pollers import BotPollers
from gateway.bots.registry import BotRegistry
from gateway.config.bots import (
    BotConfig,
    BotsFile,
    build_environment_bot,
    load_bots_file,
)
from gateway.config.settings import Settings
from gateway.domain.errors import ConfigurationError
from gateway.telegram.bot_api.profile_sync import sync_profiles

logger = logging.getLogger(__name__)

_MAX_LISTED_PROBLEMS = 10

_UNAUTHORIZED_PROBLEM = (
    "Telegram rejects the bot token: set TELEGRAM_BOT_TOKEN to the token from BotFather"
)


class RunningBots:
    """The bots of this process, and the tasks that belong to them.

    Args:
        registry: where the bots are put.
        factory: builds bots.
        background: runs the background tasks.
        loaded: what was read from BOTS_FILE; None if there is no such file.
        load: reads BOTS_FILE again; raises ConfigurationError if it is invalid.

    Attributes:
        registry: the bots that run.
        pollers: start and stop the pollers of the bots that are polled.
        usernames_known: set once the usernames of all bots are known.
    """

    def __init__(
        self,
        registry: BotRegistry,
        factory: BotFactory,
        background: BackgroundTasks,
        *,
        loaded: BotsFile | None,
        load: Callable[[], BotsFile],
    ) -> None:
        self.registry = registry
        self._factory = factory
        self.pollers = BotPollers(registry.find_pollers, background)
        self.usernames_known = asyncio.Event()
        self._watcher = (
            BotsFileWatcher(load, self.apply, loaded, factory.previous_secrets.limit)
            if loaded is not None
            else None
        )

    @property
    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """The functions of the background tasks to run, by name."""
        profiles = partial(
            sync_profiles,
            lambda: [bot.profile for bot in self.registry],
            self.usernames_known,
        )
        tasks: dict[str, Callable[[], Awaitable[None]]] = {"sync bot profile": profiles}
        if self._watcher is not None:
            tasks["watch bots file"] = self._watcher.run
        return tasks

    @property
    def update_from_file(self) -> Callable[[], Awaitable[bool]] | None:
        """A function that applies a change of BOTS_FILE at once; None without the file.

        It returns whether there was a change: see `BotsFileWatcher.update`.
        """
        return self._watcher.update if self._watcher is not None else None

    @property
    def is_any_authorized(self) -> bool:
        """Whether Telegram accepts the token of at least one bot."""
        return any(bot.api.is_authorized for bot in self.registry)

    async def apply(self, configs: Mapping[str, BotConfig]) -> None:
        """Run exactly these bots from now on: start, replace and remove bots.

        A bot whose configuration is the same goes on as it is.

        Args:
            configs: the configurations of the bots by name.

        Raises:
            ConfigurationError: a name belongs to another bot than before; nothing was
                changed.
        """
        self._check_ids(configs)
        ids = {config.id for config in configs.values()}
        removed = [bot for bot in self.registry if bot.config.id not in ids]
        added = []
        for config in configs.values():
            previous = self.registry.get(config.id)
            if previous is None or previous.config != config:
                added.append(self._factory.build(config, previous))
        if not added and not removed:
            return
        is_first = not len(self.registry)
        self.registry.update(added, removed)
        self.pollers.update()
        if not is_first:
            _log_changes(added, removed)

    def rebuild(self) -> None:
        """Replace all bots by new ones, because their routes have changed.

        The caller has to call `pollers.update` afterwards.
        """
        bots = list(self.registry)
        self.registry.update([self._factory.build(it.config, it) for it in bots])

    def list_problems(self) -> list[str]:
        """Return a line for each problem that an operator has to fix.

        They are the problems of BOTS_FILE, of tokens that Telegram rejects, and of
        polling.
        """
        problems = list(self._watcher.problems) if self._watcher is not None else []
        for bot in self.registry:
            problem = ""
            if not bot.api.is_authorized:
                problem = (
                    "Telegram rejects the bot token: see `telegram-gateway bots rotate`"
                    if bot.config.name
                    else _UNAUTHORIZED_PROBLEM
                )
            elif bot.poller is not None:
                problem = bot.poller.problem or ""
            if problem:
                name = bot.config.name
                problems.append(f"{name}: {problem}" if name else problem)
        return problems[:_MAX_LISTED_PROBLEMS]

    def _check_ids(self, configs: Mapping[str, BotConfig]) -> None:
        known = {bot.config.name: bot.config.id for bot in self.registry}
        problems = [
            f"{name}: the token is that of another bot than before"
            for name, config in configs.items()
            if known.get(name, config.id) != config.id
        ]
        if problems:
            raise ConfigurationError(problems)


def _log_changes(added: list[Bot], removed: list[Bot]) -> None:
    logger.info(
        "bots_changed",
        extra={
            "updated": [bot.config.name for bot in added],
            "removed": [bot.config.name for bot in removed],
        },
    )


async def start_bots(
    settings: Settings,
    registry: BotRegistry,
    factory: BotFactory,
    background: BackgroundTasks,
) -> RunningBots:
    """Build the bots of BOTS_FILE, or the one of the environment.

    Their pollers and other background tasks do not run yet.

    Args:
        settings: the gateway's settings.
        registry: where the bots are put.
        factory: builds bots.
        background: runs the background tasks.

    Raises:
        ConfigurationError: BOTS_FILE is invalid.
    """

    def load() -> BotsFile:
        # The routes change while the gateway runs.
        names = factory.table.service_names, factory.table.route_names
        return load_bots_file(settings, *names)

    loaded = load() if settings.bots_file is not None else None
    bots = RunningBots(registry, factory, background, loaded=loaded, load=load)
    await bots.apply(
        {"": build_environment_bot(settings)} if loaded is None else loaded.bots
    )
    return bots
