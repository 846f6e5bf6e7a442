"""Replies, and what becomes of them when they are rendered."""

from typing import Any

from botgateway.chat.v1.context_pb2 import (
    CHAT_TYPE_PRIVATE,
    ChatType,
)
from botgateway.chat.v1.reply_pb2 import (
    CallbackAnswer,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    Media,
    MediaType,
    OutgoingMessage,
    Reply,
)
from hypothesis import strategies as st

from gateway.domain.update import ButtonPress, Update, UserMessage
from gateway.telegram.outbound.renderer import render
from tests.factories import build_update

CHAT = 4711

PRESSED = {"chat_id": CHAT, "message_id": 12}

OK_BUTTON = InlineKeyboardButton(text="Yes", callback_data="ACCEPT:1")

OK_MARKUP = {"inline_keyboard": [[{"text": "Yes", "callback_data": "ACCEPT:1"}]]}


def build_message_update(
    chat_id: int = CHAT,
    topic: int = 0,
    **fields: Any,  # noqa: ANN401 - any field
) -> UserMessage:
    """Build a message in a private chat."""
    origin: dict[str, Any] = {"chat_id": chat_id, "chat_type": CHAT_TYPE_PRIVATE}
    return build_update(UserMessage, **origin | {"message_thread_id": topic} | fields)


def build_press(
    topic: int = 0, chat_type: "ChatType.ValueType" = CHAT_TYPE_PRIVATE
) -> ButtonPress:
    """Build the press of a button under message 12 of the bot."""
    return build_update(
        ButtonPress,
        chat_id=CHAT,
        chat_type=chat_type,
        message_thread_id=topic,
        message_id=12,
    )


def keyboard(*buttons: InlineKeyboardButton) -> InlineKeyboard:
    """Make a keyboard with one button a row."""
    return InlineKeyboard(
        rows=[InlineKeyboardRow(buttons=[button]) for button in buttons]
    )


def composed(
    update: Update, *messages: OutgoingMessage, answer: CallbackAnswer | None = None
) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Compose a reply; give methods with parameters, and what was reported."""
    reported: list[str] = []
    calls = render(
        update, Reply(messages=messages, callback_answer=answer), reported.append
    )
    return [(call.method, call.parameters) for call in calls], reported


BUTTONS = st.builds(
    InlineKeyboardButton,
    text=st.text(max_size=5),
    callback_data=st.none() | st.text(max_size=70),
) | st.sampled_from(
    [
        OK_BUTTON,
        InlineKeyboardButton(text="Go", url="https://example.com"),
        InlineKeyboardButton(text="Go", url=""),
    ]
)

KEYBOARDS = st.none() | st.builds(
    InlineKeyboard,
    rows=st.lists(
        st.builds(InlineKeyboardRow, buttons=st.lists(BUTTONS, max_size=3)), max_size=3
    ),
)

MEDIA = st.lists(
    st.builds(
        Media,
        type=st.sampled_from(MediaType.values()),
        file_id=st.none() | st.sampled_from(["", "AgAD"]),
    ),
    max_size=2,
)
