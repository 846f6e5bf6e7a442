"""Says for each type of update how it is queued, and whom it is about.

Within one queue Telegram delivers one update at a time, in the order in which they were
created. A queue's key is `id + type * 2**33` (telegram-bot-api: Client.cpp).
"""

import zlib

from msgspec import Struct

from gateway.sandbox.simulator.validation.rules import Parameters

_DAY = 86_400.0


class _UpdateType(Struct, frozen=True):
    """How updates of one type are queued.

    Attributes:
        holder: the object whose id is part of the key: chat, user, member or poll.
        number: the other part of the key.
        seconds: the lifetime of an update.
    """

    holder: str
    number: int
    seconds: float = _DAY


_UPDATE_TYPES = {
    "message": _UpdateType("chat", 0),
    "edited_message": _UpdateType("chat", 0),
    "channel_post": _UpdateType("chat", 0),
    "edited_channel_post": _UpdateType("chat", 0),
    "inline_query": _UpdateType("user", 1, 30),
    "chosen_inline_result": _UpdateType("user", 2, 600),
    "callback_query": _UpdateType("user", 3, 150),
    "shipping_query": _UpdateType("user", 4, 150),
    "pre_checkout_query": _UpdateType("user", 4, 150),
    "my_chat_member": _UpdateType("chat", 5),
    "chat_member": _UpdateType("member", 6),
    "chat_join_request": _UpdateType("user", 6),
    "chat_boost": _UpdateType("chat", 7),
    "removed_chat_boost": _UpdateType("chat", 7),
    "message_reaction": _UpdateType("chat", 8),
    "message_reaction_count": _UpdateType("chat", 9),
    "business_connection": _UpdateType("user", 10),
    "business_message": _UpdateType("chat", 11),
    "edited_business_message": _UpdateType("chat", 11),
    "deleted_business_messages": _UpdateType("chat", 11),
    "guest_message": _UpdateType("chat", 12),
    "purchased_paid_media": _UpdateType("user", 12),
    "managed_bot": _UpdateType("user", 13),
    "poll": _UpdateType("poll", 0),
    "poll_answer": _UpdateType("poll", 0),
}
_UNKNOWN = _UpdateType("chat", 14)
"""For kinds whose queue is not known: subscription, stopped_message_generation."""


def queue_key(kind: str, content: Parameters) -> int:
    """Return the key of the queue that an update belongs to.

    Args:
        kind: Telegram's name of the update type.
        content: the object of the update, such as a Message.
    """
    rule = _UPDATE_TYPES.get(kind, _UNKNOWN)
    match rule.holder:
        case "user":
            holder = user_id(content)
        case "member":
            holder = content.get("new_chat_member", {}).get("user", {}).get("id", 0)
        case "poll":
            poll = content.get("poll_id") or content.get("id", "")
            holder = zlib.crc32(str(poll).encode())
        case _:
            holder = chat_id(content)
    return int(holder) + rule.number * 2**33


def lifetime(kind: str) -> float:
    """Return for how many seconds Telegram tries to deliver an update."""
    return _UPDATE_TYPES.get(kind, _UNKNOWN).seconds


def user_id(content: Parameters) -> int:
    """Return the id of the user who caused an update, or 0 if it names none."""
    user = content.get("from") or content.get("user") or {}
    return int(user.get("id", 0))


def chat_id(content: Parameters) -> int:
    """Return the id of the chat of an update, or 0 if it names none."""
    chat = content.get("chat") or content.get("message", {}).get("chat") or {}
    return int(chat.get("id", 0))


def title(kind: str, content: Parameters) -> str:
    """Return a short description of an update for people, at most 80 characters."""
    if kind == "callback_query":
        return f"pressed {content.get('data', '')}"
    if kind == "my_chat_member":
        status = content["new_chat_member"]["status"]
        return "blocked the bot" if status == "kicked" else "unblocked the bot"
    text = content.get("text") or content.get("caption") or ""
    shown = [f"({name})" for name in _ATTACHMENTS if name in content]
    return " ".join([*shown, text]).strip()[:80] or kind


_ATTACHMENTS = (
    "photo",
    "document",
    "voice",
    "audio",
    "video",
    "sticker",
    "location",
    "contact",
)
