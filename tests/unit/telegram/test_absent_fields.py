"""A field that Telegram omits is unset in the contract, and is never an empty value."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.message import Message

from gateway.domain.update import Update, UserMessage
from gateway.telegram.inbound.parser import UpdateParser

RECORDED = {
    path.stem: path.read_bytes()
    for path in (Path(__file__).parents[2] / "updates").glob("*.json")
}
USER = {"id": 5, "is_bot": False, "first_name": "Anna"}
CHAT = {"id": 5, "type": "private"}
ANSWERED = {"message_id": 4, "date": 1, "chat": CHAT}
FILE = {"file_id": "f", "file_unique_id": "u"}
PAYMENT = {
    "currency": "XTR",
    "total_amount": 1,
    "invoice_payload": "p",
    "telegram_payment_charge_id": "c",
}
CONTENTS: dict[str, dict[str, object]] = {
    "text with an entity": {
        "text": "a",
        "entities": [{"type": "bold", "offset": 0, "length": 1}],
    },
    "user without a name": {"text": "a", "from": {"id": 5, "is_bot": False}},
    "document": {"document": FILE},
    "audio": {"audio": FILE | {"duration": 1}},
    "sticker": {"sticker": FILE | {"width": 1, "height": 1}},
    "location": {"location": {"latitude": 0, "longitude": 0}},
    "contact": {"contact": {"phone_number": "1", "first_name": "Bo"}},
    "payment": {"successful_payment": PAYMENT | {"order_info": {}}},
    "unreadable origin": {"text": "a", "forward_origin": {}},
    "origin without a message": {
        "text": "a",
        "forward_origin": {"type": "user", "date": 1, "sender_user": USER},
    },
    "unreadable reply": {"text": "a", "reply_to_message": {"message_id": "x"}},
    "reply to unknown content": {"text": "a", "reply_to_message": ANSWERED},
    "reply to another chat": {"text": "a", "external_reply": {"origin": {}}},
    "users_shared": {"users_shared": {"request_id": 0, "users": [{"user_id": 1}]}},
    "chat_shared": {"chat_shared": {"request_id": 0, "chat_id": 1}},
    "write_access_allowed": {"write_access_allowed": {}},
    "forum_topic_created": {"forum_topic_created": {"name": "t", "icon_color": 0}},
}
UPDATES: dict[str, dict[str, object]] = {
    "callback_query": {"id": "q", "from": USER, "chat_instance": "c"},
    "inline_query": {"id": "q", "from": USER, "query": "", "offset": ""},
    "chosen_inline_result": {"result_id": "r", "from": USER, "query": ""},
    "pre_checkout_query": PAYMENT | {"id": "q", "from": USER},
    "chat_join_request": {"chat": CHAT, "from": USER, "date": 1, "user_chat_id": 5},
    "poll_answer": {"poll_id": "1", "user": USER, "option_ids": []},
    "channel_post": ANSWERED | {"text": "a"},
}


def build_bodies() -> Iterator[tuple[str, bytes]]:
    """Yield updates by name: recorded ones, and some without any optional field."""
    yield from RECORDED.items()
    message = {"message_id": 1, "date": 1, "from": USER, "chat": CHAT}
    updates = {name: {"message": message | part} for name, part in CONTENTS.items()}
    updates |= {name: {name: value} for name, value in UPDATES.items()}
    for name, value in updates.items():
        yield name, json.dumps({"update_id": 1} | value).encode()


BODIES = dict(build_bodies())


def parse(body: bytes) -> Update:
    """Parse an update of a bot whose name is known."""
    parser = UpdateParser(bot_id=7400000001)
    parser.bot_username = "marmot_desk_bot"
    return parser.parse(body, 1_790_000_500.0)


def list_messages(update: Update) -> list[Message]:
    """List what a service would get."""
    payload = update.decode_payload()
    return [update.context] if payload is None else [update.context, payload]


def find_empty_fields(message: Message) -> Iterator[str]:
    """Yield the optional fields that are present but empty, at any depth."""
    for field, value in message.ListFields():
        if field.message_type:
            for part in value if field.is_repeated else [value]:
                yield from find_empty_fields(part)
        elif field.has_presence and not field.is_repeated and not value:
            yield field.full_name


@pytest.mark.parametrize("name", BODIES)
def test_no_optional_field_is_present_but_empty(name: str) -> None:
    """A service may ask whether the field is set, and need not compare it too."""
    messages = list_messages(parse(BODIES[name]))
    assert [field for each in messages for field in find_empty_fields(each)] == []


def test_an_empty_field_would_be_found() -> None:
    """Also in a message inside of another one."""
    update = parse(BODIES["unreadable origin"])
    assert isinstance(update, UserMessage)
    update.message.forward_origin.type = ""
    assert list(find_empty_fields(update.message)) == [
        "botgateway.chat.v1.MessageOrigin.type"
    ]


def test_a_field_that_telegram_sends_is_set() -> None:
    names = {"last_name": "B", "username": "anna", "language_code": "de"}
    message = {
        "message_id": 1,
        "date": 1,
        "from": USER | names,
        "chat": CHAT,
        "text": "a",
        "media_group_id": "7",
        "reply_to_message": ANSWERED,
    }
    update = parse(json.dumps({"update_id": 1, "message": message}).encode())
    assert isinstance(update, UserMessage)
    assert update.message.HasField("media_group_id")
    assert update.message.HasField("reply_to_message_id")
    set_fields = {field.name for field, _ in update.context.ListFields()}
    assert set_fields >= {"telegram_user_id", "chat_id", "message_id", *names}
