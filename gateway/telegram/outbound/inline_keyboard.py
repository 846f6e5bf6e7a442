"""Inline keyboards: from the contract to the Bot API."""

from collections.abc import Callable, Iterator
from typing import Any

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from botgateway.chat.v1.reply_pb2 import (
    BUTTON_STYLE_DANGER,
    BUTTON_STYLE_PRIMARY,
    BUTTON_STYLE_SUCCESS,
    BUTTON_STYLE_UNSPECIFIED,
    Button,
    ButtonStyle,
    InlineKeyboard,
    ReplyButton,
    ReplyKeyboard,
)

from gateway.domain.reply_limits import MAX_BUTTONS
from gateway.telegram.outbound.text_splitting import is_blank
from gateway.telegram.outbound.urls import is_complete_url, parse_url

_MAX_CALLBACK_DATA_BYTES = 64
"""Bot API, InlineKeyboardButton: callback_data. What is longer and can be kept has a
short key in its place already."""

_STYLES = {
    BUTTON_STYLE_PRIMARY: "primary",
    BUTTON_STYLE_SUCCESS: "success",
    BUTTON_STYLE_DANGER: "danger",
}
"""Bot API, InlineKeyboardButton and KeyboardButton: style. "link" is only for the
buttons of rich messages (RichMessageButton)."""

_MAX_ROW_LENGTH = 8
"""Telegram's apps show so many inline buttons in a row; it names no limit itself."""

ReportDropped = Callable[[str], None]


def build_inline_keyboard(
    keyboard: InlineKeyboard, context: RequestContext, report_dropped: ReportDropped
) -> dict[str, Any]:
    """Give the parameter `reply_markup`; nothing if no button is left.

    One bad button would make Telegram refuse the whole message: it is left out.

    Args:
        keyboard: what the service wants.
        context: where it will be shown.
        report_dropped: called with the fault of each button that is left out.
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
    """Give the buttons of each row, as long as there are not too many of them."""
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
    """Tell whether a button may open a web app there.

    Bot API, InlineKeyboardButton and KeyboardButton: web_app.
    """
    is_private = context.chat_type == CHAT_TYPE_PRIVATE
    return is_private and not context.business_connection_id


def build_style(
    button: Button | ReplyButton, report_dropped: ReportDropped
) -> dict[str, Any]:
    """Give what a button looks like; nothing where it is left to the app."""
    wanted: ButtonStyle.ValueType = button.style
    if wanted == BUTTON_STYLE_UNSPECIFIED:
        return {}
    if wanted not in _STYLES:
        report_dropped("button_style_unsupported")
        return {}
    return {"style": _STYLES[wanted]}


def _find_problem(button: Button, context: RequestContext) -> str:
    """Say in a word why Telegram would refuse the button. Empty: it is fine."""
    if is_blank(button.text):
        return "button_without_text"
    match button.WhichOneof("action"):
        case "callback_data" if button.callback_data:
            too_long = len(button.callback_data.encode()) > _MAX_CALLBACK_DATA_BYTES
            return "button_data_too_long" if too_long else ""
        case "url" if button.url:
            valid = parse_url(button.url) is not None
            return "" if valid else "button_url_invalid"
        case "web_app_url" if button.web_app_url:
            return find_web_app_problem(button.web_app_url, context)
        case "route":
            # One that names an rpc which can be called is callback data by now.
            return "button_route_invalid"
    return "button_without_action"


def find_web_app_problem(url: str, context: RequestContext) -> str:
    """Say in a word why a button cannot open a web app. Empty: it can."""
    if not allows_web_apps(context):
        return "button_web_app_outside_private_chat"
    return "" if is_complete_url(url, "https") else "button_url_invalid"


def _build_button(button: Button, report_dropped: ReportDropped) -> dict[str, Any]:
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
