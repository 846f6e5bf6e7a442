"""What the Bot API refuses of the answers to queries, mostly in Telegram's words."""

from gateway.sandbox import keyboard_rules, text_rules
from gateway.sandbox.rules import Parameters, bad, is_true, is_url, json_value

RESULTS_LIMIT = 50
_ID_BYTES = 64
_RESULT = "Can't parse inline query result: "
_SHIPPING = "Can't parse shipping option: "

_NEEDED = {
    "article": (),
    "photo": ("photo_url", "thumbnail_url"),
    "document": ("document_url", "title", "mime_type"),
    "voice": ("voice_url", "title"),
    "audio": ("audio_url", "title"),
    "video": ("video_url", "title", "mime_type", "thumbnail_url"),
    "mpeg4_gif": ("mpeg4_url", "thumbnail_url"),
    "gif": ("gif_url", "thumbnail_url"),
    "sticker": (),
}
"""What results of each type need that are not on Telegram's servers."""
_TITLED = frozenset({"document", "voice", "video"})
"""Types that need a title also if they are."""
_MIME_TYPES = {
    "document": {"application/pdf", "application/zip"},
    "video": {"text/html", "video/mp4"},
}


def results(parameters: Parameters) -> None:
    """Check the results of an inline query."""
    given = json_value(parameters, "results", "inline query results")
    if not isinstance(given, list):
        raise bad("Expected an Array of inline query results")
    if len(given) > RESULTS_LIMIT:
        raise bad("RESULTS_TOO_MUCH")
    seen = [result(each) for each in given]
    if len(set(seen)) < len(seen):
        raise bad("RESULT_ID_DUPLICATE")
    if len(str(parameters.get("next_offset", "")).encode()) > _ID_BYTES:
        raise bad("NEXT_OFFSET_INVALID")


def guest_result(parameters: Parameters) -> None:
    """Check the one result that answers a guest's message."""
    result(json_value(parameters, "result", "inline query result"))


def result(given: object) -> str:
    """Check one result; give its id."""
    if not isinstance(given, dict):
        raise bad(f"{_RESULT}expected an Object")
    kind = given.get("type")
    if kind not in _NEEDED:
        raise bad(f"{_RESULT}unsupported type specified")
    result_id = _text(given, "id", _RESULT)
    if not 1 <= len(result_id.encode()) <= _ID_BYTES:
        raise bad("RESULT_ID_INVALID")
    if kind == "article":
        _text(given, "title", _RESULT)
        content = given.get("input_message_content")
        if not isinstance(content, dict):
            raise bad(f'{_RESULT}Can\'t find field "input_message_content"')
        text_rules.text(content | {"text": content.get("message_text")})
    else:
        _check_media(str(kind), given)
        text_rules.caption(given)
    if not is_url(given.get("thumbnail_url", "http://a.b")):
        raise bad("WEBDOCUMENT_URL_INVALID")
    # Wherever it is shown: web apps are for private chats.
    keyboard_rules.keyboard(given | {"chat_id": -1})
    return result_id


def _check_media(kind: str, given: Parameters) -> None:
    stem = kind.removesuffix("_gif")
    if given.get(f"{stem}_file_id"):
        if kind in _TITLED:
            _text(given, "title", _RESULT)
        return
    if kind == "sticker":
        raise bad(f'{_RESULT}Can\'t find field "sticker_file_id"')
    for name in _NEEDED[kind]:
        value = _text(given, name, _RESULT)
        if name.endswith("_url") and not is_url(value):
            raise bad("WEBDOCUMENT_URL_INVALID")
        if name == "mime_type" and value not in _MIME_TYPES[kind]:
            raise bad("Unallowed document MIME type")


def pre_checkout(parameters: Parameters) -> None:
    """Check whether a user may pay."""
    if not is_true(parameters.get("ok")) and not parameters.get("error_message"):
        raise bad("ERROR_TEXT_EMPTY")


def shipping(parameters: Parameters) -> None:
    """Check the ways in which a parcel may travel."""
    if not is_true(parameters.get("ok")):
        pre_checkout(parameters)
        return
    options = json_value(parameters, "shipping_options", "shipping options")
    if not isinstance(options, list) or not options:
        raise bad("There are no shipping options")
    for option in options:
        _check_option(option)


def _check_option(option: object) -> None:
    if not isinstance(option, dict):
        raise bad(f"{_SHIPPING}expected an Object")
    _text(option, "id", _SHIPPING)
    _text(option, "title", _SHIPPING)
    prices = option.get("prices")
    if not isinstance(prices, list) or not prices:
        raise bad(f'{_SHIPPING}Can\'t find field "prices"')
    for price in prices:
        if not isinstance(price, dict):
            raise bad(f"{_SHIPPING}expected an Object")
        _text(price, "label", _SHIPPING)
        if type(price.get("amount")) is not int:
            raise bad(f'{_SHIPPING}Can\'t find field "amount"')


def join(parameters: Parameters) -> None:
    """Check what becomes of a request to join."""
    if parameters.get("result") not in {"approve", "decline", "queue"}:
        raise bad("Wrong query result specified")


def _text(given: Parameters, name: str, problem: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value.strip():
        raise bad(f'{problem}Can\'t find field "{name}"')
    return value
