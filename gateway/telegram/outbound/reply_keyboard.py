"""Keyboards in the place of the letters, and what else waits for a user's text."""

from typing import Any

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from botgateway.chat.v1.reply_pb2 import ForceReply, ReplyButton, ReplyKeyboard

from gateway.telegram.outbound.inline_keyboard import (
    Report,
    bounded,
    style,
    web_app_fault,
)
from gateway.telegram.outbound.text_splitting import blank, shorten, units

PLACEHOLDER_LIMIT = 64
"""Bot API, ReplyKeyboardMarkup and ForceReply: input_field_placeholder."""

REMOVED = {"reply_markup": {"remove_keyboard": True}}


def reply_keyboard(
    keyboard: ReplyKeyboard, context: RequestContext, report: Report
) -> dict[str, Any]:
    """Give the parameter `reply_markup`; nothing if no button is left.

    Args:
        keyboard: what the service wants.
        context: where it will be shown.
        report: called with the fault of each button that is left out.
    """
    rows = []
    for buttons in bounded(keyboard, report):
        row = []
        for button in buttons:
            if fault := _fault(button, context):
                report(fault)
            else:
                row.append(_button(button, report))
        if row:
            rows.append(row)
    if not rows:
        report("reply_keyboard_empty")
        return {}
    # Otherwise a single row is as high as all the letters.
    markup: dict[str, Any] = {"keyboard": rows, "resize_keyboard": True}
    if keyboard.persistent:
        markup["is_persistent"] = True
    if keyboard.one_time:
        markup["one_time_keyboard"] = True
    return {"reply_markup": markup | _waiting(keyboard, report)}


def forced_reply(force: ForceReply, report: Report) -> dict[str, Any]:
    """Give the parameter `reply_markup` that makes the user's app answer."""
    return {"reply_markup": {"force_reply": True, **_waiting(force, report)}}


def _waiting(wanted: ReplyKeyboard | ForceReply, report: Report) -> dict[str, Any]:
    """Give what keyboards and forced replies have in common."""
    common: dict[str, Any] = {}
    placeholder = wanted.placeholder
    if not blank(placeholder):
        if units(placeholder) > PLACEHOLDER_LIMIT:
            report("placeholder_too_long")
            placeholder = shorten(placeholder, PLACEHOLDER_LIMIT)
        common["input_field_placeholder"] = placeholder
    if wanted.selective:
        common["selective"] = True
    return common


def _fault(button: ReplyButton, context: RequestContext) -> str:
    """Say in a word why Telegram would refuse the button. Empty: it is fine."""
    if blank(button.text):
        return "button_without_text"
    if button.WhichOneof("action") == "web_app_url":
        return web_app_fault(button.web_app_url, context)
    asks = button.request_contact or button.request_location
    if asks and context.chat_type != CHAT_TYPE_PRIVATE:
        return "button_request_outside_private_chat"
    return ""


def _button(button: ReplyButton, report: Report) -> dict[str, Any]:
    shown: dict[str, Any] = {"text": button.text}
    if button.request_contact:
        shown["request_contact"] = True
    elif button.request_location:
        shown["request_location"] = True
    elif button.web_app_url:
        shown["web_app"] = {"url": button.web_app_url}
    return shown | style(button, report)
