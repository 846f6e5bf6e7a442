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
from gateway.telegram.outbound.text_splitting import blank
from gateway.telegram.outbound.urls import is_address, read_address

_DATA_BYTES = 64
"""Bot API, InlineKeyboardButton: callback_data. What is longer and can be kept has a
short key in its place already."""

_STYLES = {
    BUTTON_STYLE_PRIMARY: "primary",
    BUTTON_STYLE_SUCCESS: "success",
    BUTTON_STYLE_DANGER: "danger",
}
"""Bot API, InlineKeyboardButton and KeyboardButton: style. "link" is only for the
buttons of rich messages (RichMessageButton)."""

_ROW_LENGTH = 8
"""Telegram's apps show so many inline buttons in a row; it names no limit itself."""

Report = Callable[[str], None]


def inline_keyboard(
    keyboard: InlineKeyboard, context: RequestContext, report: Report
) -> dict[str, Any]:
    """Give the parameter `reply_markup`; nothing if no button is left.

    One bad button would make Telegram refuse the whole message: it is left out.

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
        rows += [
            row[start : start + _ROW_LENGTH]
            for start in range(0, len(row), _ROW_LENGTH)
        ]
    return {"reply_markup": {"inline_keyboard": rows}} if rows else {}


def bounded(
    keyboard: InlineKeyboard | ReplyKeyboard, report: Report
) -> Iterator[list[Any]]:
    """Give the buttons of each row, as long as there are not too many of them."""
    left = MAX_BUTTONS
    if len(keyboard.rows) > left:
        report("too_many_buttons")
    for row in keyboard.rows[:MAX_BUTTONS]:
        if len(row.buttons) > left:
            report("too_many_buttons")
        buttons = list(row.buttons[:left])
        left -= len(buttons)
        yield buttons


def takes_web_apps(context: RequestContext) -> bool:
    """Tell whether a button may open a web app there.

    Bot API, InlineKeyboardButton and KeyboardButton: web_app.
    """
    private = context.chat_type == CHAT_TYPE_PRIVATE
    return private and not context.business_connection_id


def style(button: Button | ReplyButton, report: Report) -> dict[str, Any]:
    """Give what a button looks like; nothing where it is left to the app."""
    wanted: ButtonStyle.ValueType = button.style
    if wanted == BUTTON_STYLE_UNSPECIFIED:
        return {}
    if wanted not in _STYLES:
        report("button_style_unsupported")
        return {}
    return {"style": _STYLES[wanted]}


def _fault(button: Button, context: RequestContext) -> str:
    """Say in a word why Telegram would refuse the button. Empty: it is fine."""
    if blank(button.text):
        return "button_without_text"
    match button.WhichOneof("action"):
        case "callback_data" if button.callback_data:
            too_long = len(button.callback_data.encode()) > _DATA_BYTES
            return "button_data_too_long" if too_long else ""
        case "url" if button.url:
            valid = read_address(button.url) is not None
            return "" if valid else "button_url_invalid"
        case "web_app_url" if button.web_app_url:
            return web_app_fault(button.web_app_url, context)
        case "route":
            # One that names an rpc which can be called is callback data by now.
            return "button_route_invalid"
    return "button_without_action"


def web_app_fault(url: str, context: RequestContext) -> str:
    """Say in a word why a button cannot open a web app. Empty: it can."""
    if not takes_web_apps(context):
        return "button_web_app_outside_private_chat"
    return "" if is_address(url, "https") else "button_url_invalid"


def _button(button: Button, report: Report) -> dict[str, Any]:
    shown: dict[str, Any] = {"text": button.text}
    if button.callback_data:
        shown["callback_data"] = button.callback_data
    elif button.url:
        shown["url"] = button.url
    else:
        shown["web_app"] = {"url": button.web_app_url}
    if button.style:
        shown |= style(button, report)
    if icon := button.icon_custom_emoji_id:
        if icon.isascii() and icon.isdecimal() and int(icon[:20]) < 2**63:
            shown["icon_custom_emoji_id"] = icon
        else:
            report("button_icon_invalid")
    return shown
