"""Publishes the command menu and refreshes the bot's username.

Concurrency: one background task, started by the server and cancelled at shutdown. The
gateway also runs while the task still fails.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable

from gateway.domain.errors import BotApiError, InvalidBotToken
from gateway.telegram.bot_api.bot_settings import get_me, set_my_commands
from gateway.telegram.bot_api.client import BotApiClient

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 30.0

USERNAME_TTL_SECONDS = 600.0
"""How long a username is used before it is refreshed.

The bot's owner may change it at any time, and no update reports that. Until the
refresh, commands in groups that address the bot by its new username are taken for
commands to another bot. One getMe in ten minutes costs nothing. Each worker adds up to
a fifth of the time, so that they do not all call it at once.
"""


async def sync_bot_profile(
    api: BotApiClient,
    commands: Iterable[tuple[str, str]],
    set_username: Callable[[str], None],
    *,
    username_ttl: float = USERNAME_TTL_SECONDS,
) -> None:
    """Retry until the profile is synchronized, and again after the token was rejected.

    A gateway that is not ready gets no updates, so nothing else would notice that the
    token is valid again. Later on only the username is refreshed.

    Args:
        api: the bot's client.
        commands: pairs of a name without its slash and a description.
        set_username: called with the bot's username, without the at sign.
        username_ttl: the approximate number of seconds before the username is
            refreshed.
    """
    pause = _FIRST_PAUSE_SECONDS
    loop = asyncio.get_running_loop()
    is_menu_published = False
    username_expires_at = 0.0
    while True:
        try:
            is_synced = is_menu_published and api.is_authorized
            if not is_synced or loop.time() >= username_expires_at:
                _, username = await get_me(api)
                set_username(username)
                spread = random.uniform(1, 1.2)  # noqa: S311 - it guards no secret
                username_expires_at = loop.time() + username_ttl * spread
            if not is_synced:
                await set_my_commands(api, commands)
                is_menu_published = True
        except InvalidBotToken as error:
            logger.error("bot_token_invalid", extra={"reason": str(error)})  # noqa: TRY400 - a traceback would not help
        except BotApiError as error:
            event = (
                "bot_username_refresh_failed"
                if is_menu_published
                else "bot_profile_sync_failed"
            )
            logger.warning(event, extra={"error": str(error)})
        await asyncio.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)
