"""Parses Telegram's HTML, with Telegram's error messages.

Tests compare the results with TDLib (MessageEntity.cpp: parse_html).
"""

import re
import string

from gateway.sandbox.simulator.validation.markup import (
    Entity,
    MarkupBuilder,
    MarkupError,
    Parsed,
    date_time,
    read_number,
)

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
_SPACES = " \t\r\n\0\v"
_SPACE = re.compile(r"[ \t\r\n\x00\x0b]*")
_TAG_NAME = re.compile(r"[^ \t\r\n\x00\x0b>]*")
_ATTRIBUTE_NAME = re.compile(r"[^ \t\r\n\x00\x0b=>/\"']*")
_TOKEN = re.compile(r"[A-Za-z0-9.-]*")
_LETTERS = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_CHARACTER = re.compile(
    r"&(?:(lt|gt|amp|quot)(?![a-zA-Z])|#([0-9]{1,7})(?![0-9])"
    r"|#x([0-9a-fA-F]{1,6})(?![0-9a-fA-F]));?"
)
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}

_FIELDS = {
    ("a", "href"): "url",
    ("tg-emoji", "emoji-id"): "custom_emoji_id",
    ("tg-time", "unix"): "unix",
    ("tg-time", "format"): "format",
}
"""The entity fields of tag attributes."""


def parse_html(source: str) -> Parsed:
    """Return the visible text and the entities of a text in Telegram's HTML.

    Raises:
        MarkupError: a tag is unknown, unclosed or wrongly nested.
    """
    return _Reader(source).read()


class _Reader(MarkupBuilder):
    def read(self) -> Parsed:
        source = self.source
        position = 0
        while (start := source.find("<", position)) >= 0:
            self.write(_unescape(source[position:start]))
            is_end = source.startswith("</", start)
            position = self._end_tag(start) if is_end else self._start_tag(start)
        self.write(_unescape(source[position:]))
        if self.open:
            raise MarkupError(
                f'Can\'t find end tag corresponding to start tag "{self.innermost}"'
            )
        text, entities = self.parsed()
        if any("\ud800" <= character < "\ue000" for character in text):
            raise MarkupError(
                "Text contains invalid Unicode characters after decoding HTML "
                "entities, check for unmatched surrogate code units"
            )
        for entity in entities:
            if entity["type"] == "code":
                entity.pop("language", None)
        return text, entities

    def _start_tag(self, start: int) -> int:
        """Parse a start tag; return the position after it."""
        source, place = self.source, self.place(start)
        position = _match_end(_TAG_NAME, source, start + 1)
        if position == len(source):
            raise MarkupError(f"Unclosed start tag {place}")
        tag = source[start + 1 : position].translate(_LETTERS)
        if tag not in _TAGS:
            raise MarkupError(f'Unsupported start tag "{tag}" {place}')
        fields: dict[str, str] = {}
        while True:
            position = _match_end(_SPACE, source, position)
            if source.startswith(">", position):
                break
            name, value, position = self._attribute(tag, start, position)
            fields |= _field(tag, name, value)
        if tag == "span" and fields.pop("class", "") != "tg-spoiler":
            raise MarkupError(f'Tag "span" must have class "tg-spoiler" {place}')
        kind = fields.pop("kind", _TAGS[tag])
        self.start(
            tag, kind, start, **{key: each for key, each in fields.items() if each}
        )
        return position + 1

    def _attribute(self, tag: str, start: int, position: int) -> tuple[str, str, int]:
        """Parse an attribute; return its name, its value, and the position after it."""
        source, place = self.source, self.place(start)
        end = _match_end(_ATTRIBUTE_NAME, source, position)
        name = source[position:end]
        if not name:
            raise MarkupError(f'Empty attribute name in the tag "{tag}" {place}')
        position = _match_end(_SPACE, source, end)
        if position == len(source):
            raise MarkupError(f'Unclosed start tag "{tag}" {place}')
        if source[position] != "=":
            return name, "", position
        position = _match_end(_SPACE, source, position + 1)
        if position == len(source):
            raise MarkupError(f'Unclosed start tag "{tag}" {place}')
        value, position = self._value(position)
        if position == len(source):
            raise MarkupError(f"Unclosed start tag {place}")
        return name, value, position

    def _value(self, position: int) -> tuple[str, int]:
        source = self.source
        quote = source[position]
        if quote in "\"'":
            end = source.find(quote, position + 1)
            if end < 0:
                return "", len(source)
            return _unescape(source[position + 1 : end]), end + 1
        end = _match_end(_TOKEN, source, position)
        if end < len(source) and source[end] not in f">{_SPACES}":
            raise MarkupError(f"Unexpected end of name token {self.place(position)}")
        return source[position:end].translate(_LETTERS), end

    def _end_tag(self, start: int) -> int:
        """Parse an end tag; return the position after it."""
        source, place = self.source, self.place(start)
        if not self.open:
            raise MarkupError(f"Unexpected end tag {place}")
        end = _match_end(_TAG_NAME, source, start + 2)
        tag = source[start + 2 : end].translate(_LETTERS)
        end = _match_end(_SPACE, source, end)
        if not source.startswith(">", end):
            raise MarkupError(f"Unclosed end tag {place}")
        if tag not in {"", self.innermost}:
            raise MarkupError(
                f'Unmatched end tag {place}, expected "</{self.innermost}>", '
                f'found "</{tag}>"'
            )
        before = self.entities[-1] if self.entities else {}
        if entity := self.end():
            self._finish(entity, before)
        return end + 1

    def _finish(self, entity: Entity, before: Entity) -> None:
        """Complete an entity after its end tag.

        Args:
            entity: the entity.
            before: the entity that was completed before it, or {} if there is none.
        """
        if entity["type"] == "custom_emoji":
            if not read_number(entity.get("custom_emoji_id", ""), 64):
                raise MarkupError("Invalid custom emoji identifier specified")
        elif entity["type"] == "date_time":
            self._finish_date(entity)
        elif before and _is_code_in_pre(entity, before):
            language = entity.get("language") or before["language"]
            before |= {"type": "pre", "language": language}
            self.entities.pop()

    def _finish_date(self, entity: Entity) -> None:
        seconds, date_format = entity.pop("unix", ""), entity.pop("format", "")
        if date_time("1", date_format) is None:
            raise MarkupError("Invalid date format used")
        date = date_time(str(_leading_number(seconds)), date_format)
        if date is None:
            self.entities.pop()
        else:
            entity |= date


def _field(tag: str, name: str, value: str) -> dict[str, str]:
    """Return the entity fields of an attribute; of several the last one counts."""
    match tag, name:
        case "blockquote", "expandable":
            return {"kind": "expandable_blockquote"}
        case "code", "class" if value.startswith("language-"):
            return {"language": value.removeprefix("language-")}
        case "span", "class" if value.startswith("tg-"):
            return {"class": value}
    field = _FIELDS.get((tag, name))
    return {field: value} if field else {}


def _is_code_in_pre(entity: Entity, before: Entity) -> bool:
    """Return whether a code with a language and a pre contain the same text."""
    if any(entity[name] != before[name] for name in ("offset", "length")):
        return False
    kinds = entity["type"], before["type"]
    if kinds == ("pre", "code"):
        return "language" in before
    return kinds == ("code", "pre") and "language" in entity.keys() - before.keys()


def _leading_number(text: str) -> int:
    digits = re.match(r"-?[0-9]+", text)
    number = int(digits[0]) if digits else 0
    return (number + 2**31) % 2**32 - 2**31


def _match_end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _unescape(text: str) -> str:
    return _CHARACTER.sub(_decode, text)


def _decode(character: re.Match[str]) -> str:
    if character[1]:
        return _NAMED[character[1]]
    code = int(character[2]) if character[2] else int(character[3], 16)
    return chr(code) if 0 < code < 0x10FFFF else character[0]
