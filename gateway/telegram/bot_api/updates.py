"""Fetches updates with getUpdates, for long polling."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from gateway.domain.errors import BotApiUnavailable
from gateway.telegram.bot_api.client import BotApiClient

MAX_UPDATES = 100
"""Maximum number of updates in one result (Bot API, getUpdates)."""


class FetchedUpdate(Struct, frozen=True):
    """An update as Telegram sent it.

    Attributes:
        update_id: the id of the update.
        body: the JSON of the update, as a webhook would receive it.
    """

    update_id: int
    body: bytes


class _UpdateId(Struct):
    update_id: int


async def get_updates(
    api: BotApiClient,
    *,
    offset: int | None,
    limit: int,
    timeout_seconds: int,
    allowed_updates: Sequence[str],
) -> list[FetchedUpdate]:
    """Confirm the updates before an offset, and return those from the offset on.

    Telegram forgets confirmed updates.

    Args:
        api: the bot's client.
        offset: the id of the first update to return; None for the oldest one that is
            not confirmed, which confirms nothing.
        limit: the maximum number of updates, 1 to 100.
        timeout_seconds: for how many seconds Telegram waits for an update if there is
            none, less than the client's timeout for a request.
        allowed_updates: the types of updates to return. An empty sequence means
            Telegram's default.

    Raises:
        BotApiError: the call failed, see `BotApiClient.call`. It was not retried; the
            updates may or may not have been confirmed.
    """
    parameters = {
        "limit": limit,
        "timeout": timeout_seconds,
        "allowed_updates": allowed_updates,
    }
    if offset is not None:
        parameters["offset"] = offset
    result = await api.call("getUpdates", parameters, patience=0)
    try:
        ids = msgspec.convert(result, list[_UpdateId])
    except msgspec.ValidationError:
        ids = None
    if ids is None:
        raise BotApiUnavailable("the response is not the Bot API's")
    return [
        FetchedUpdate(each.update_id, msgspec.json.encode(update))
        for each, update in zip(ids, result, strict=True)
    ]
