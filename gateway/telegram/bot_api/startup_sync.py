"""Learning the name of the bot, again now and then, and publishing its menu.

Concurrency: one task, started by the app and cancelled at the stop. The gateway serves
without it meanwhile.
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
"""How long a name is good. Its owner may change it at any time, and no update tells.

Until then commands in groups that name the bot anew are taken for another bot's. One
getMe in ten minutes costs nothing; each worker adds up to a fifth of the time, so that
not all of them ask at once.
"""


async def sync_bot_profile(
    api: BotApiClient,
    commands: Iterable[tuple[str, str]],
    set_username: Callable[[str], None],
    *,
    username_ttl: float = USERNAME_TTL_SECONDS,
) -> None:
    """Try until it works, and again whenever the token was refused meanwhile.

    A gateway that is not ready gets no updates, so without this nothing would ever
    find out that the token is good again. The name alone is asked for now and then.

    Args:
        api: the bot's client.
        commands: names without a slash with their descriptions.
        set_username: called with the bot's @name, without the at sign.
        username_ttl: for how many seconds the name is good, about.
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
            logger.error("telegram refuses the token", extra={"reason": str(error)})  # noqa: TRY400 - one clear line
        except BotApiError as error:
            event = (
                "bot name not asked for" if is_menu_published else "not introduced yet"
            )
            logger.warning(event, extra={"error": str(error)})
        await asyncio.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)
