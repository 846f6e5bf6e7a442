"""Checks keyboards that replace the user's own, and forced replies.

Some of Telegram's error messages are unknown; the rules follow its documentation.
"""

from gateway.sandbox.simulator.validation.keyboard_rules import (
    KEYBOARD_LIMIT,
    check_button_link,
    check_looks,
)
from gateway.sandbox.simulator.validation.markup import utf16_length
from gateway.sandbox.simulator.validation.rules import (
    Parameters,
    bad_request,
    is_true,
    json_value,
    number,
    strip_spaces,
)

PLACEHOLDER_LIMIT = 64

_KINDS = ("keyboard", "remove_keyboard", "force_reply")
_REQUESTS = {
    "request_contact": "Phone number can be requested in private chats only",
    "request_location": "Location can be requested in private chats only",
}


def reply_markup(parameters: Parameters) -> Parameters | None:
    """Check the reply keyboard, its removal or the forced reply of a call.

    Returns:
        The markup without empty rows; None if there is none, or an inline keyboard.

    Raises:
        ApiError: the markup is invalid.
    """
    markup = json_value(parameters, "reply_markup", "reply keyboard markup")
    if not isinstance(markup, dict) or not any(markup.get(kind) for kind in _KINDS):
        return None
    if "inline_keyboard" in markup:
        return None
    if parameters.get("business_connection_id"):
        raise bad_request("BUSINESS_PEER_INVALID")
    placeholder = str(markup.get("input_field_placeholder", "x"))
    if not 1 <= utf16_length(placeholder) <= PLACEHOLDER_LIMIT:
        raise bad_request("input_field_placeholder must be 1-64 characters long")
    if "keyboard" in markup:
        in_private_chat = number(parameters.get("chat_id")) > 0
        _check_keyboard(markup["keyboard"], in_private_chat=in_private_chat)
        # Telegram omits empty parts, including an empty keyboard.
        shown = [row for row in markup["keyboard"] if row]
        return markup | {"keyboard": shown} if shown else None
    return markup


def _check_keyboard(rows: object, *, in_private_chat: bool) -> None:
    if not isinstance(rows, list):
        raise bad_request('Field "keyboard" must be of type Array')
    if not all(isinstance(row, list) for row in rows):
        raise bad_request('Field "keyboard" must be an Array of Arrays')
    buttons = [button for row in rows for button in row]
    if len(buttons) > KEYBOARD_LIMIT:
        raise bad_request("reply markup is too long")
    for button in buttons:
        if not isinstance(button, str):
            _check_button(button, in_private_chat=in_private_chat)
        elif not strip_spaces(button):
            raise bad_request("Keyboard button text must be non-empty")


def _check_button(button: object, *, in_private_chat: bool) -> None:
    problem = "Can't parse keyboard button: "
    if not isinstance(button, dict):
        raise bad_request(f"{problem}KeyboardButton must be a String or an Object")
    if not isinstance(button.get("text"), str):
        raise bad_request(f'{problem}Can\'t find field "text"')
    if not strip_spaces(button["text"]):
        raise bad_request("Keyboard button text must be non-empty")
    check_looks(button)
    requests = [name for name in _REQUESTS if is_true(button.get(name))]
    if len(requests) + ("web_app" in button) > 1:
        raise bad_request(f"{problem}At most one action must be specified")
    if requests and not in_private_chat:
        raise bad_request(_REQUESTS[requests[0]])
    if "web_app" in button:
        app = button["web_app"]
        url = app.get("url") if isinstance(app, dict) else None
        check_button_link(url, "Keyboard button Web App", https_only=True)
        if not in_private_chat:
            raise bad_request("Web App buttons can be used in private chats only")
