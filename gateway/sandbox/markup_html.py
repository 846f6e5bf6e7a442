"""Telegram's HTML, made small.

Refuses what Telegram refuses, in its words, and finds the same visible text. Entities
are near enough to show a chat.
"""

import html
import re

from gateway.sandbox.markup import MarkupBuilder, Parsed, Unparsable

_TAGS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "code": "code",
    "pre": "pre",
    "a": "text_link",
    "span": "spoiler",
    "tg-spoiler": "spoiler",
    "tg-emoji": "custom_emoji",
    "tg-time": "date_time",
    "blockquote": "blockquote",
}
_TAG_NAME = re.compile(r"</?([^\s>]*)\s*")
_ATTRIBUTE = re.compile(
    r"([^\s=>/\"']+)\s*"
    r"(?:=\s*+(?:\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9.-]*)(?=[\s>]))\s*)?"
)
_CHARACTER = re.compile(
    r"&(?:(?:lt|gt|amp|quot)(?![a-zA-Z])|#\d{1,7}(?!\d)|#x[\da-fA-F]{1,6}(?![\da-fA-F]));?"
)


def parse_html(source: str) -> Parsed:
    """Read Telegram's HTML.

    Raises:
        Unparsable: a tag is unknown, unclosed or wrongly nested.
    """
    builder = MarkupBuilder(source)
    position = 0
    while (start := source.find("<", position)) >= 0:
        builder.write(_unescape(source[position:start]))
        read_tag = _end_tag if source.startswith("</", start) else _start_tag
        position = read_tag(builder, start)
    builder.write(_unescape(source[position:]))
    if builder.open:
        raise Unparsable(
            f'Can\'t find end tag corresponding to start tag "{builder.innermost}"'
        )
    return builder.parsed()


def _start_tag(builder: MarkupBuilder, start: int) -> int:
    """Read a start tag; give the position behind it."""
    source, place = builder.source, builder.place(start)
    name = _TAG_NAME.match(source, start)
    if not name or name.end(1) == len(source):
        raise Unparsable(f"Unclosed start tag {place}")
    tag = name[1].lower()
    if tag not in _TAGS:
        raise Unparsable(f'Unsupported start tag "{tag}" {place}')
    attributes = {}
    position = name.end()
    while position < len(source) and source[position] != ">":
        attribute = _ATTRIBUTE.match(source, position)
        if not attribute:
            raise Unparsable(f'Empty attribute name in the tag "{tag}" {place}')
        value = next(filter(None, attribute.groups()[1:]), "")
        attributes[attribute[1]] = _unescape(value)
        position = attribute.end()
    if position == len(source):
        raise Unparsable(f'Unclosed start tag "{tag}" {place}')
    if tag == "span" and attributes.get("class") != "tg-spoiler":
        raise Unparsable(f'Tag "span" must have class "tg-spoiler" {place}')
    fields = {"url": attributes["href"]} if attributes.get("href") else {}
    expandable = tag == "blockquote" and "expandable" in attributes
    kind = "expandable_blockquote" if expandable else _TAGS[tag]
    builder.start(tag, kind, start, **fields)
    return position + 1


def _end_tag(builder: MarkupBuilder, start: int) -> int:
    """Read an end tag; give the position behind it."""
    source, place = builder.source, builder.place(start)
    if not builder.open:
        raise Unparsable(f"Unexpected end tag {place}")
    name = _TAG_NAME.match(source, start)
    if not name or not source.startswith(">", name.end()):
        raise Unparsable(f"Unclosed end tag {place}")
    tag = name[1].lower()
    if tag not in {"", builder.innermost}:
        raise Unparsable(
            f'Unmatched end tag {place}, expected "</{builder.innermost}>", '
            f'found "</{tag}>"'
        )
    builder.end()
    return name.end() + 1


def _unescape(text: str) -> str:
    return _CHARACTER.sub(lambda character: html.unescape(character[0]), text)
