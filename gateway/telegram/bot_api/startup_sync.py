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
from gateway.telegram.bot_api.client import BotApi

logger = logging.getLogger(__name__)

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0

NAME_SECONDS = 600.0
"""How long a name is good. Its owner may change it at any time, and no update tells.

Until then commands in groups that name the bot anew are taken for another bot's. One
getMe in ten minutes costs nothing; each worker adds up to a fifth of the time, so that
not all of them ask at once.
"""


async def introduce(
    api: BotApi,
    commands: Iterable[tuple[str, str]],
    learn: Callable[[str], None],
    *,
    name_seconds: float = NAME_SECONDS,
) -> None:
    """Try until it works, and again whenever the token was refused meanwhile.

    A gateway that is not ready gets no updates, so without this nothing would ever
    find out that the token is good again. The name alone is asked for now and then.

    Args:
        api: the bot's client.
        commands: names without a slash with their descriptions.
        learn: called with the bot's @name, without the at sign.
        name_seconds: for how many seconds the name is good, about.
    """
    pause = _FIRST_PAUSE
    loop = asyncio.get_running_loop()
    introduced = False
    name_until = 0.0
    while True:
        try:
            known = introduced and api.authorized
            if not known or loop.time() >= name_until:
                _, username = await get_me(api)
                learn(username)
                spread = random.uniform(1, 1.2)  # noqa: S311 - it guards no secret
                name_until = loop.time() + name_seconds * spread
            if not known:
                await set_my_commands(api, commands)
                introduced = True
        except InvalidBotToken as error:
            logger.error("telegram refuses the token", extra={"reason": str(error)})  # noqa: TRY400 - one clear line
        except BotApiError as error:
            what = "bot name not asked for" if introduced else "not introduced yet"
            logger.warning(what, extra={"error": str(error)})
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
