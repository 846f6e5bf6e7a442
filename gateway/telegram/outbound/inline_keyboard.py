"""Builds the Bot API's inline keyboards from those in replies of services."""

from collections.abc import Callable, Iterator
from typing import Any

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from botgateway.chat.v1.reply_pb2 import (
    BUTTON_STYLE_DANGER,
    BUTTON_STYLE_PRIMARY,
    BUTTON_STYLE_SUCCESS,
    BUTTON_STYLE_UNSPECIFIED,
    ButtonStyle,
    InlineKeyboard,
    InlineKeyboardButton,
    ReplyKeyboard,
    ReplyKeyboardButton,
)

from gateway.domain.reply_limits import MAX_BUTTONS, MAX_CALLBACK_DATA_BYTES
from gateway.telegram.outbound.text_splitting import is_blank
from gateway.telegram.outbound.urls import is_complete_url, parse_url

_STYLES = {
    BUTTON_STYLE_PRIMARY: "primary",
    BUTTON_STYLE_SUCCESS: "success",
    BUTTON_STYLE_DANGER: "danger",
}
"""Bot API, InlineKeyboardButton and KeyboardButton: style. "link" is only for the
buttons of rich messages (RichMessageButton)."""

_MAX_ROW_LENGTH = 8
"""The number of inline buttons that Telegram's apps show in a row; the Bot API does not
document a limit."""

ReportDropped = Callable[[str], None]
"""Called with the code of each dropped part of a reply."""


def build_inline_keyboard(
    keyboard: InlineKeyboard, context: RequestContext, report_dropped: ReportDropped
) -> dict[str, Any]:
    """Build the parameter `reply_markup` for an inline keyboard.

    An invalid button is left out and reported, because Telegram would reject the whole
    message. Rows with more than 8 buttons are split.

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
        rows += [
            row[start : start + _MAX_ROW_LENGTH]
            for start in range(0, len(row), _MAX_ROW_LENGTH)
        ]
    return {"reply_markup": {"inline_keyboard": rows}} if rows else {}


def limit_buttons(
    keyboard: InlineKeyboard | ReplyKeyboard, report_dropped: ReportDropped
) -> Iterator[list[Any]]:
    """Yield the buttons of each row, until there are MAX_BUTTONS in total.

    Args:
        keyboard: the service's keyboard of either kind.
        report_dropped: called with "too_many_buttons" if buttons are left out.
    """
    remaining = MAX_BUTTONS
    if len(keyboard.rows) > remaining:
        report_dropped("too_many_buttons")
    for row in keyboard.rows[:MAX_BUTTONS]:
        if len(row.buttons) > remaining:
            report_dropped("too_many_buttons")
        buttons = list(row.buttons[:remaining])
        remaining -= len(buttons)
        yield buttons


def allows_web_apps(context: RequestContext) -> bool:
    """Return whether buttons that open a web app work in a chat.

    They work in private chats with the bot, not in those of a business account (Bot
    API, InlineKeyboardButton and KeyboardButton: web_app).
    """
    is_private = context.chat_type == CHAT_TYPE_PRIVATE
    return is_private and not context.business_connection_id


def build_style(
    button: InlineKeyboardButton | ReplyKeyboardButton, report_dropped: ReportDropped
) -> dict[str, Any]:
    """Build the parameter `style` of a button.

    Args:
        button: the service's button.
        report_dropped: called with a code if Telegram has no such style.

    Returns:
        The parameter by its name; an empty dict if the service sets no valid style.
    """
    wanted: ButtonStyle.ValueType = button.style
    if wanted == BUTTON_STYLE_UNSPECIFIED:
        return {}
    if wanted not in _STYLES:
        report_dropped("button_style_unsupported")
        return {}
    return {"style": _STYLES[wanted]}


def _find_problem(button: InlineKeyboardButton, context: RequestContext) -> str | None:
    """Return the code of a button's problem, or None if it is valid."""
    if is_blank(button.text):
        return "button_without_text"
    match button.WhichOneof("action"):
        case "callback_data" if button.callback_data:
            # Longer data that the gateway can store has become a short key before.
            too_long = len(button.callback_data.encode()) > MAX_CALLBACK_DATA_BYTES
            return "button_data_too_long" if too_long else None
        case "url" if button.url:
            valid = parse_url(button.url) is not None
            return None if valid else "button_url_invalid"
        case "web_app_url" if button.web_app_url:
            return find_web_app_problem(button.web_app_url, context)
        case "callback_target":
            # A valid target was converted to callback data before.
            return "button_callback_target_invalid"
    return "button_without_action"


def find_web_app_problem(url: str, context: RequestContext) -> str | None:
    """Return the code of the problem of a button that opens a web app.

    Args:
        url: the URL of the web app.
        context: the context with the chat that the button will be shown in.

    Returns:
        The code; None if the button is valid.
    """
    if not allows_web_apps(context):
        return "button_web_app_outside_private_chat"
    return None if is_complete_url(url, "https") else "button_url_invalid"


def _build_button(
    button: InlineKeyboardButton, report_dropped: ReportDropped
) -> dict[str, Any]:
    parameters: dict[str, Any] = {"text": button.text}
    if button.callback_data:
        parameters["callback_data"] = button.callback_data
    elif button.url:
        parameters["url"] = button.url
    else:
        parameters["web_app"] = {"url": button.web_app_url}
    if button.style:
        parameters |= build_style(button, report_dropped)
    if icon := button.icon_custom_emoji_id:
        if icon.isascii() and icon.isdecimal() and int(icon[:20]) < 2**63:
            parameters["icon_custom_emoji_id"] = icon
        else:
            report_dropped("button_icon_invalid")
    return parameters
