"""Converts the content of messages to the contract's IncomingMessage."""

import contextlib
from collections.abc import Callable
from typing import Any

from botgateway.chat.v1 import message_pb2 as contract
from msgspec import Raw
from msgspec.json import Decoder

from gateway.domain.errors import MalformedUpdate
from gateway.telegram.inbound.attachments import (
    RARE_ATTACHMENTS,
    convert_file,
    decode_rare_attachment,
    find_largest_size,
)
from gateway.telegram.inbound.content import (
    Contact,
    Dice,
    File,
    Location,
    Message,
    MessageId,
    Venue,
)
from gateway.telegram.inbound.people import convert_chat, convert_user
from gateway.telegram.inbound.references import (
    convert_entity,
    convert_timestamp,
    decode_external_reply,
    decode_message_origin,
    decode_or_none,
    decode_text_quote,
    decode_user_or_none,
)
from gateway.telegram.inbound.routable_contents import find_service_content

_message_decoder = Decoder(Message)
_message_id_decoder = Decoder(MessageId)


def convert_message(
    message: Message, *, with_reply: bool = True
) -> contract.IncomingMessage | None:
    """Convert the content of a message to the contract's message.

    Args:
        message: the message as Telegram sent it.
        with_reply: whether to convert the message that it replies to as well.

    Returns:
        The content; None for a message without text and attachment, such as a service
        message.

    Raises:
        MalformedUpdate: the message has a payment that cannot be decoded.
    """
    # Text and attachments exclude each other, and most messages are text.
    attachment = {} if message.text else _convert_attachment(message)
    if not (message.text or message.caption or attachment):
        return None
    entities = message.entities if message.text else message.caption_entities
    content = contract.IncomingMessage(
        message_id=message.message_id,
        text=message.text or message.caption,
        entities=map(convert_entity, entities),
        media_group_id=message.media_group_id or None,
        **attachment,
    )
    _add_references(content, message)
    if message.reply_to_message and with_reply:
        referenced = decode_referenced_message(message.reply_to_message)
        if replied_id := referenced.content.message_id:
            content.reply_to_message_id = replied_id
        content.reply_to_message.CopyFrom(referenced)
    return content


def decode_referenced_message(json: Raw) -> contract.ReferencedMessage:
    """Decode and convert a message that another message refers to. Never raises.

    Args:
        json: a Message, or an InaccessibleMessage, which has little more than its id.

    Returns:
        The parts that could be decoded: only the id, or an empty message, if the JSON
        does not have the expected shape.
    """
    message = decode_or_none(_message_decoder, json)
    content = None
    if message is not None:
        with contextlib.suppress(MalformedUpdate):
            content = convert_message(message, with_reply=False)
    if content is None:
        message_id = decode_or_none(_message_id_decoder, json)
        content = contract.IncomingMessage(
            message_id=message_id.message_id if message_id else 0
        )
    if message is None:
        return contract.ReferencedMessage(content=content)
    return contract.ReferencedMessage(
        content=content,
        content_type=_find_content_type(content) or _find_service_content_type(json),
        from_user=convert_user(message.user) if message.user else None,
        sender_chat=convert_chat(message.sender_chat) if message.sender_chat else None,
        send_time=convert_timestamp(message.date),
    )


def _find_content_type(content: contract.IncomingMessage) -> str | None:
    """Return Telegram's name of the content, or None if it is unknown."""
    attachment = content.WhichOneof("attachment")
    if attachment == "other":
        return content.other.type
    return attachment or ("text" if content.text else None)


def _find_service_content_type(json: Raw) -> str | None:
    """Return Telegram's name of a service message, or None if it is unknown."""
    found = find_service_content(json)
    return None if found is None else found[0]


def _add_references(content: contract.IncomingMessage, message: Message) -> None:
    """Add the users, messages and quotes that the message refers to."""
    # Bot API servers before 7.0 send only the date of the original, not its origin.
    if message.forward_origin or message.forward_date:
        content.forward_origin.CopyFrom(decode_message_origin(message.forward_origin))
    if message.quote and (quote := decode_text_quote(message.quote)):
        content.quote.CopyFrom(quote)
    if message.external_reply and (
        reply := decode_external_reply(message.external_reply)
    ):
        content.external_reply.CopyFrom(reply)
    if message.via_bot and (bot := decode_user_or_none(message.via_bot)):
        content.via_bot.CopyFrom(bot)
    if message.ephemeral_message_id:
        content.ephemeral_message_id = message.ephemeral_message_id
    if message.receiver_user and (
        receiver := decode_user_or_none(message.receiver_user)
    ):
        content.receiver_user.CopyFrom(receiver)


def _convert_attachment(message: Message) -> dict[str, Any]:
    """Return the attachment under its contract field name, or an empty dict."""
    if message.live_photo:
        return decode_rare_attachment("live_photo", message.live_photo)
    for name, convert in _CONVERTERS.items():
        part = getattr(message, name)
        if part:
            return {name: convert(part)}
    for name in RARE_ATTACHMENTS:
        if json := getattr(message, name):
            return decode_rare_attachment(name, json)
    return {}


def _convert_photo(sizes: tuple[File, ...]) -> contract.Photo:
    size = find_largest_size(sizes)
    return contract.Photo(file=convert_file(size), width=size.width, height=size.height)


def _convert_document(file: File) -> contract.Document:
    return contract.Document(file=convert_file(file))


def _convert_voice(file: File) -> contract.Voice:
    return contract.Voice(file=convert_file(file), duration_seconds=file.duration)


def _convert_audio(file: File) -> contract.Audio:
    return contract.Audio(
        file=convert_file(file),
        duration_seconds=file.duration,
        performer=file.performer or None,
        title=file.title or None,
    )


def _convert_video(file: File) -> contract.Video:
    return contract.Video(
        file=convert_file(file),
        duration_seconds=file.duration,
        width=file.width,
        height=file.height,
    )


def _convert_video_note(file: File) -> contract.VideoNote:
    return contract.VideoNote(
        file=convert_file(file), duration_seconds=file.duration, diameter=file.length
    )


def _convert_animation(file: File) -> contract.Animation:
    return contract.Animation(
        file=convert_file(file),
        duration_seconds=file.duration,
        width=file.width,
        height=file.height,
    )


def _convert_sticker(file: File) -> contract.Sticker:
    return contract.Sticker(
        file=convert_file(file),
        emoji=file.emoji or None,
        set_name=file.set_name or None,
    )


def convert_location(location: Location) -> contract.Location:
    """Convert a point on the map to the contract's Location."""
    return contract.Location(
        latitude=location.latitude,
        longitude=location.longitude,
        horizontal_accuracy_meters=location.horizontal_accuracy or None,
        live_period_seconds=location.live_period or None,
    )


def _convert_venue(venue: Venue) -> contract.Venue:
    return contract.Venue(
        location=convert_location(venue.location),
        title=venue.title,
        address=venue.address,
    )


def _convert_contact(contact: Contact) -> contract.Contact:
    return contract.Contact(
        phone_number=contact.phone_number,
        first_name=contact.first_name,
        last_name=contact.last_name or None,
        user_id=contact.user_id or None,
    )


def _convert_dice(dice: Dice) -> contract.Dice:
    return contract.Dice(emoji=dice.emoji, value=dice.value)


_CONVERTERS: dict[str, Callable[[Any], object]] = {
    "photo": _convert_photo,
    "animation": _convert_animation,
    "document": _convert_document,
    "voice": _convert_voice,
    "audio": _convert_audio,
    "video": _convert_video,
    "video_note": _convert_video_note,
    "sticker": _convert_sticker,
    "venue": _convert_venue,
    "location": convert_location,
    "contact": _convert_contact,
    "dice": _convert_dice,
}
"""The converter of each attachment. The first attachment that is present wins.

Telegram repeats some attachments under an older name: an animation is also a
`document`, a venue a `location`, a live photo a `photo`.
"""
