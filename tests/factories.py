"""Builders of updates: as Telegram sends them, as they are stored, and as parsed."""

import time
from typing import Any, TypeVar

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from botgateway.chat.v1.message_pb2 import IncomingMessage
from msgspec import structs

from gateway.domain.broadcast import Broadcast
from gateway.domain.delivery import Delivery, DeliveryKind
from gateway.domain.update import (
    BotEvent,
    ButtonPress,
    Command,
    Envelope,
    StoppedReply,
    UpdateBase,
    UserMessage,
)

USER = 7
TIME = 1_790_000_000
"""Seconds since the epoch: when messages were written and updates arrived."""

_CONTEXT_FIELDS = frozenset(RequestContext.DESCRIPTOR.fields_by_name) - {"update_id"}
_UPDATE_TYPES: dict[type[UpdateBase], str] = {
    ButtonPress: "callback_query",
    BotEvent: "my_chat_member",
    StoppedReply: "stopped_message_generation",
}
_CLASS_BY_FIELD: dict[str, type[UpdateBase]] = {
    "callback_data": ButtonPress,
    "event": BotEvent,
    "draft_id": StoppedReply,
    "name": Command,
}
_AnyUpdate = TypeVar("_AnyUpdate", bound=UpdateBase)


def build_update(
    update_class: type[_AnyUpdate],
    *,
    update_id: int = 1,
    **fields: Any,  # noqa: ANN401 - each has its own type
) -> _AnyUpdate:
    """Build a parsed update that comes from nobody and from no chat.

    Args:
        fields: fields of the class, and others of its `RequestContext`.
    """
    names = _CONTEXT_FIELDS & fields.keys() - {*update_class.__struct_fields__}
    context = {name: fields.pop(name) for name in names}
    defaults: dict[str, Any] = {
        "update_type": _UPDATE_TYPES.get(update_class, "message"),
        "ordering_key": str(USER),
        "context": RequestContext(update_id=update_id, **context),
    }
    if issubclass(update_class, Command):
        words = (f"/{fields['name']}", fields.setdefault("arguments", ""))
        defaults["message"] = IncomingMessage(text=" ".join(words).rstrip())
    elif issubclass(update_class, UserMessage):
        defaults["message"] = IncomingMessage(text="hello")
    elif issubclass(update_class, ButtonPress):
        defaults["callback_query_id"] = "77"
    return update_class(update_id=update_id, **defaults | fields)


def build_private_update(
    update_class: type[_AnyUpdate],
    *,
    update_id: int = 1,
    user: int = USER,
    **fields: Any,  # noqa: ANN401 - as above
) -> _AnyUpdate:
    """Build an update of a user in the private chat with the bot."""
    origin: dict[str, Any] = {
        "telegram_user_id": user,
        "chat_id": user,
        "chat_type": CHAT_TYPE_PRIVATE,
        "request_id": f"1-{update_id}",
        "ordering_key": str(user),
    }
    return build_update(update_class, update_id=update_id, **origin | fields)


def build_message(
    update_id: int = 1,
    text: str = "hello",
    **fields: Any,  # noqa: ANN401 - as above
) -> UserMessage:
    """Build a message of a user that is no command."""
    message = {"message": IncomingMessage(text=text)}
    return build_private_update(UserMessage, update_id=update_id, **message | fields)


def build_command(
    name: str,
    arguments: str = "",
    **fields: Any,  # noqa: ANN401 - as above
) -> Command:
    """Build a command, with its message as Telegram sends it."""
    return build_private_update(Command, name=name, arguments=arguments, **fields)


def build_button_press(
    data: str | None = None,
    **fields: Any,  # noqa: ANN401 - as above
) -> ButtonPress:
    """Build the press of a button under a message in the private chat."""
    return build_private_update(ButtonPress, callback_data=data, **fields)


def build_inline_button_press() -> ButtonPress:
    """Build the press of a button under an inline message: it has no chat."""
    return build_update(ButtonPress, inline_message_id="AAQ")


def build_accepted(
    update_id: int = 1,
    text: str = "hello",
    *,
    arrived_at: float = TIME,
    update_class: type[UpdateBase] | None = None,
    **fields: Any,  # noqa: ANN401 - as above
) -> Envelope:
    """Build the envelope of an update that this worker accepted and parsed.

    Args:
        text: that of the message, if the update is one.
        update_class: by default the one that `fields` belong to, or else `UserMessage`.
    """
    by_field = (_CLASS_BY_FIELD[name] for name in _CLASS_BY_FIELD if name in fields)
    found = update_class or next(by_field, UserMessage)
    if found is UserMessage:
        fields.setdefault("message", IncomingMessage(text=text))
    update = build_private_update(found, update_id=update_id, **fields)
    envelope = build_envelope(update_id, update.ordering_key, arrived_at=arrived_at)
    return structs.replace(envelope, update=update)


def build_delivery(
    number: int = 1,
    ordering_key: str = str(USER),
    **fields: Any,  # noqa: ANN401 - as above
) -> Delivery:
    """Build a delivery to the user with this ordering key, and with this number."""
    defaults: dict[str, Any] = {
        "delivery_id": f"{number:016}",
        "bot_id": 1,
        "caller": "orders",
        "idempotency_key": f"order-{number}",
        "fingerprint": b"request-%d" % number,
        "kind": DeliveryKind.SEND,
        "request": b"request-%d" % number,
        "chat_id": USER,
        "accepted_at": float(TIME),
        "expires_at": TIME + 86400.0,
    }
    return Delivery(ordering_key=ordering_key, **defaults | fields)


def build_broadcast(
    number: int = 1,
    **fields: Any,  # noqa: ANN401 - as above
) -> Broadcast:
    """Build the broadcast with this number."""
    defaults: dict[str, Any] = {
        "broadcast_id": f"{number:016}",
        "bot_id": 1,
        "caller": "news",
        "idempotency_key": f"issue-{number}",
        "fingerprint": b"request-%d" % number,
        "request": b"request-%d" % number,
        "created_at": float(TIME + number),
        "expires_at": time.time() + 86400.0,
    }
    return Broadcast(**defaults | fields)


def build_envelope(
    update_id: int,
    ordering_key: str = str(USER),
    *,
    body: bytes = b"{}",
    arrived_at: float | None = None,
) -> Envelope:
    """Build an envelope of an update as it is stored."""
    return Envelope(
        update_id=update_id,
        ordering_key=ordering_key,
        arrived_at=arrived_at,
        body=body,
    )


def build_message_json(
    text: str = "",
    *,
    user: int = USER,
    **fields: Any,  # noqa: ANN401 - any JSON
) -> dict[str, Any]:
    """Build a message of a user in the private chat, as Telegram sends it."""
    content = {"text": text} if text else {}
    return {
        "message_id": 5,
        "date": TIME,
        "from": build_user_json(user),
        "chat": {"id": user, "type": "private"},
        **content,
        **fields,
    }


def build_button_press_json(
    data: str, *, user: int = USER, query_id: str = "q", message_id: int = 1
) -> dict[str, Any]:
    """Build the press of a button in the private chat, as Telegram sends it."""
    chat = {"id": user, "type": "private"}
    return {
        "id": query_id,
        "from": build_user_json(user),
        "message": {"message_id": message_id, "date": TIME, "chat": chat},
        "data": data,
    }


def build_user_json(user: int = USER) -> dict[str, Any]:
    """Build a user, as Telegram sends it."""
    return {"id": user, "is_bot": False, "first_name": "Ann"}
