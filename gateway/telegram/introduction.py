"""Learning our own name and publishing the command menu.

Concurrency: one task, started by the app and cancelled at the stop. The gateway serves
without it meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from gateway.domain.errors import BotApiError
from gateway.telegram.account import get_me, set_my_commands
from gateway.telegram.api import BotApi

logger = logging.getLogger(__name__)

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


async def introduce(
    api: BotApi, commands: Iterable[tuple[str, str]], learn: Callable[[str], None]
) -> None:
    """Try until it works, and again whenever the token was refused meanwhile.

    A gateway that is not ready gets no updates, so without this nothing would ever
    find out that the token is good again.

    Args:
        api: the bot's client.
        commands: names without a slash with their descriptions.
        learn: called with the bot's @name, without the at sign.
    """
    pause = _FIRST_PAUSE
    introduced = False
    while True:
        try:
            if not introduced or not api.authorized:
                _, username = await get_me(api)
                learn(username)
                await set_my_commands(api, commands)
                introduced = True
        except BotApiError as error:
            logger.warning("not introduced yet", extra={"error": str(error)})
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
