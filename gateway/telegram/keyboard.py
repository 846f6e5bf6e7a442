"""Inline keyboards: from the contract to the Bot API."""

from collections.abc import Callable
from typing import Any

from botgateway.chat.v1.context_pb2 import (
    CHAT_TYPE_CHANNEL,
    CHAT_TYPE_GROUP,
    CHAT_TYPE_SUPERGROUP,
    ChatType,
)
from botgateway.chat.v1.reply_pb2 import Button, InlineKeyboard

from gateway.telegram.text import blank

MOST_BUTTONS = 100
"""Of one keyboard. Telegram takes about as many; a service may send any number."""

_DATA_BYTES = 64
"""Bot API, InlineKeyboardButton: callback_data."""

_SHARED_CHATS = {CHAT_TYPE_GROUP, CHAT_TYPE_SUPERGROUP, CHAT_TYPE_CHANNEL}


def inline_keyboard(
    keyboard: InlineKeyboard,
    chat_type: "ChatType.ValueType",
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Give the parameter `reply_markup`; nothing if no button is left.

    One bad button would make Telegram refuse the whole message: it is left out.

    Args:
        keyboard: what the service wants.
        chat_type: where it will be shown.
        report: called with the fault of each button that is left out.
    """
    rows = []
    left = MOST_BUTTONS
    if len(keyboard.rows) > left:
        report("too_many_buttons")
    for row in keyboard.rows[:MOST_BUTTONS]:
        buttons = []
        if len(row.buttons) > left:
            report("too_many_buttons")
        for button in row.buttons[:left]:
            left -= 1
            if fault := _fault(button, chat_type):
                report(fault)
            else:
                buttons.append(_button(button))
        if buttons:
            rows.append(buttons)
    return {"reply_markup": {"inline_keyboard": rows}} if rows else {}


def _fault(button: Button, chat_type: "ChatType.ValueType") -> str:
    """Say in a word why Telegram would refuse the button. Empty: it is fine."""
    if blank(button.text):
        return "button_without_text"
    action = button.WhichOneof("action")
    if action is None or not getattr(button, action):
        return "button_without_action"
    if action == "callback_data" and len(button.callback_data.encode()) > _DATA_BYTES:
        return "button_data_too_long"
    # Bot API, InlineKeyboardButton: web_app.
    if action == "web_app_url" and chat_type in _SHARED_CHATS:
        return "button_web_app_outside_private_chat"
    return ""


def _button(button: Button) -> dict[str, Any]:
    if button.callback_data:
        return {"text": button.text, "callback_data": button.callback_data}
    if button.url:
        return {"text": button.text, "url": button.url}
    return {"text": button.text, "web_app": {"url": button.web_app_url}}
