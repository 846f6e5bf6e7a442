"""Publishes the command menus of the bots and refreshes their usernames.

Concurrency: one background task for all bots, started by the server and cancelled at
shutdown. It makes the calls of several bots at once, but never those of all of them. If
the calls fail, they are repeated, and the gateway goes on serving.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from copy import copy

from msgspec import Struct

from gateway.domain.errors import BotApiError, InvalidBotToken
from gateway.telegram.bot_api.bot_settings import get_me, set_my_commands
from gateway.telegram.bot_api.client import BotApiClient

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 30.0

_CHECK_SECONDS = 1.0
"""The interval between checks for bots that have to be synchronized."""

MAX_SIMULTANEOUS_BOTS = 16
"""The number of bots that are synchronized at the same time, so that the calls of a
thousand bots do not delay their replies."""

USERNAME_TTL_SECONDS = 600.0
"""How long a username is used before it is refreshed.

The bot's owner may change it at any time, and no update reports that. Until the
refresh, commands in groups that address the bot by its new username are taken for
commands to another bot. One getMe in ten minutes costs nothing. Each worker adds up to
a fifth of the time, so that they do not all call it at once.
"""


class ProfileState(Struct):
    """What the gateway did for a bot at Telegram, and what it learned about the bot.

    Attributes:
        is_username_known: whether the username was read.
        username_expires_at: when to refresh the username, by the event loop's time.
        published_commands: the commands of the published menu; None if the gateway has
            published none.
    """

    is_username_known: bool = False
    username_expires_at: float = 0.0
    published_commands: tuple[tuple[str, str], ...] | None = None


class BotProfile:
    """Keeps the menu and the username of one bot up to date.

    The calls are also repeated after the token was rejected: a gateway that is not
    ready gets no updates, so nothing else would notice that the token is valid again.

    Args:
        api: the bot's client.
        commands: the menu, as pairs of a name without its slash and a description.
        set_username: called with the bot's username, without the at sign, each time it
            was read.
        username_ttl: the approximate number of seconds before the username is
            refreshed.
        name: the bot's name for the log, or an empty string.
        previous: the profile object that this one replaces, for the same bot and token;
            None if there was none. Calls that it made successfully are not repeated.

    Attributes:
        state: what was done and learned.
    """

    def __init__(
        self,
        api: BotApiClient,
        commands: Iterable[tuple[str, str]],
        set_username: Callable[[str], None],
        *,
        username_ttl: float = USERNAME_TTL_SECONDS,
        name: str = "",
        previous: "BotProfile | None" = None,
    ) -> None:
        self._api = api
        self._commands = tuple(commands)
        self._set_username = set_username
        self._username_ttl = username_ttl
        self._log_fields = {"bot": name} if name else {}
        self._pause = _FIRST_PAUSE_SECONDS
        self._next_check_at = 0.0
        self._has_failed = False
        self.state: ProfileState = (
            ProfileState() if previous is None else copy(previous.state)
        )

    @property
    def is_username_known(self) -> bool:
        """Whether the username was read at least once."""
        return self.state.is_username_known

    @property
    def _is_menu_published(self) -> bool:
        return self.state.published_commands == self._commands

    def is_due(self, now: float) -> bool:
        """Return whether the menu or the username is due to be synchronized now.

        Args:
            now: the time of the event loop.
        """
        if now < self._next_check_at:
            return False
        is_synced = self._is_menu_published and self._api.is_authorized
        return not is_synced or now >= self.state.username_expires_at

    async def refresh_username(self) -> None:
        """Ask Telegram for the username if it has expired or the token was rejected.

        A failure is logged and does not raise.
        """
        loop = asyncio.get_running_loop()
        self._has_failed = False
        if self._api.is_authorized and loop.time() < self.state.username_expires_at:
            return
        with self._reporting():
            _, username = await get_me(self._api)
            self._set_username(username)
            self.state.is_username_known = True
            spread = random.uniform(1, 1.2)  # noqa: S311 - it guards no secret
            self.state.username_expires_at = loop.time() + self._username_ttl * spread

    async def publish_menu(self) -> None:
        """Publish the menu unless Telegram has it; set the time of the next attempt.

        The menu is not published if the username could not be read just before. A
        failure is logged and does not raise. The pause doubles from 1 s to 30 s.
        """
        if not self._has_failed and not self._is_menu_published:
            with self._reporting():
                await set_my_commands(self._api, self._commands)
                self.state.published_commands = self._commands
        self._next_check_at = asyncio.get_running_loop().time() + self._pause
        self._pause = min(2 * self._pause, _MAX_PAUSE_SECONDS)

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Log an error of the Bot API inside the block, instead of raising it."""
        try:
            yield
        except InvalidBotToken as error:
            self._has_failed = True
            logger.error(  # noqa: TRY400 - a traceback would not help
                "bot_token_invalid", extra={"reason": str(error), **self._log_fields}
            )
        except BotApiError as error:
            self._has_failed = True
            event = (
                "bot_username_refresh_failed"
                if self._is_menu_published
                else "bot_profile_sync_failed"
            )
            logger.warning(event, extra={"error": str(error), **self._log_fields})


async def sync_profiles(
    list_profiles: Callable[[], Collection[BotProfile]],
    usernames_known: asyncio.Event,
) -> None:
    """Refresh usernames and publish menus whenever that is due, until cancelled.

    Args:
        list_profiles: returns the profiles of all bots.
        usernames_known: set as soon as the usernames of all bots are known.
    """
    loop = asyncio.get_running_loop()
    while True:
        now = loop.time()
        due = [it for it in list_profiles() if it.is_due(now)]
        # The start waits for the usernames, but not for the menus.
        await _run_some_at_once(it.refresh_username for it in due)
        if all(it.is_username_known for it in list_profiles()):
            usernames_known.set()
        await _run_some_at_once(it.publish_menu for it in due)
        await asyncio.sleep(_CHECK_SECONDS)


async def _run_some_at_once(calls: Iterator[Callable[[], Awaitable[None]]]) -> None:
    async def run_each() -> None:
        for call in calls:
            await call()

    await asyncio.gather(*(run_each() for _ in range(MAX_SIMULTANEOUS_BOTS)))
