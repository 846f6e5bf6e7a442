"""The content of a message: from Telegram's JSON to the contract's IncomingMessage."""

import contextlib
from collections.abc import Callable
from typing import Any

from botgateway.chat.v1 import message_pb2 as contract
from msgspec import Raw
from msgspec.json import Decoder

from gateway.domain.errors import MalformedUpdate
from gateway.telegram.inbound.attachments import (
    RARE,
    contract_file,
    largest,
    rare_attachment,
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
from gateway.telegram.inbound.people import contract_chat, contract_user
from gateway.telegram.inbound.references import (
    contract_entity,
    decode_or_none,
    external_reply,
    message_origin,
    text_quote,
    timestamp,
    user_or_none,
)
from gateway.telegram.inbound.service_contents import find_service_content

_message = Decoder(Message)
_message_id = Decoder(MessageId)


def incoming_message(
    message: Message, *, with_reply: bool = True
) -> contract.IncomingMessage | None:
    """Give the content of a message; None for a service message, which has none.

    Args:
        message: the message as Telegram sent it.
        with_reply: read the message that it answers, too.

    Raises:
        Malformed: it tells of a payment that cannot be read.
    """
    # Text and attachments exclude each other, and most messages are text.
    attachment = {} if message.text else _attachment(message)
    if not (message.text or message.caption or attachment):
        return None
    entities = message.entities if message.text else message.caption_entities
    content = contract.IncomingMessage(
        message_id=message.message_id,
        text=message.text or message.caption,
        entities=[contract_entity(entity) for entity in entities],
        media_group_id=message.media_group_id,
        **attachment,
    )
    _add_references(content, message)
    if message.reply_to_message and with_reply:
        answered = referenced_message(message.reply_to_message)
        content.reply_to_message_id = answered.content.message_id
        content.reply_to_message.CopyFrom(answered)
    return content


def referenced_message(json: Raw) -> contract.ReferencedMessage:
    """Read a message that another one refers to.

    Args:
        json: a Message, or an InaccessibleMessage, which has little more than its id.

    Returns:
        What could be read of it: nothing but the id, or nothing at all, if it has
        another shape than expected.
    """
    message = decode_or_none(_message, json)
    content = None
    if message is not None:
        with contextlib.suppress(MalformedUpdate):
            content = incoming_message(message, with_reply=False)
    if content is None:
        known = decode_or_none(_message_id, json)
        content = contract.IncomingMessage(message_id=known.message_id if known else 0)
    if message is None:
        return contract.ReferencedMessage(content=content)
    return contract.ReferencedMessage(
        content=content,
        kind=_kind_of(content) or find_service_content(json)[0],
        from_user=contract_user(message.user) if message.user else None,
        sender_chat=contract_chat(message.sender_chat) if message.sender_chat else None,
        send_time=timestamp(message.date),
    )


def _kind_of(content: contract.IncomingMessage) -> str:
    """Name what a message holds, in Telegram's words. Empty: nothing known here."""
    attachment = content.WhichOneof("attachment")
    if attachment == "other":
        return content.other.kind
    return attachment or ("text" if content.text else "")


def _add_references(content: contract.IncomingMessage, message: Message) -> None:
    """Add what the message refers to. Most messages refer to nothing."""
    if message.is_forwarded:
        content.forward_origin.CopyFrom(message_origin(message.forward_origin))
    if message.quote and (quote := text_quote(message.quote)):
        content.quote.CopyFrom(quote)
    if message.external_reply and (reply := external_reply(message.external_reply)):
        content.external_reply.CopyFrom(reply)
    if message.via_bot and (bot := user_or_none(message.via_bot)):
        content.via_bot.CopyFrom(bot)
    if message.ephemeral_message_id:
        content.ephemeral_message_id = message.ephemeral_message_id
    if message.receiver_user and (receiver := user_or_none(message.receiver_user)):
        content.receiver_user.CopyFrom(receiver)


def _attachment(message: Message) -> dict[str, Any]:
    """Give the attachment under its name in the contract; empty where there is none."""
    if message.live_photo:
        return rare_attachment("live_photo", message.live_photo)
    for name, convert in _CONVERTERS.items():
        part = getattr(message, name)
        if part:
            return {name: convert(part)}
    for name in RARE:
        if json := getattr(message, name):
            return rare_attachment(name, json)
    return {}


def _photo(sizes: tuple[File, ...]) -> contract.Photo:
    size = largest(sizes)
    return contract.Photo(
        file=contract_file(size), width=size.width, height=size.height
    )


def _document(file: File) -> contract.Document:
    return contract.Document(file=contract_file(file))


def _voice(file: File) -> contract.Voice:
    return contract.Voice(file=contract_file(file), duration_seconds=file.duration)


def _audio(file: File) -> contract.Audio:
    return contract.Audio(
        file=contract_file(file),
        duration_seconds=file.duration,
        performer=file.performer,
        title=file.title,
    )


def _video(file: File) -> contract.Video:
    return contract.Video(
        file=contract_file(file),
        duration_seconds=file.duration,
        width=file.width,
        height=file.height,
    )


def _video_note(file: File) -> contract.VideoNote:
    return contract.VideoNote(
        file=contract_file(file), duration_seconds=file.duration, diameter=file.length
    )


def _animation(file: File) -> contract.Animation:
    return contract.Animation(
        file=contract_file(file),
        duration_seconds=file.duration,
        width=file.width,
        height=file.height,
    )


def _sticker(file: File) -> contract.Sticker:
    return contract.Sticker(
        file=contract_file(file), emoji=file.emoji, set_name=file.set_name
    )


def contract_location(location: Location) -> contract.Location:
    """Give a point on the map as services see it."""
    return contract.Location(
        latitude=location.latitude,
        longitude=location.longitude,
        horizontal_accuracy_meters=location.horizontal_accuracy,
        live_period_seconds=location.live_period,
    )


def _venue(venue: Venue) -> contract.Venue:
    return contract.Venue(
        location=contract_location(venue.location),
        title=venue.title,
        address=venue.address,
    )


def _contact(contact: Contact) -> contract.Contact:
    return contract.Contact(
        phone_number=contact.phone_number,
        first_name=contact.first_name,
        last_name=contact.last_name,
        user_id=contact.user_id,
    )


def _dice(dice: Dice) -> contract.Dice:
    return contract.Dice(emoji=dice.emoji, value=dice.value)


_CONVERTERS: dict[str, Callable[[Any], object]] = {
    "photo": _photo,
    "animation": _animation,
    "document": _document,
    "voice": _voice,
    "audio": _audio,
    "video": _video,
    "video_note": _video_note,
    "sticker": _sticker,
    "venue": _venue,
    "location": contract_location,
    "contact": _contact,
    "dice": _dice,
}
"""How each attachment is converted. The first one that is there wins.

Telegram repeats some of them under an older name: an animation is a `document` too, a
venue a `location`, a live photo a `photo`.
"""
