"""Checks inline keyboards, with Telegram's error messages."""

from gateway.sandbox.simulator.validation.links import InvalidLink, check_link
from gateway.sandbox.simulator.validation.rules import (
    Parameters,
    bad_request,
    json_value,
    number,
    strip_spaces,
)

CALLBACK_DATA_BYTES = 64
KEYBOARD_LIMIT = 100
"""Maximum number of buttons; undocumented, but reported by users."""

_ACTIONS = (
    "callback_data",
    "callback_game",
    "copy_text",
    "login_url",
    "pay",
    "switch_inline_query",
    "switch_inline_query_chosen_chat",
    "switch_inline_query_current_chat",
    "url",
    "web_app",
)

STYLES = frozenset({"danger", "primary", "success"})
"""Bot API: InlineKeyboardButton.style."""

_TEXTS = frozenset(
    {
        "callback_data",
        "switch_inline_query",
        "switch_inline_query_current_chat",
        "url",
    }
)
"""The actions with a text as their value."""


def keyboard(parameters: Parameters) -> Parameters:
    """Check the inline keyboard of a call.

    Returns:
        The field `reply_markup` of the message; {} if there is no inline keyboard.

    Raises:
        ApiError: the keyboard is invalid.
    """
    markup = json_value(parameters, "reply_markup", "reply keyboard markup")
    if markup is None:
        return {}
    if not isinstance(markup, dict):
        raise bad_request("Object expected as reply markup")
    rows = markup.get("inline_keyboard", [])
    if not isinstance(rows, list):
        raise bad_request('Field "inline_keyboard" must be of type Array')
    if not all(isinstance(row, list) for row in rows):
        raise bad_request(
            'Field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of '
            "Arrays"
        )
    buttons = [button for row in rows for button in row]
    for button in buttons:
        _check_button(button, private=_takes_web_apps(parameters))
    if len(buttons) > KEYBOARD_LIMIT:
        raise bad_request("reply markup is too long")
    shown = [row for row in rows if row]
    return {"reply_markup": {"inline_keyboard": shown}} if shown else {}


def keyboard_alone(parameters: Parameters) -> Parameters:
    """Check the inline keyboard of an edit, which accepts no other markup.

    Returns:
        The field `reply_markup` of the message; {} if there is none.

    Raises:
        ApiError: the keyboard is invalid, or there is another markup.
    """
    markup = json_value(parameters, "reply_markup", "reply keyboard markup")
    if isinstance(markup, dict) and markup and "inline_keyboard" not in markup:
        raise bad_request("Inline keyboard expected")
    return keyboard(parameters)


def check_looks(button: Parameters) -> None:
    """Check the style and the icon of a button of any keyboard.

    Raises:
        ApiError: one of them is invalid.
    """
    if button.get("style") not in (None, "", *STYLES):
        raise bad_request("Invalid button style specified")
    icon = button.get("icon_custom_emoji_id", "0")
    if not isinstance(icon, str) or not (icon.isascii() and icon.isdecimal()):
        raise bad_request("Invalid custom emoji identifier specified")


def check_button_link(link: object, title: str, *, https_only: bool = False) -> None:
    """Check the link of a button of any keyboard.

    Args:
        link: the link.
        title: the name of the button in the error message.
        https_only: True to reject all other schemes.

    Raises:
        ApiError: the link is invalid.
    """
    try:
        check_link(link if isinstance(link, str) else "", https_only=https_only)
    except InvalidLink as fault:
        raise bad_request(f"{title} URL '{link}' is invalid: {fault}") from None


def _check_button(button: object, *, private: bool) -> None:
    problem = "Can't parse inline keyboard button: "
    if not isinstance(button, dict):
        raise bad_request(f"{problem}InlineKeyboardButton must be an Object")
    if not isinstance(button.get("text"), str):
        raise bad_request(f'{problem}Can\'t find field "text"')
    actions = [name for name in _ACTIONS if button.get(name) not in (None, "")]
    if not actions:
        raise bad_request(f"{problem}Text buttons are unallowed in the inline keyboard")
    if len(actions) > 1:
        raise bad_request(f"{problem}Exactly one action must be specified")
    if not strip_spaces(button["text"]):
        raise bad_request("Inline keyboard button text must be non-empty")
    check_looks(button)
    _check_action(actions[0], button[actions[0]], private=private)


def _takes_web_apps(parameters: Parameters) -> bool:
    """Bot API, InlineKeyboardButton: web_app. An inline message is in any chat."""
    is_private = number(parameters.get("chat_id")) > 0
    return is_private and not parameters.get("business_connection_id")


def _check_action(name: str, value: object, *, private: bool) -> None:
    if name in _TEXTS and not isinstance(value, str):
        raise bad_request(
            "Can't parse inline keyboard button: "
            f'Field "{name}" must be of type String'
        )
    if name == "callback_data" and len(str(value).encode()) > CALLBACK_DATA_BYTES:
        raise bad_request("BUTTON_DATA_INVALID")
    if name == "url":
        check_button_link(value, "Inline keyboard button")
    if name == "web_app":
        url = value.get("url") if isinstance(value, dict) else None
        check_button_link(url, "Inline keyboard button Web App", https_only=True)
        if not private:
            raise bad_request("BUTTON_TYPE_INVALID")
