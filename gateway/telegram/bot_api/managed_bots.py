"""The bots that a bot manages at Telegram (Bot API 9.6)."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.telegram.bot_api.client import BotApiClient

_PATIENCE_SECONDS = 30.0
"""How long a call is retried. A token that was not fetched means a bot without one."""


class ManagedBot(Struct):
    """A managed bot, as updates name it (Bot API: User)."""

    id: int
    username: str = ""


class _Owner(Struct):
    id: int


class ManagedBotUpdated(Struct):
    """An update about a managed bot.

    Attributes:
        user: the person who made the bot.
        bot: the bot.
    """

    user: _Owner
    bot: ManagedBot


def read_update(payload: bytes | msgspec.Raw) -> ManagedBotUpdated | None:
    """Read an update about a managed bot, or return None if it is not complete."""
    try:
        return msgspec.json.decode(payload, type=ManagedBotUpdated)
    except msgspec.MsgspecError:
        return None


async def get_managed_bot_token(api: BotApiClient, bot_id: int) -> str:
    """Return the token of a managed bot.

    Args:
        api: the client of the bot that manages it.
        bot_id: the user id of the managed bot.

    Raises:
        BotApiError: Telegram does not give it.
    """
    return await _call(api, "getManagedBotToken", bot_id)


async def replace_managed_bot_token(api: BotApiClient, bot_id: int) -> str:
    """Revoke the token of a managed bot, and return a new one.

    The arguments and the errors are those of `get_managed_bot_token`.
    """
    return await _call(api, "replaceManagedBotToken", bot_id)


async def _call(api: BotApiClient, method: str, bot_id: int) -> str:
    parameters: dict[str, Any] = {"user_id": bot_id}
    return str(await api.call(method, parameters, patience=_PATIENCE_SECONDS))
