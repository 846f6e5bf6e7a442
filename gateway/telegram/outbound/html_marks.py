"""Finds the marks in Telegram's HTML (TDLib, MessageEntity.cpp: parse_html)."""

import re

from gateway.telegram.outbound.marks import (
    InvalidFormat,
    Mark,
    OpenMark,
    Span,
    SpanList,
)

_SPACE = r"[ \t\r\n\x00\x0b]"
# All quantifiers are possessive (+): an unclosed tag must not cause backtracking.
_VALUE = rf"(?:\"[^\"]*+\"|'[^']*+'|[A-Za-z0-9.\-]*+(?={_SPACE}|>))"
_ATTRIBUTE = rf"[^ \t\r\n\x00\x0b=>/\"']++{_SPACE}*+(?:={_SPACE}*+{_VALUE}{_SPACE}*+)?+"
_START_TAG = re.compile(
    rf"<([a-zA-Z][a-zA-Z0-9-]*+)(?:{_SPACE}++(?:{_ATTRIBUTE})*+)?+>"
)
_END_TAG = re.compile(rf"</([a-zA-Z0-9-]*+){_SPACE}*+>")
_CHARACTER = re.compile(
    r"&(?:(lt|gt|amp|quot)(?![a-zA-Z])|#([0-9]{1,7})(?![0-9])"
    r"|#x([0-9a-fA-F]{1,6})(?![0-9a-fA-F]));?+"
)
_SPECIAL = re.compile("[<&]")

_KNOWN_TAGS = frozenset(
    {
        "b",
        "strong",
        "i",
        "em",
        "u",
        "ins",
        "s",
        "strike",
        "del",
        "code",
        "pre",
        "a",
        "span",
        "tg-spoiler",
        "tg-emoji",
        "tg-time",
        "blockquote",
    }
)
_NAMED_CHARACTERS = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}


def find_html_marks(text: str) -> SpanList:
    """Find the tags and character entities in an HTML text, such as `<b>` and `&lt;`.

    Raises:
        InvalidFormat: a tag is unknown, not closed or wrongly nested, or there are too
            many.
    """
    spans = SpanList()
    innermost: OpenMark | None = None
    position = 0
    while special := _SPECIAL.search(text, position):
        start = special.start()
        if special[0] == "&":
            character = _CHARACTER.match(text, start)
            position = character.end() if character else start + 1
            if character:
                spans.add(
                    Span(start, position, innermost, _decode_character(character))
                )
        elif text.startswith("/", start + 1):
            innermost, position = _close_tag(text, start, innermost)
            spans.add(Span(start, position, innermost))
        else:
            tag = _START_TAG.match(text, start)
            if not tag or tag[1].lower() not in _KNOWN_TAGS:
                raise InvalidFormat
            innermost = OpenMark(Mark(tag[0], f"</{tag[1]}>"), innermost)
            position = tag.end()
            spans.add(Span(start, position, innermost, is_opening=True))
    if innermost is not None:
        raise InvalidFormat
    return spans


def _close_tag(
    text: str, start: int, innermost: OpenMark | None
) -> tuple[OpenMark | None, int]:
    tag = _END_TAG.match(text, start)
    if not tag or innermost is None:
        raise InvalidFormat
    closing = f"</{tag[1]}>".lower()
    if tag[1] and closing != innermost.mark.closing.lower():
        raise InvalidFormat
    return innermost.outer, tag.end()


def _decode_character(character: re.Match[str]) -> str:
    """Return the character of an entity, or the entity itself if it is not valid."""
    if character[1]:
        return _NAMED_CHARACTERS[character[1]]
    code = int(character[2]) if character[2] else int(character[3], 16)
    surrogate = 0xD800 <= code < 0xE000
    valid = 0 < code < 0x10FFFF and not surrogate
    return chr(code) if valid else character[0]
