"""The content of a message: from Telegram's JSON to the contract's IncomingMessage."""

from collections.abc import Callable
from typing import Any

from botgateway.chat.v1 import message_pb2 as contract

from gateway.telegram.attachments import RARE, contract_file, largest, rare_attachment
from gateway.telegram.content import (
    Contact,
    Dice,
    Entity,
    File,
    Location,
    Message,
    Venue,
)


def incoming_message(message: Message) -> contract.IncomingMessage | None:
    """Give the content of a message; None for a service message, which has none.

    Raises:
        Malformed: it tells of a payment that cannot be read.
    """
    # Text and attachments exclude each other, and most messages are text.
    attachment = {} if message.text else _attachment(message)
    if not (message.text or message.caption or attachment):
        return None
    entities = message.entities if message.text else message.caption_entities
    return contract.IncomingMessage(
        message_id=message.message_id,
        text=message.text or message.caption,
        entities=[_entity(entity) for entity in entities],
        reply_to_message_id=_replied_to(message),
        media_group_id=message.media_group_id,
        **attachment,
    )


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


def _replied_to(message: Message) -> int:
    answered = message.reply_to_message
    return answered.message_id if answered else 0


def _entity(entity: Entity) -> contract.MessageEntity:
    return contract.MessageEntity(
        type=entity.type,
        offset=entity.offset,
        length=entity.length,
        url=entity.url,
        user_id=entity.user.id if entity.user else 0,
        language=entity.language,
        custom_emoji_id=entity.custom_emoji_id,
    )


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
