"""Checks texts and captions, with Telegram's error messages."""

from collections.abc import Callable

from gateway.sandbox.simulator.validation.found_entities import add_found
from gateway.sandbox.simulator.validation.markup import (
    Entity,
    MarkupError,
    Parsed,
    utf16_length,
)
from gateway.sandbox.simulator.validation.markup_html import parse_html
from gateway.sandbox.simulator.validation.markup_markdown import parse_markdown_v2
from gateway.sandbox.simulator.validation.markup_markdown_legacy import parse_markdown
from gateway.sandbox.simulator.validation.rules import (
    SPACES,
    Parameters,
    bad_request,
    json_value,
    strip_spaces,
)

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024
RAW_TEXT_BYTES = 32_768


def text(parameters: Parameters) -> Parameters:
    """Check the text of a call, and return the message's fields for it.

    Returns:
        The text as the user sees it, without marks, and its entities.

    Raises:
        ApiError: the text is empty or too long, or its format is invalid.
    """
    if not parameters.get("text"):
        raise bad_request("Message text is empty")
    visible, entities = _formatted(parameters, "text", "entities")
    if not visible:
        raise bad_request("Text must be non-empty")
    if utf16_length(visible) > TEXT_LIMIT:
        raise bad_request("Message is too long")
    return {"text": visible, "entities": entities} if entities else {"text": visible}


def draft(parameters: Parameters) -> Parameters:
    """Check the text of a draft, which may be empty; otherwise as `text`."""
    return text(parameters) if parameters.get("text") else {"text": ""}


def caption(parameters: Parameters) -> Parameters:
    """Check the caption of a call, and return the message's fields for it.

    Returns:
        The caption as the user sees it, and its entities; {} if there is none.

    Raises:
        ApiError: the caption is too long, or its format is invalid.
    """
    if not parameters.get("caption"):
        return {}
    visible, entities = _formatted(parameters, "caption", "caption_entities")
    if utf16_length(visible) > CAPTION_LIMIT:
        raise bad_request("Message caption is too long")
    read: Parameters = {"caption": visible} if visible else {}
    return read | {"caption_entities": entities} if entities else read


def _formatted(parameters: Parameters, name: str, marks: str) -> Parsed:
    raw = str(parameters[name])
    if len(raw.encode()) > RAW_TEXT_BYTES:
        raise bad_request("Text is too long")
    mode = str(parameters.get("parse_mode") or "").lower()
    if mode in {"", "none"}:
        given = json_value(parameters, marks, "entities")
        return _finished(raw, _checked(given, utf16_length(raw)))
    if mode not in _PARSERS:
        raise bad_request("Unsupported parse_mode")
    try:
        visible, entities = _PARSERS[mode](raw)
    except MarkupError as fault:
        raise bad_request(f"Can't parse entities: {fault}") from None
    return _finished(visible, entities)


def _finished(text: str, entities: list[Entity]) -> Parsed:
    """Strip the white space around a text, and add the detected entities."""
    visible = strip_spaces(text)
    return visible, add_found(visible, _clipped(entities, text))


_PARSERS: dict[str, Callable[[str], Parsed]] = {
    "html": parse_html,
    "markdown": parse_markdown,
    "markdownv2": parse_markdown_v2,
}


def _checked(given: object, text_length: int) -> list[Entity]:
    """Check the entities that a call passes with a text."""
    problem = "Can't parse MessageEntity: "
    if given is None:
        return []
    if not isinstance(given, list):
        # Telegram ignores it, but it is a bug of the caller.
        raise bad_request("Can't parse entities: expected an Array")
    for each in given:
        if not isinstance(each, dict):
            raise bad_request(f"{problem}expected an Object")
        if not isinstance(each.get("type"), str):
            raise bad_request(f'{problem}Can\'t find field "type"')
        offset, length = (_integer(each, name) for name in ("offset", "length"))
        if offset < 0:
            raise bad_request(f"Receive an entity with incorrect offset {offset}")
        if length <= 0:
            raise bad_request(f"Receive an entity with incorrect length {length}")
        if offset + length > text_length:
            raise bad_request(
                f"Entity beginning at UTF-16 offset {offset} ends after the end of the "
                f"text at UTF-16 offset {offset + length}"
            )
    return given


def _integer(entity: Entity, name: str) -> int:
    problem = "Can't parse MessageEntity: "
    if entity.get(name) is None:
        raise bad_request(f'{problem}Can\'t find field "{name}"')
    if type(entity[name]) is not int:
        raise bad_request(f'{problem}Field "{name}" must be a Number')
    return int(entity[name])


def _clipped(entities: list[Entity], visible: str) -> list[Entity]:
    """Adjust entities to the text without its surrounding white space."""
    cut = utf16_length(visible) - utf16_length(visible.lstrip(SPACES))
    length = utf16_length(visible.strip(SPACES))
    clipped = []
    for entity in entities:
        start = max(entity["offset"] - cut, 0)
        end = min(entity["offset"] + entity["length"] - cut, length)
        if end > start:
            clipped.append(entity | {"offset": start, "length": end - start})
    return clipped
