"""Converts what a message refers to: its origin, quotes and messages of other chats.

These references are decoded only if they are present. A reference that does not have
the expected shape is left out, so that its message is never lost. A forwarded message
is always marked as forwarded, even if its origin cannot be decoded.
"""

from typing import TypeVar

from botgateway.chat.v1 import context_pb2
from botgateway.chat.v1 import message_pb2 as contract
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import MsgspecError, Raw, Struct
from msgspec.json import Decoder

from gateway.telegram.inbound.content import Entity
from gateway.telegram.inbound.people import convert_chat, convert_user
from gateway.telegram.inbound.schema import Chat, Date, Int32, Int64, User

_T = TypeVar("_T")


class _Origin(Struct):
    """The fields of all types of MessageOrigin (Bot API)."""

    type: str
    date: Date = 0
    sender_user: User | None = None
    sender_user_name: str = ""
    sender_chat: Chat | None = None
    chat: Chat | None = None
    message_id: Int64 = 0
    author_signature: str = ""


class _Quote(Struct):
    text: str
    entities: tuple[Entity, ...] = ()
    position: Int32 = 0
    is_manual: bool = False


class _ExternalReply(Struct):
    origin: Raw
    chat: Chat | None = None
    message_id: Int64 = 0


_origin_decoder = Decoder(_Origin)
_quote_decoder = Decoder(_Quote)
_external_reply_decoder = Decoder(_ExternalReply)
_user_decoder = Decoder(User)
_fields_decoder = Decoder(dict[str, Raw])


def decode_or_none(decoder: Decoder[_T], json: Raw) -> _T | None:
    """Decode JSON; return None if the decoder does not accept it."""
    try:
        return decoder.decode(json)
    except (MsgspecError, RecursionError):
        return None


def convert_timestamp(seconds: int) -> Timestamp | None:
    """Convert seconds since the epoch to a Timestamp; return None for 0 ("unknown")."""
    return Timestamp(seconds=seconds) if seconds else None


def decode_message_origin(json: Raw) -> contract.MessageOrigin:
    """Decode and convert the origin of a forwarded message (Bot API: MessageOrigin).

    Returns an empty one if the JSON cannot be decoded.
    """
    origin = decode_or_none(_origin_decoder, json)
    if origin is None:
        return contract.MessageOrigin()
    chat = origin.sender_chat or origin.chat
    return contract.MessageOrigin(
        type=origin.type or None,
        send_time=convert_timestamp(origin.date),
        sender_user=convert_user(origin.sender_user) if origin.sender_user else None,
        sender_user_name=origin.sender_user_name or None,
        sender_chat=convert_chat(chat) if chat else None,
        message_id=origin.message_id or None,
        author_signature=origin.author_signature or None,
    )


def decode_text_quote(json: Raw) -> contract.TextQuote | None:
    """Decode and convert the quoted part of a message (Bot API: TextQuote).

    Returns None if the JSON cannot be decoded.
    """
    quote = decode_or_none(_quote_decoder, json)
    if quote is None:
        return None
    return contract.TextQuote(
        text=quote.text,
        entities=[convert_entity(entity) for entity in quote.entities],
        position=quote.position,
        is_manual=quote.is_manual,
    )


def decode_external_reply(json: Raw) -> contract.ExternalReply | None:
    """Decode and convert a reply to a message of another chat (ExternalReplyInfo).

    Returns None if the JSON cannot be decoded.
    """
    reply = decode_or_none(_external_reply_decoder, json)
    if reply is None:
        return None
    fields = decode_or_none(_fields_decoder, json) or {}
    return contract.ExternalReply(
        origin=decode_message_origin(reply.origin),
        chat=convert_chat(reply.chat) if reply.chat else None,
        message_id=reply.message_id or None,
        attachment_type=next(
            (name for name in _ATTACHMENT_FIELDS if name in fields), None
        ),
    )


def decode_user_or_none(json: Raw) -> context_pb2.User | None:
    """Decode and convert a user; return None if the JSON cannot be decoded."""
    user = decode_or_none(_user_decoder, json)
    return None if user is None else convert_user(user)


def convert_entity(entity: Entity) -> contract.MessageEntity:
    """Convert a formatted range of a text; positions stay in UTF-16 code units."""
    return contract.MessageEntity(
        type=entity.type,
        offset=entity.offset,
        length=entity.length,
        url=entity.url or None,
        user_id=entity.user.id if entity.user else None,
        language=entity.language or None,
        custom_emoji_id=entity.custom_emoji_id or None,
    )


_ATTACHMENT_FIELDS = (
    "animation",
    "audio",
    "live_photo",
    "document",
    "paid_media",
    "photo",
    "sticker",
    "story",
    "video",
    "video_note",
    "voice",
    "checklist",
    "contact",
    "dice",
    "game",
    "giveaway",
    "giveaway_winners",
    "invoice",
    "venue",
    "location",
    "poll",
)
"""The fields of ExternalReplyInfo that are attachments (Bot API 10.3).

If Telegram repeats an attachment under an older name, the newer name is listed first:
an animation is also a document, a live photo a photo, a venue a location.
"""
