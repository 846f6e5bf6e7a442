"""The JSON structure of message contents, as far as the gateway reads it.

The classes are msgspec structs with Telegram's field names.
"""

from msgspec import Raw, Struct

from gateway.telegram.inbound.schema import Int32, Int64, MessageHeader, User


class Entity(Struct, kw_only=True):
    """A formatted range of a text; `offset` and `length` count UTF-16 code units."""

    type: str
    offset: Int32
    length: Int32
    url: str = ""
    user: User | None = None
    language: str = ""
    custom_emoji_id: str = ""


class File(Struct, kw_only=True):
    """A file on Telegram's servers, with the fields of all kinds of files."""

    file_id: str
    file_unique_id: str
    file_size: Int64 = 0
    mime_type: str = ""
    file_name: str = ""
    width: Int32 = 0
    height: Int32 = 0
    duration: Int32 = 0
    length: Int32 = 0
    performer: str = ""
    title: str = ""
    emoji: str = ""
    set_name: str = ""


class Location(Struct, kw_only=True):
    """A point on the map."""

    latitude: float
    longitude: float
    horizontal_accuracy: float = 0
    live_period: Int32 = 0


class Venue(Struct, kw_only=True):
    """A location with a name and an address."""

    location: Location
    title: str = ""
    address: str = ""


class Contact(Struct, kw_only=True):
    """A contact from a phone book; `user_id` is 0 if the account is unknown."""

    phone_number: str
    first_name: str = ""
    last_name: str = ""
    user_id: Int64 = 0


class Dice(Struct):
    """An emoji with a random value."""

    emoji: str
    value: Int32


class MessageId(Struct):
    """A message of which only the id is decoded."""

    message_id: Int64


class Message(MessageHeader, kw_only=True):
    """A message with its content. `Raw` fields are decoded only if they are present."""

    text: str = ""
    entities: tuple[Entity, ...] = ()
    caption: str = ""
    caption_entities: tuple[Entity, ...] = ()
    forward_origin: Raw = Raw()
    forward_date: Raw = Raw()
    reply_to_message: Raw = Raw()
    external_reply: Raw = Raw()
    quote: Raw = Raw()
    via_bot: Raw = Raw()
    receiver_user: Raw = Raw()
    media_group_id: str = ""
    photo: tuple[File, ...] = ()
    animation: File | None = None
    document: File | None = None
    voice: File | None = None
    audio: File | None = None
    video: File | None = None
    video_note: File | None = None
    sticker: File | None = None
    location: Location | None = None
    venue: Venue | None = None
    contact: Contact | None = None
    dice: Dice | None = None
    poll: Raw = Raw()
    story: Raw = Raw()
    checklist: Raw = Raw()
    game: Raw = Raw()
    invoice: Raw = Raw()
    paid_media: Raw = Raw()
    giveaway: Raw = Raw()
    giveaway_winners: Raw = Raw()
    rich_message: Raw = Raw()
    live_photo: Raw = Raw()
    successful_payment: Raw = Raw()
    refunded_payment: Raw = Raw()
