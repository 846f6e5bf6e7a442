"""Builds keyboards that replace the user's own, and messages that force a reply."""

from typing import Any

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from botgateway.chat.v1.reply_pb2 import ForceReply, ReplyKeyboard, ReplyKeyboardButton

from gateway.telegram.outbound.inline_keyboard import (
    ReportDropped,
    build_style,
    find_web_app_problem,
    limit_buttons,
)
from gateway.telegram.outbound.text_splitting import (
    count_utf16_units,
    is_blank,
    truncate,
)

MAX_PLACEHOLDER_LENGTH = 64
"""Bot API, ReplyKeyboardMarkup and ForceReply: input_field_placeholder."""

KEYBOARD_REMOVAL = {"reply_markup": {"remove_keyboard": True}}


def build_reply_keyboard(
    keyboard: ReplyKeyboard, context: RequestContext, report_dropped: ReportDropped
) -> dict[str, Any]:
    """Build the parameter `reply_markup` for a keyboard in place of the user's own.

    Invalid buttons are left out and reported.

    Args:
        keyboard: the service's keyboard.
        context: the context with the chat that the keyboard will be shown in.
        report_dropped: called with the code of each dropped part.

    Returns:
        The parameter by its name; an empty dict if no button is left.
    """
    rows = []
    for buttons in limit_buttons(keyboard, report_dropped):
        row = []
        for button in buttons:
            if problem := _find_problem(button, context):
                report_dropped(problem)
            else:
                row.append(_build_button(button, report_dropped))
        if row:
            rows.append(row)
    if not rows:
        report_dropped("reply_keyboard_empty")
        return {}
    # Without resizing, a single row is as high as the system keyboard.
    markup: dict[str, Any] = {"keyboard": rows, "resize_keyboard": True}
    if keyboard.is_persistent:
        markup["is_persistent"] = True
    if keyboard.one_time_keyboard:
        markup["one_time_keyboard"] = True
    return {"reply_markup": markup | _build_input_options(keyboard, report_dropped)}


def build_force_reply(
    force: ForceReply, report_dropped: ReportDropped
) -> dict[str, Any]:
    """Build the parameter `reply_markup` that makes the user's app start a reply.

    Args:
        force: what the service wants, such as a placeholder in the input field.
        report_dropped: called with a code if the placeholder is cut.
    """
    return {
        "reply_markup": {
            "force_reply": True,
            **_build_input_options(force, report_dropped),
        }
    }


def _build_input_options(
    wanted: ReplyKeyboard | ForceReply, report_dropped: ReportDropped
) -> dict[str, Any]:
    """Build the parameters that keyboards and forced replies have in common."""
    input_options: dict[str, Any] = {}
    placeholder = wanted.input_field_placeholder
    if not is_blank(placeholder):
        if count_utf16_units(placeholder) > MAX_PLACEHOLDER_LENGTH:
            report_dropped("placeholder_too_long")
            placeholder = truncate(placeholder, MAX_PLACEHOLDER_LENGTH)
        input_options["input_field_placeholder"] = placeholder
    if wanted.selective:
        input_options["selective"] = True
    return input_options


def _find_problem(button: ReplyKeyboardButton, context: RequestContext) -> str | None:
    """Return the code of a button's problem, or None if it is valid."""
    if is_blank(button.text):
        return "button_without_text"
    if button.WhichOneof("action") == "web_app_url":
        return find_web_app_problem(button.web_app_url, context)
    requests_data = button.request_contact or button.request_location
    if requests_data and context.chat_type != CHAT_TYPE_PRIVATE:
        return "button_request_outside_private_chat"
    return None


def _build_button(
    button: ReplyKeyboardButton, report_dropped: ReportDropped
) -> dict[str, Any]:
    parameters: dict[str, Any] = {"text": button.text}
    if button.request_contact:
        parameters["request_contact"] = True
    elif button.request_location:
        parameters["request_location"] = True
    elif button.web_app_url:
        parameters["web_app"] = {"url": button.web_app_url}
    return parameters | build_style(button, report_dropped)
