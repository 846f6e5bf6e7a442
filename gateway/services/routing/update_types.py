"""Says which message of the contract the request of an update type may contain."""

from collections.abc import Iterable, Iterator
from typing import Any

from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.chat.v1.update_pb2 import CallbackQuery, PinnedMessage, RawUpdate
from google.protobuf.message import Message

from gateway.domain.update import (
    MESSAGE_UPDATE_TYPES,
    NAMED_ATTACHMENTS,
    ButtonPress,
    Update,
)

_CHAT = "botgateway.chat.v1"

MESSAGE = f"{_CHAT}.IncomingMessage"
CALLBACK_QUERY = f"{_CHAT}.CallbackQuery"
RAW_UPDATE = f"{_CHAT}.RawUpdate"
"""Can be filled by every update type, including unknown ones."""

TYPES_WITH_OWN_TRIGGERS = frozenset({"message", "callback_query"})
"""Update types that have the triggers command, text and callback."""

_PAYLOAD_TYPES = {
    "message_reaction": f"{_CHAT}.MessageReactionUpdate",
    "poll_answer": f"{_CHAT}.PollAnswer",
    "inline_query": f"{_CHAT}.InlineQuery",
    "chosen_inline_result": f"{_CHAT}.ChosenInlineResult",
    "pre_checkout_query": f"{_CHAT}.PreCheckoutQuery",
    "shipping_query": f"{_CHAT}.ShippingQuery",
    "chat_join_request": f"{_CHAT}.ChatJoinRequest",
    "my_chat_member": f"{_CHAT}.ChatMemberUpdate",
    "chat_member": f"{_CHAT}.ChatMemberUpdate",
    "business_connection": f"{_CHAT}.BusinessConnection",
    "game_short_name": CALLBACK_QUERY,
    "web_app_data": f"{_CHAT}.WebAppData",
    "users_shared": f"{_CHAT}.UsersShared",
    "chat_shared": f"{_CHAT}.ChatShared",
    "new_chat_members": f"{_CHAT}.NewChatMembers",
    "left_chat_member": f"{_CHAT}.LeftChatMember",
    "new_chat_title": f"{_CHAT}.NewChatTitle",
    "pinned_message": f"{_CHAT}.PinnedMessage",
    "migrate_to_chat_id": f"{_CHAT}.ChatMigration",
    "migrate_from_chat_id": f"{_CHAT}.ChatMigration",
    "write_access_allowed": f"{_CHAT}.WriteAccessAllowed",
    "forum_topic_created": f"{_CHAT}.ForumTopicCreated",
    "proximity_alert_triggered": f"{_CHAT}.ProximityAlertTriggered",
    "boost_added": f"{_CHAT}.ChatBoostAdded",
} | dict.fromkeys((*MESSAGE_UPDATE_TYPES, *NAMED_ATTACHMENTS), MESSAGE)


def list_unfillable_types(
    update_types: Iterable[str], *, messages: bool, buttons: bool
) -> list[str]:
    """Return the messages of the contract that none of these update types can fill.

    Args:
        update_types: the update types of one rpc.
        messages: whether the rpc also handles messages, as text or commands.
        buttons: whether the rpc also handles pressed buttons.

    Returns:
        The full names of the message types, sorted.
    """
    fillable = {get_payload_type(update_type) for update_type in update_types}
    fillable |= {MESSAGE} if messages else set()
    fillable |= {CALLBACK_QUERY} if buttons else set()
    return sorted(set(_PAYLOAD_TYPES.values()) - fillable)


def get_payload_type(update_type: str) -> str:
    """Return the full name of the message that contains updates of a type, or "".

    "" means that the update type has no message: services get its JSON only.
    """
    return _PAYLOAD_TYPES.get(update_type, "")


def build_payload_fields(
    update: Update, payload_field: str, json_field: str
) -> dict[str, Any]:
    """Return the values of the request's fields for the content of an update.

    Args:
        update: the update.
        payload_field: the field for the content as a message; "" for none.
        json_field: the field for the content as JSON; "" for none.

    Returns:
        The values by field. An update without such content fills no payload field.

    Raises:
        MalformedUpdate: the content has a value of a wrong type. Only the payload field
            is checked.
    """
    values: dict[str, Any] = {}
    if payload_field and (payload := update.decode_payload()) is not None:
        values[payload_field] = payload
    if json_field:
        values[json_field] = _build_raw_update(update)
    return values


def iter_messages(payload: Message) -> Iterator[IncomingMessage]:
    """Yield the messages inside a payload, such as the one with a pressed button.

    Args:
        payload: a value of `build_payload_fields`.
    """
    match payload:
        case IncomingMessage():
            yield payload
        case CallbackQuery() if payload.HasField("message"):
            yield payload.message
        case PinnedMessage():
            yield payload.message.content


def _build_raw_update(update: Update) -> RawUpdate:
    # A button of a game has a trigger name, but it is not the name of the payload.
    name = None if isinstance(update, ButtonPress) else update.trigger_name
    return RawUpdate(
        update_type=update.update_type if name is None else name,
        json=bytes(update.payload),
        message_json=None
        if update.message_payload is None
        else bytes(update.message_payload),
    )
