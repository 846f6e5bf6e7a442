"""Reads and changes the bot's settings at Telegram: name, command menu and webhook."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from gateway.domain.errors import BotApiUnavailable
from gateway.telegram.bot_api.client import BotApiClient

_T = TypeVar("_T")


class WebhookInfo(Struct):
    """A bot's webhook and its state, as getWebhookInfo returns them.

    Attributes:
        url: the webhook's URL, or an empty string if none is set.
        has_custom_certificate: whether the bot uploaded a certificate for the URL,
            which Telegram trusts.
        pending_update_count: the number of updates that were not delivered yet,
            including those that are being delivered now.
        last_error_date: the time of the latest delivery error in seconds since the
            epoch, or 0 if there was none.
        last_error_message: the description of the latest delivery error. It stays when
            later deliveries succeed.
        max_connections: the maximum number of updates that Telegram sends at once.
        allowed_updates: the types of updates that Telegram sends. An empty list means
            Telegram's default.
    """

    url: str = ""
    has_custom_certificate: bool = False
    pending_update_count: int = 0
    last_error_date: int = 0
    last_error_message: str = ""
    max_connections: int = 0
    allowed_updates: list[str] = []


class _BotUser(Struct):
    id: int
    username: str


async def get_me(api: BotApiClient) -> tuple[int, str]:
    """Ask Telegram for the bot's user id and its username without the at sign.

    Raises:
        BotApiError: as in `BotApiClient.call`.
    """
    me = _convert_result(await api.call("getMe", {}), _BotUser)
    return me.id, me.username


async def set_my_commands(
    api: BotApiClient, commands: Iterable[tuple[str, str]]
) -> None:
    """Replace the bot's command menu at Telegram.

    Args:
        api: the bot's client.
        commands: pairs of a name without its slash and a description.

    Raises:
        BotApiError: as in `BotApiClient.call`.
    """
    menu = [{"command": name, "description": text} for name, text in commands]
    await api.call("setMyCommands", {"commands": menu})


async def get_webhook_info(api: BotApiClient) -> WebhookInfo:
    """Ask Telegram for the webhook's URL and the state of its deliveries.

    Raises:
        BotApiError: as in `BotApiClient.call`.
    """
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
    """Make Telegram send updates to a URL, instead of any earlier one.

    Args:
        api: the bot's client.
        url: the URL, which starts with https.
        secret_token: sent by Telegram with each update, as proof of its origin.
        max_connections: the maximum number of updates sent at once, 1 to 100.
        allowed_updates: the types of updates to send. An empty sequence means
            Telegram's default.
        drop_pending_updates: True to discard the updates that were not delivered yet;
            False to deliver them to the new URL.

    Raises:
        BotApiError: as in `BotApiClient.call`.
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
    """Remove the webhook.

    Args:
        api: the bot's client.
        drop_pending_updates: True to discard the updates that were not delivered yet;
            False to keep them for a later webhook or getUpdates.

    Raises:
        BotApiError: as in `BotApiClient.call`.
    """
    parameters = {"drop_pending_updates": drop_pending_updates}
    await api.call("deleteWebhook", parameters)


def _convert_result(result: object, result_type: type[_T]) -> _T:
    """Convert the result of a call to a type.

    Raises:
        BotApiUnavailable: the result is not of this type.
    """
    try:
        return msgspec.convert(result, result_type)
    except msgspec.ValidationError:
        error = BotApiUnavailable("the response is not the Bot API's")
    raise error
