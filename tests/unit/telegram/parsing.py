"""Updates as Telegram sends them, and what the parser reads."""

import json

from botgateway.chat.v1.message_pb2 import (
    IncomingMessage,
)
from botgateway.route.v1.event_pb2 import (
    Event,
)

from gateway.domain.update import (
    BotEvent,
    ButtonPress,
    Command,
    Update,
    UserMessage,
)
from gateway.telegram.inbound.parser import UpdateParser

ARRIVED = 1_790_000_500.75

ANNA, BO, CARA = 5510000001, 5510000002, 812345678

FANS = -1002100000077

PERSON = {"id": ANNA, "is_bot": False, "first_name": "Anna"}

PRIVATE = {"id": ANNA, "type": "private"}

BOT_ID = 7400000001


def reader(username: str = "marmot_desk_bot") -> UpdateParser:
    """Make a reader that knows the bot's name."""
    made = UpdateParser(BOT_ID)
    made.bot_username = username
    return made


def read(**parts: object) -> Update:
    """Read an update made of these parts."""
    return reader().parse(json.dumps({"update_id": 7} | parts).encode(), ARRIVED)


def read_message(**fields: object) -> Update:
    """Read a message of a private chat with these fields in it."""
    return reader().parse(body(**fields), ARRIVED)


def body(**fields: object) -> bytes:
    """Make the body of a message with these fields."""
    message = {"message_id": 5, "from": PERSON, "chat": PRIVATE, "date": 1}
    return json.dumps({"update_id": 7, "message": message | fields}).encode()


def file(name: str = "f", /, **fields: object) -> dict[str, object]:
    """Make a file."""
    return {"file_id": name, "file_unique_id": f"u-{name}", "file_size": 8} | fields


def content(update: Update) -> IncomingMessage:
    """Return the message of an update that has one."""
    assert isinstance(update, UserMessage)
    return update.message


def attachment(update: Update) -> str | None:
    """Name the attachment; "text" for none, None for no message at all."""
    if not isinstance(update, UserMessage):
        return None
    return update.message.WhichOneof("attachment") or "text"


def command_of(update: Update) -> tuple[str, str, bool] | None:
    """Return name, arguments and whether the bot is named; None for no command."""
    if not isinstance(update, Command):
        return None
    return update.name, update.arguments, update.mentions_bot


def event_of(update: Update) -> "Event.ValueType | None":
    """Return the event, if the update is one."""
    return update.event if isinstance(update, BotEvent) else None


def press_of(update: Update) -> ButtonPress:
    """Return the update, which is the press of a button."""
    assert isinstance(update, ButtonPress)
    return update
