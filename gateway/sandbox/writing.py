"""What users write, as fields of a message."""

import re

from gateway.sandbox.markup import utf16_length
from gateway.sandbox.rules import Parameters
from gateway.sandbox.text_rules import CAPTION_LIMIT, TEXT_LIMIT

_COMMAND = re.compile(r"(?<![\w/<>])/[a-zA-Z0-9_]{1,64}(?:@[a-zA-Z0-9_]{3,32})?\b")


class BadInput(Exception):
    """What was asked for cannot be done. The message is one line for a person."""


def text(given: str) -> Parameters:
    """Make the fields of a text message; commands in it are marked.

    Raises:
        BadInput: it is empty or too long.
    """
    shown = given.strip()
    if not shown:
        raise BadInput("text: is empty")
    if utf16_length(shown) > TEXT_LIMIT:
        raise BadInput(f"text: at most {TEXT_LIMIT} characters")
    entities = _entities(shown)
    return {"text": shown, "entities": entities} if entities else {"text": shown}


def caption(given: str) -> Parameters:
    """Make the fields of a caption. Empty: there is none.

    Raises:
        BadInput: it is too long.
    """
    shown = given.strip()
    if utf16_length(shown) > CAPTION_LIMIT:
        raise BadInput(f"caption: at most {CAPTION_LIMIT} characters")
    entities = _entities(shown)
    marks = {"caption_entities": entities} if entities else {}
    return {"caption": shown, **marks} if shown else {}


def name(given: str) -> str:
    """Read the first name of a user.

    Raises:
        BadInput: it is empty or too long.
    """
    shown = given.strip()
    if not 1 <= len(shown) <= 64:
        raise BadInput("first_name: 1 to 64 characters")
    return shown


def language(given: str) -> str:
    """Read the language of a user's app.

    Raises:
        BadInput: it is no language.
    """
    if not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", given):
        raise BadInput("language_code: an IETF language tag, such as en or pt-br")
    return given


def _entities(given: str) -> list[Parameters]:
    """Mark the commands in a text as Telegram does."""
    return [
        {
            "offset": utf16_length(given[: found.start()]),
            "length": utf16_length(found[0]),
            "type": "bot_command",
        }
        for found in _COMMAND.finditer(given)
    ]
