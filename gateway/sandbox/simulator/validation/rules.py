"""Checks parameters that many methods have, with Telegram's error messages.

Each function reads one part of a call's parameters and returns it as Telegram
interprets it, or raises ApiError. Where Telegram is known to be lenient by accident (it
counts texts in code points, and takes the first of several actions of a button), these
rules are as strict as its documentation.
"""

import re
from typing import Any

import msgspec
from msgspec import Struct

from gateway.sandbox.simulator.validation.links import InvalidLink, check_link
from gateway.sandbox.simulator.validation.markup import utf16_length

Parameters = dict[str, Any]

ANSWER_LIMIT = 200
PHOTO_BYTES = 10 * 2**20
MESSAGES_LIMIT = 100
"""Maximum number of messages that one call deletes."""

_CHAT_ACTIONS = re.compile(
    r"cancel|typing|choose_sticker|(?:find|pick_up)_location|upload_(?:photo|document)"
    r"|(?:record|upload)_(?:video|voice|audio|video_note)"
)


class Upload(Struct, frozen=True):
    """A file that was uploaded with a call, without its content.

    Attributes:
        file_id: the id under which the file was stored.
        file_name: the name of the file.
        mime_type: the content type that the bot declared.
        file_size: the size in bytes.
        size: width and height of a picture; None for other files.
    """

    file_id: str
    file_name: str
    mime_type: str
    file_size: int
    size: tuple[int, int] | None = None


class ApiError(Exception):
    """The Bot API rejects a call with this error response.

    Attributes:
        status: the HTTP status and `error_code`.
        description: Telegram's error text.
        reason: the error text without the prefix of bad requests.
        parameters: `retry_after` or `migrate_to_chat_id`; empty if there is neither.
    """

    def __init__(
        self, description: str, status: int = 400, parameters: Parameters | None = None
    ) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.reason = description
        self.parameters = parameters or {}


def bad_request(reason: str) -> ApiError:
    """Return the error for an invalid call: a 400 with Telegram's prefix.

    Args:
        reason: what is wrong; its first letter becomes lowercase, except in acronyms.
    """
    words = reason
    if reason[1] == "_" or not reason[1].isupper():
        words = reason[0].lower() + reason[1:]
    refused = ApiError(f"Bad Request: {words}")
    refused.reason = reason
    return refused


SPACES = "".join(map(chr, range(0x21)))
"""The characters that Telegram strips from a text (TDLib, misc.cpp: clean_input_string,
and MessageEntity.cpp: fix_formatted_text). `str.strip` would also strip others, such as
U+0085."""


def strip_spaces(text: str) -> str:
    """Return a text without the white space around it that Telegram removes."""
    return text.strip(SPACES)


def number(value: object) -> int:
    """Return an integer, which may be a text; 0 if the value is neither."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return 0
    try:
        return int(value)
    except ValueError:
        return 0


def json_value(parameters: Parameters, name: str, title: str) -> object:
    """Return a parameter, decoded if it is a text with JSON.

    Args:
        parameters: the parameters of the call.
        name: the name of the parameter.
        title: what the error message calls it.

    Returns:
        The value; None if it is missing or empty.

    Raises:
        ApiError: the text is not JSON.
    """
    value = parameters.get(name)
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value) if value else None
    except msgspec.DecodeError:
        raise bad_request(f"Can't parse {title} JSON object") from None


def is_true(value: object) -> bool:
    """Return whether a value means true, as a boolean or as a text such as "yes"."""
    return value is True or str(value).lower() in {"true", "yes", "1"}


def chat_id(parameters: Parameters) -> int:
    """Return the chat id of a call. Every integer except 0 is valid.

    Raises:
        ApiError: the id is missing or invalid.
    """
    if parameters.get("chat_id") in (None, ""):
        raise bad_request("chat_id is empty")
    chat = number(parameters["chat_id"])
    if not chat:
        raise bad_request("chat not found")
    return chat


def message_ids(parameters: Parameters) -> list[int]:
    """Return the ids of up to 100 messages that a call names.

    Raises:
        ApiError: they are missing, too many, or invalid.
    """
    given = json_value(parameters, "message_ids", "message_ids")
    if given in (None, ""):
        raise bad_request("Message identifiers are not specified")
    if not isinstance(given, list):
        raise bad_request("Expected an Array of message identifiers")
    if len(given) > MESSAGES_LIMIT:
        raise bad_request("Too many message identifiers specified")
    if not all(type(each) in {int, str} for each in given):
        raise bad_request("Message identifier must be a Number")
    ids = [number(each) for each in given]
    if min(ids, default=1) <= 0:
        raise bad_request("Invalid message identifier specified")
    return ids


def reply(parameters: Parameters) -> Parameters:
    """Return the parameter `reply_parameters`; {} if it is missing.

    Raises:
        ApiError: the parameter is not an object.
    """
    given = json_value(parameters, "reply_parameters", "reply parameters")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise bad_request("Object expected as reply parameters")
    return given


def is_url(value: object) -> bool:
    """Return whether a value is a valid URL with http or https."""
    try:
        link = check_link(value) if isinstance(value, str) else ""
    except InvalidLink:
        return False
    return link.startswith("http")


def media(parameters: Parameters, kind: str) -> str | Upload:
    """Return the file that a call sends: an id, a URL, or an uploaded file.

    Args:
        parameters: the parameters of the call.
        kind: the name of the parameter, such as photo.

    Raises:
        ApiError: there is no file, or it is empty, too large or malformed.
    """
    source = parameters.get(kind)
    if isinstance(source, str) and source.startswith("attach://"):
        source = parameters.get(source.removeprefix("attach://"), source)
    if isinstance(source, Upload):
        if not source.file_size:
            raise bad_request("File must be non-empty")
        if kind == "photo" and source.file_size > PHOTO_BYTES:
            raise bad_request("File is too big")
        return source
    if not isinstance(source, str) or not source:
        raise bad_request(f"There is no {kind} in the request")
    if not is_url(source) and not re.fullmatch(r"[A-Za-z0-9_-]+", source):
        raise bad_request("Wrong file identifier/HTTP URL specified")
    return source


def chat_action(parameters: Parameters) -> None:
    """Check the parameter `action` of sendChatAction.

    Raises:
        ApiError: Telegram has no such action.
    """
    if not _CHAT_ACTIONS.fullmatch(str(parameters.get("action", "")).lower()):
        raise bad_request("Wrong parameter action in request")


def too_many_requests(retry_after: int) -> ApiError:
    """Return the 429 for a call that has to wait.

    Args:
        retry_after: the seconds to wait.
    """
    return ApiError(
        f"Too Many Requests: retry after {retry_after}",
        429,
        {"retry_after": retry_after},
    )


def too_old() -> ApiError:
    """Return the error for a query that is unknown, or was answered before."""
    return bad_request(
        "query is too old and response timeout expired or query ID is invalid"
    )


def callback_answer(parameters: Parameters) -> None:
    """Check the parameters of answerCallbackQuery.

    Raises:
        ApiError: the id is missing, or the text is too long.
    """
    if not parameters.get("callback_query_id"):
        raise too_old()
    if utf16_length(str(parameters.get("text") or "")) > ANSWER_LIMIT:
        raise bad_request("MESSAGE_TOO_LONG")
