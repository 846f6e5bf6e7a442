"""Calls and updates about the bots that another bot manages (Bot API 9.6).

Telegram gives the tokens of such bots to the bot that manages them.
"""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.telegram.bot_api.client import BotApiClient

_PATIENCE_SECONDS = 30.0
"""How long a call is retried. A token that was not fetched means a bot without one."""


class ManagedBot(Struct):
    """A managed bot, as updates name it (Bot API: User).

    The username is empty if Telegram did not send it.
    """

    id: int
    username: str = ""


class _Owner(Struct):
    id: int


class ManagedBotUpdated(Struct):
    """An update that says that a managed bot was created or changed.

    Attributes:
        user: the person who made the bot.
        bot: the managed bot.
    """

    user: _Owner
    bot: ManagedBot


def read_update(payload: bytes | msgspec.Raw) -> ManagedBotUpdated | None:
    """Read the content of an update about a managed bot.

    Args:
        payload: the JSON of the update's field, as Telegram sent it.

    Returns:
        The person and the bot; None if one of them is missing or malformed.
    """
    try:
        return msgspec.json.decode(payload, type=ManagedBotUpdated)
    except msgspec.MsgspecError:
        return None


async def get_managed_bot_token(api: BotApiClient, bot_id: int) -> str:
    """Ask Telegram for the token of a managed bot, with retries for 30 s.

    Args:
        api: the client of the bot that manages it.
        bot_id: the user id of the managed bot.

    Raises:
        BotApiError: Telegram does not return the token; see `BotApiClient.call`.
    """
    return await _call(api, "getManagedBotToken", bot_id)


async def replace_managed_bot_token(api: BotApiClient, bot_id: int) -> str:
    """Make Telegram revoke the token of a managed bot, and return a new one.

    The arguments and the errors are those of `get_managed_bot_token`.
    """
    return await _call(api, "replaceManagedBotToken", bot_id)


async def _call(api: BotApiClient, method: str, bot_id: int) -> str:
    parameters: dict[str, Any] = {"user_id": bot_id}
    return str(await api.call(method, parameters, patience=_PATIENCE_SECONDS))
