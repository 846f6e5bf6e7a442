"""Builds the fields of messages, from the texts that users write."""

import re

from gateway.sandbox.simulator.validation.found_entities import find_entities
from gateway.sandbox.simulator.validation.markup import utf16_length
from gateway.sandbox.simulator.validation.rules import Parameters
from gateway.sandbox.simulator.validation.text_rules import CAPTION_LIMIT, TEXT_LIMIT


class InvalidInput(Exception):
    """The requested action is invalid. The message says why in one line, for people."""


def text(given: str) -> Parameters:
    """Return the fields of a text message, with the entities that Telegram detects.

    Raises:
        InvalidInput: the text is empty or too long.
    """
    shown = given.strip()
    if not shown:
        raise InvalidInput("text: is empty")
    if utf16_length(shown) > TEXT_LIMIT:
        raise InvalidInput(f"text: at most {TEXT_LIMIT} characters")
    entities = find_entities(shown)
    return {"text": shown, "entities": entities} if entities else {"text": shown}


def caption(given: str) -> Parameters:
    """Return the fields of a caption, or {} if it is empty.

    Raises:
        InvalidInput: the caption is too long.
    """
    shown = given.strip()
    if utf16_length(shown) > CAPTION_LIMIT:
        raise InvalidInput(f"caption: at most {CAPTION_LIMIT} characters")
    entities = find_entities(shown)
    marks = {"caption_entities": entities} if entities else {}
    return {"caption": shown, **marks} if shown else {}


def name(given: str) -> str:
    """Return the first name of a user without surrounding space.

    Raises:
        InvalidInput: the name is empty or too long.
    """
    shown = given.strip()
    if not 1 <= len(shown) <= 64:
        raise InvalidInput("first_name: 1 to 64 characters")
    return shown


def language(given: str) -> str:
    """Return the language tag of a user's app unchanged, after checking it.

    Raises:
        InvalidInput: the text has not the form of a language tag.
    """
    if not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", given):
        raise InvalidInput("language_code: an IETF language tag, such as en or pt-br")
    return given
