"""Checks answers to queries, mostly with Telegram's error messages.

The structure of inline results is checked by the Bot API server (Client.cpp:
get_inline_query_result) and by TDLib (InlineQueriesManager.cpp), their content by
Telegram's servers, whose error messages are in the documentation of
messages.setInlineBotResults.
"""

import re
from collections.abc import Callable

from gateway.sandbox.simulator.validation import keyboard_rules, text_rules
from gateway.sandbox.simulator.validation.rules import (
    ApiError,
    Parameters,
    bad_request,
    is_true,
    is_url,
    json_value,
    strip_spaces,
)

RESULTS_LIMIT = 50
_ID_BYTES = 64
_START_PARAMETER_BYTES = 64

_REQUIRED = {
    "article": ("title",),
    "audio": (),
    "contact": ("phone_number", "first_name"),
    "document": ("title",),
    "game": ("game_short_name",),
    "gif": (),
    "location": ("latitude", "longitude", "title"),
    "mpeg4_gif": (),
    "photo": (),
    "sticker": ("sticker_file_id",),
    "venue": ("latitude", "longitude", "title", "address"),
    "video": ("title",),
    "voice": ("title",),
}
"""The types of results, and their required fields."""
_NUMBERS = frozenset({"latitude", "longitude"})
_FILES = frozenset({"audio", "document", "gif", "mpeg4_gif", "photo", "video", "voice"})
"""The types with a file on Telegram's servers or at a URL."""
_BESIDE_ADDRESS = {"audio": ("title",), "document": ("mime_type",)} | {
    "video": ("mime_type",)
}
"""The fields that are only required for files at a URL."""
_MIME_TYPES = {
    "document": ("application/pdf", "application/zip"),
    "video": ("video/mp4", "text/html"),
}
_PICTURED = frozenset({"gif", "mpeg4_gif", "photo", "video"})
"""The types that have a thumbnail if their file is at a URL."""
_TITLED = {
    "article": "ARTICLE_TITLE_EMPTY",
    "audio": "AUDIO_TITLE_EMPTY",
    "document": "FILE_TITLE_EMPTY",
    "video": "VIDEO_TITLE_EMPTY",
}
"""Telegram's error messages for an empty title."""

_CONTENTS = (
    (
        {"latitude", "longitude", "title", "address"},
        ("latitude", "longitude", "title", "address"),
    ),
    ({"latitude", "longitude"}, ("latitude", "longitude")),
    ({"phone_number"}, ("phone_number", "first_name")),
    ({"payload"}, ("title", "description", "payload", "currency", "prices")),
)
"""The content that can replace a result, other than text: the fields that identify it
for the server, and its required fields."""

_PARSING = (
    "Can't ",
    "Field ",
    "Inline query result must",
    "Input ",
    "Message text is empty",
    "Object expected",
    "Text is too long",
    "There must be",
    "Unsupported parse_mode",
    "type ",
)
"""The prefix of errors that the server finds while it parses the results."""


def results(parameters: Parameters) -> None:
    """Check the answer to an inline query; missing results count as an empty list.

    Raises:
        ApiError: Telegram would not accept the results.
    """
    _check_button(parameters)
    given = json_value(parameters, "results", "JSON encoded inline query results")
    if given is None:
        return
    if not isinstance(given, list):
        raise bad_request("Expected an Array of inline query results")
    if len(given) > RESULTS_LIMIT:
        raise bad_request("Too many inline query results specified")
    seen = [_one_of_many(each) for each in given]
    if len(set(seen)) < len(seen):
        raise bad_request("RESULT_ID_DUPLICATE")
    if len(str(parameters.get("next_offset", "")).encode()) > _ID_BYTES:
        raise bad_request("NEXT_OFFSET_INVALID")


def _one_of_many(given: object) -> str:
    """Check one of several results, with Telegram's error prefix; return its id.

    They differ where the server finds the fault, and not Telegram behind it.
    """
    try:
        _check_shape(given)
    except ApiError as fault:
        if not fault.reason.startswith(_PARSING):
            raise
        raise bad_request(f"Can't parse inline query result: {fault.reason}") from None
    return result(given)


def guest_result(parameters: Parameters) -> None:
    """Check the result that answers a guest's message.

    Raises:
        ApiError: there is no result, or Telegram would not accept it.
    """
    given = json_value(parameters, "result", "JSON encoded web view query results")
    if given is None:
        raise bad_request("Result isn't specified")
    result(given)


def result(given: object) -> str:
    """Check one inline result, and return its id.

    Raises:
        ApiError: Telegram would not accept the result.
    """
    checked, content = _check_shape(given)
    _check_values(checked, content=content)
    result_id = str(checked["id"])
    if not 1 <= len(result_id.encode()) <= _ID_BYTES:
        raise bad_request("RESULT_ID_INVALID")
    return result_id


def _check_shape(given: object) -> tuple[Parameters, bool]:
    """Check the required fields; return whether other content replaces the result."""
    if not isinstance(given, dict):
        raise bad_request("Inline query result must be an object")
    kind = _string(given, "type").lower()
    _string(given, "id")
    content = _check_content(given, required=kind == "article")
    text_rules.caption(given)
    if not isinstance(given.get("reply_markup", {}), dict):
        raise bad_request('Field "reply_markup" must be of type Object')
    # Wherever it is shown: web apps are for private chats.
    keyboard_rules.keyboard(given | {"chat_id": -1})
    if kind not in _REQUIRED:
        raise bad_request(f'type "{kind}" is unsupported for the inline query result')
    for name in _REQUIRED[kind]:
        (_number if name in _NUMBERS else _string)(given, name)
    if kind in _FILES:
        _check_file(kind, given)
    return given, content


def _check_content(given: Parameters, *, required: bool) -> bool:
    """Check the content that replaces the result; return False if there is none."""
    content = given.get("input_message_content")
    if content is None:
        # Before this field was introduced, the text was part of the result.
        text = _string(given, "message_text") if required else ""
        content = {"message_text": text or given.get("message_text")}
    elif not isinstance(content, dict):
        raise bad_request('Field "input_message_content" must be of type Object')
    if content.get("message_text") or (required and "message_text" in given):
        text_rules.text(content | {"text": content["message_text"]})
        return True
    for marks, fields in _CONTENTS:
        if content.keys() >= marks:
            for name in fields:
                _check_field(content, name)
            return True
    if required:
        raise bad_request("Input message content is not specified")
    return False


def _check_field(content: Parameters, name: str) -> None:
    if name in _NUMBERS:
        _number(content, name)
    elif name == "prices":
        _check_prices(content.get(name))
    else:
        _string(content, name)


def _check_prices(given: object) -> None:
    """Check the prices of an invoice or of a shipping option."""
    _check_each(given, _check_price, "labeled price")
    if not given:
        raise bad_request("There must be at least one price")


def _check_each(given: object, check: Callable[[object], None], name: str) -> None:
    """Check that a value is a list, and check each of its items.

    Args:
        given: the value.
        check: raises an error for an invalid item.
        name: the name of an item for the error message.
    """
    if not isinstance(given, list):
        raise bad_request(f"Expected an Array of {name}s")
    for item in given:
        try:
            check(item)
        except ApiError as fault:
            raise bad_request(f"Can't parse {name}: {fault.reason}") from None


def _check_price(price: object) -> None:
    if not isinstance(price, dict):
        raise bad_request("LabeledPrice must be an Object")
    if not _string(price, "label"):
        raise bad_request("LabeledPrice label must be non-empty")
    amount = price.get("amount")
    if amount is None:
        raise bad_request('Can\'t find field "amount"')
    if type(amount) not in {int, str}:
        raise bad_request('Field "amount" must be a Number')


def _check_file(kind: str, given: Parameters) -> None:
    stem = kind.removesuffix("_gif")
    address = given.get(f"{stem}_url")
    if not address:
        _string(given, f"{stem}_file_id")
        return
    for name in _BESIDE_ADDRESS.get(kind, ()):
        _string(given, name)


def _check_address(kind: str, given: Parameters) -> None:
    address = given.get(f"{kind.removesuffix('_gif')}_url")
    if kind not in _FILES or not address:
        return
    allowed = _MIME_TYPES.get(kind)
    if allowed and not str(given["mime_type"]).startswith(allowed):
        raise bad_request(f"Unallowed {kind} MIME type")
    thumbnail = given.get("thumbnail_url") or given.get("thumb_url")
    if kind in _PICTURED and not thumbnail:
        raise bad_request(
            "PHOTO_THUMB_URL_EMPTY" if kind == "photo" else "WEBDOCUMENT_URL_EMPTY"
        )
    if not is_url(address):
        raise bad_request("WEBDOCUMENT_URL_INVALID")


def _check_values(given: Parameters, *, content: bool) -> None:
    """Check that required values are not empty, and check URLs."""
    kind = str(given["type"]).lower()
    _check_address(kind, given)
    if kind == "contact":
        for name, words in (
            ("phone_number", "contain a valid phone number"),
            ("first_name", "be non-empty"),
        ):
            if not strip_spaces(str(given[name])):
                raise bad_request(f'Field "{name}" must {words}')
    if kind == "sticker" and "." in str(given["sticker_file_id"]):
        raise bad_request("Wrong sticker_file_id specified")
    if kind in _TITLED and "title" in given and not strip_spaces(str(given["title"])):
        raise bad_request(_TITLED[kind])
    if (
        kind == "video"
        and str(given.get("mime_type", "")).startswith("text/html")
        and not content
    ):
        # Bot API, InlineQueryResultVideo: input_message_content.
        raise bad_request("SEND_MESSAGE_MEDIA_INVALID")
    if not is_url(given.get("thumbnail_url", "http://a.b")):
        raise bad_request("WEBDOCUMENT_URL_INVALID")


def _check_button(parameters: Parameters) -> None:
    """Check the button above the results."""
    button = json_value(parameters, "button", "inline query results button")
    if button is None:
        return
    try:
        name, value = _read_button(button)
    except ApiError as fault:
        problem = "Can't parse inline query results button"
        raise bad_request(f"{problem}: {fault.reason}") from None
    if name == "web_app":
        title = "Inline query button Web App"
        keyboard_rules.check_button_link(value, title, https_only=True)
    elif not value:
        raise bad_request("Can't use empty start_parameter")
    elif len(value) > _START_PARAMETER_BYTES:
        raise bad_request("Too long start_parameter specified")
    elif not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        raise bad_request("Unallowed characters in start_parameter are used")


def _read_button(button: object) -> tuple[str, str]:
    """Return the action of the button above the results, and its value."""
    if not isinstance(button, dict):
        raise bad_request("InlineQueryResultsButton must be an Object")
    _string(button, "text")
    if "start_parameter" in button:
        return "start_parameter", _string(button, "start_parameter")
    if "web_app" not in button:
        raise bad_request(
            "InlineQueryResultsButton must have exactly one optional field"
        )
    if not isinstance(button["web_app"], dict):
        raise bad_request('Field "web_app" must be of type Object')
    return "web_app", _string(button["web_app"], "url")


def pre_checkout(parameters: Parameters) -> None:
    """Check the answer to a pre-checkout query.

    Raises:
        ApiError: a refusal has no reason for the user.
    """
    if not is_true(parameters.get("ok")):
        _required(parameters, "error_message")


def shipping(parameters: Parameters) -> None:
    """Check the answer to a shipping query: its options, or the reason of a refusal.

    Raises:
        ApiError: the options are missing or invalid, or the reason is missing.
    """
    if not is_true(parameters.get("ok")):
        _required(parameters, "error_message")
        return
    _required(parameters, "shipping_options")
    options = json_value(parameters, "shipping_options", "shipping options")
    _check_each(options, _check_option, "shipping option")
    if not options:
        raise bad_request("There must be at least one shipping option")


def _check_option(option: object) -> None:
    if not isinstance(option, dict):
        raise bad_request("ShippingOption must be an Object")
    for name, title in (("id", "identifier"), ("title", "title")):
        if not _string(option, name):
            raise bad_request(f"ShippingOption {title} must be non-empty")
    if option.get("prices") is None:
        raise bad_request('Can\'t find field "prices"')
    if not isinstance(option["prices"], list):
        raise bad_request('Field "prices" must be of type Array')
    try:
        _check_prices(option["prices"])
    except ApiError as fault:
        raise bad_request(
            f"Can't parse shipping option prices: {fault.reason}"
        ) from None


def join(parameters: Parameters) -> None:
    """Check the decision on a request to join.

    Raises:
        ApiError: the decision is none of Telegram's.
    """
    if parameters.get("result") not in {"approve", "decline", "queue"}:
        raise bad_request("Wrong query result specified")


def _required(parameters: Parameters, name: str) -> None:
    if parameters.get(name) in (None, ""):
        raise bad_request(f'Parameter "{name}" is required')


def _string(given: Parameters, name: str) -> str:
    """Return a required field; the server also accepts numbers as texts."""
    value = given.get(name)
    if value is None:
        raise bad_request(f'Can\'t find field "{name}"')
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise bad_request(f'Field "{name}" must be of type String')
    return str(value)


def _number(given: Parameters, name: str) -> None:
    value = given.get(name)
    if value is None:
        raise bad_request(f'Can\'t find field "{name}"')
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad_request(f'Field "{name}" must be of type Number')
