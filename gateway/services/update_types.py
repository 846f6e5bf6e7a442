"""Which types of the shared contracts a kind of update can fill in a request."""

from collections.abc import Iterable
from typing import Any

from botgateway.chat.v1.update_pb2 import UpdateJson
from google.protobuf.message import Message

from gateway.domain.update import Update

_CHAT = "botgateway.chat.v1"

MESSAGE = f"{_CHAT}.IncomingMessage"
JSON = f"{_CHAT}.UpdateJson"
"""Takes every kind, also those that are not known here."""

SERVED_OTHERWISE = frozenset({"message", "callback_query"})
"""Kinds that the triggers command, text and callback serve."""

_MESSAGES = (
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_message",
    "edited_business_message",
    "guest_message",
    "successful_payment",
    "refunded_payment",
)

_TYPES = {
    "message_reaction": f"{_CHAT}.MessageReaction",
    "poll_answer": f"{_CHAT}.PollAnswer",
    "inline_query": f"{_CHAT}.InlineQuery",
    "chosen_inline_result": f"{_CHAT}.ChosenInlineResult",
    "pre_checkout_query": f"{_CHAT}.PreCheckoutQuery",
    "shipping_query": f"{_CHAT}.ShippingQuery",
    "chat_join_request": f"{_CHAT}.JoinRequest",
    "my_chat_member": f"{_CHAT}.Membership",
    "chat_member": f"{_CHAT}.Membership",
} | dict.fromkeys(_MESSAGES, MESSAGE)


def strangers(kinds: Iterable[str], *, messages: bool) -> list[str]:
    """List the types that none of these kinds can fill.

    Args:
        kinds: all that one rpc serves.
        messages: it also serves ordinary messages.
    """
    own = {type_of(kind) for kind in kinds} | ({MESSAGE} if messages else set())
    return sorted(set(_TYPES.values()) - own)


def type_of(kind: str) -> str:
    """Give the full name of the type that belongs to a kind. Empty: it has none."""
    return _TYPES.get(kind, "")


def values_of(update: Update, details_field: str, json_field: str) -> dict[str, Any]:
    """Give what the fields of a request get from an update.

    Args:
        update: of a kind that is routed by its name.
        details_field: takes the type that belongs to the kind. Empty: none does.
        json_field: takes the JSON. Empty: none does.

    Raises:
        Malformed: the update has parts of a wrong type. Only typed fields notice.
    """
    values: dict[str, Any] = {}
    if details_field and (details := _details(update)) is not None:
        values[details_field] = details
    if json_field:
        values[json_field] = UpdateJson(kind=update.name, json=bytes(update.json))
    return values


def _details(update: Update) -> Message | None:
    if update.message is not None or update.details is None:
        return update.message
    return update.details()
