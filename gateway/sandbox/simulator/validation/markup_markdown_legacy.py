"""Parses Telegram's legacy Markdown, with Telegram's error messages.

Tests compare the results with TDLib (MessageEntity.cpp: parse_markdown). Marks do not
nest. Outside of a mark, a backslash escapes only marks; inside, it escapes nothing.
"""

import re

from gateway.sandbox.simulator.validation.markup import (
    MarkupBuilder,
    MarkupError,
    Parsed,
)

_PLAIN = re.compile(r"\\([_*`\[])|[^_*`\[]")
_PRE = re.compile(
    r"```(?:([^ \t\r\n\x00\x0b`]+)(?=[ \t\r\n\x00\x0b]))?(?:\r\n|\n\r|\n|\r)?"
)
_KINDS = {"_": "italic", "*": "bold", "`": "code", "```": "pre", "[": "text_link"}
_URL = re.compile(r"\(([^)]*)\)?")


def parse_markdown(source: str) -> Parsed:
    """Return the visible text and the entities of a text in legacy Markdown.

    Raises:
        MarkupError: a mark is not closed.
    """
    builder = MarkupBuilder(source)
    position = 0
    while position < len(source):
        plain = _PLAIN.match(source, position)
        if plain:
            builder.write(plain[1] or plain[0])
            position = plain.end()
        else:
            position = _entity(builder, position)
    return builder.parsed()


def _entity(builder: MarkupBuilder, start: int) -> int:
    """Parse a mark and its content; return the position after it."""
    source = builder.source
    pre = _PRE.match(source, start)
    mark = "```" if pre else source[start]
    begin = pre.end() if pre else start + 1
    end_mark = "]" if mark == "[" else mark
    end = source.find(end_mark, begin)
    if end < 0:
        place = builder.place(start)
        raise MarkupError(f"Can't find end of the entity starting {place}")
    inside, behind = source[begin:end], end + len(end_mark)
    fields = {"language": pre[1]} if pre and pre[1] else {}
    url = _URL.match(source, behind) if mark == "[" and inside else None
    if url:
        fields["url"] = url[1]
        behind = url.end()
    builder.start(mark, _KINDS[mark], start, **fields)
    builder.write(inside)
    builder.end()
    return behind
