"""What a bot's owner arranges with Telegram: name, command menu, webhook."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from gateway.domain.errors import BotApiUnavailable
from gateway.telegram.bot_api.client import BotApiClient

_T = TypeVar("_T")


class WebhookInfo(Struct):
    """Bot API, WebhookInfo.

    Attributes:
        url: the webhook's address. Empty: there is none.
        pending_update_count: updates that were not taken yet, those under way included.
        last_error_date: the newest failure in seconds since the epoch. 0: none.
        last_error_message: what it was; it stays after the recovery.
        max_connections: how many updates Telegram sends at once.
        allowed_updates: the kinds of updates that are sent. Empty: the default.
    """

    url: str = ""
    pending_update_count: int = 0
    last_error_date: int = 0
    last_error_message: str = ""
    max_connections: int = 0
    allowed_updates: list[str] = []


class _BotUser(Struct):
    id: int
    username: str


async def get_me(api: BotApiClient) -> tuple[int, str]:
    """Give the bot's user id and its @name without the at sign."""
    me = _convert_result(await api.call("getMe", {}), _BotUser)
    return me.id, me.username


async def set_my_commands(
    api: BotApiClient, commands: Iterable[tuple[str, str]]
) -> None:
    """Publish the command menu, as names without a slash with descriptions."""
    menu = [{"command": name, "description": text} for name, text in commands]
    await api.call("setMyCommands", {"commands": menu})


async def get_webhook_info(api: BotApiClient) -> WebhookInfo:
    """Tell where updates are sent, and how that goes."""
    return _convert_result(await api.call("getWebhookInfo", {}), WebhookInfo)


async def set_webhook(
    api: BotApiClient,
    url: str,
    secret_token: str,
    *,
    max_connections: int = 40,
    allowed_updates: Sequence[str] = (),
    drop_pending_updates: bool = False,
) -> None:
    """Have updates sent to an address.

    Args:
        api: the bot's client.
        url: the address, https.
        secret_token: what Telegram shows to prove that it is Telegram.
        max_connections: how many updates are sent at once, 1 to 100.
        allowed_updates: the kinds of updates to send. Empty: the default.
        drop_pending_updates: forget the updates that wait.
    """
    parameters = {
        "url": url,
        "secret_token": secret_token,
        "max_connections": max_connections,
        "allowed_updates": allowed_updates,
        "drop_pending_updates": drop_pending_updates,
    }
    await api.call("setWebhook", parameters)


async def delete_webhook(
    api: BotApiClient, *, drop_pending_updates: bool = False
) -> None:
    """Have no more updates sent; they are kept unless they are dropped."""
    parameters = {"drop_pending_updates": drop_pending_updates}
    await api.call("deleteWebhook", parameters)


def _convert_result(result: object, result_type: type[_T]) -> _T:
    """Read a result.

    Raises:
        BotApiUnavailable: it is not what the Bot API gives.
    """
    try:
        return msgspec.convert(result, result_type)
    except msgspec.ValidationError:
        error = BotApiUnavailable("the answer is not the Bot API's")
    raise error
