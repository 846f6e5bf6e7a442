"""Parses Telegram's MarkdownV2, with Telegram's error messages.

Tests compare the results with TDLib (MessageEntity.cpp: parse_markdown_v2).
"""

import re

from gateway.sandbox.simulator.validation.markup import (
    MarkupBuilder,
    MarkupError,
    Parsed,
    custom_emoji,
)

_RESERVED = frozenset("_*[]()~`>#+-=|{}.!")
_MARKS = {
    "*": ("bold", "Bold"),
    "_": ("italic", "Italic"),
    "__": ("underline", "Underline"),
    "~": ("strikethrough", "Strikethrough"),
    "||": ("spoiler", "Spoiler"),
    "`": ("code", "Code"),
    "```": ("pre", "Pre"),
    "[": ("text_link", "TextUrl"),
    "![": ("custom_emoji", "CustomEmoji"),
    ">": ("blockquote", "BlockQuote"),
}
"""The mark, the entity's type, and its name in error messages."""
_MARK = re.compile(r"```|`|__|_|\|\||\*|~|!?\[")
_LANGUAGE = re.compile(
    r"(?:([^ \t\r\n\x00\x0b`]+)(?=[ \t\r\n\x00\x0b]))?(?:\r\n|\n\r|\n|\r)?"
)
_URL = re.compile(r"\(((?:\\[\x01-\x7e]|\\(?![\x01-\x7e])|[^)\\])*)\)")


def parse_markdown_v2(source: str) -> Parsed:
    """Return the visible text and the entities of a text in MarkdownV2.

    Raises:
        MarkupError: a reserved character is not escaped, or a mark is not closed.
    """
    return _Reader(source).read()


class _Reader(MarkupBuilder):
    """Parses a text in one pass; each method returns the next position."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._line_starts = True

    def read(self) -> Parsed:
        position = 0
        while position < len(self.source):
            position = self._step(position)
        self._end_quote(position)
        if self.open:
            raise self._unended()
        return self.parsed()

    def _step(self, position: int) -> int:
        character = self.source[position]
        following = self.source[position + 1 : position + 2]
        if character == "\\" and "\x00" < following < "\x7f":
            self.write(following)
            if following != "\r":
                self._line_starts = following == "\n"
            return position + 2
        in_code = self.innermost in {"`", "```"}
        if character == "\n" and not in_code:
            self.write(character)
            if following != ">":
                self._end_quote(position)
            self._line_starts = True
        elif character not in ({"`"} if in_code else _RESERVED):
            self._write(character)
        else:
            return self._mark(position)
        return position + 1

    def _write(self, character: str) -> None:
        self.write(character)
        if character != "\r":
            self._line_starts = False

    def _mark(self, position: int) -> int:
        source, innermost = self.source, self.innermost
        character = source[position]
        if character == "]" and innermost in {"[", "!["}:
            return self._end_link(position + 1)
        # "__" takes precedence as underline over the end of an italic.
        underline = innermost == "_" and source.startswith("__", position)
        ends = source.startswith(innermost, position) and not underline
        if ends and innermost not in {"", "[", "![", ">"}:
            self.end()
            return position + len(innermost)
        if character == ">" and self._line_starts:
            if all(each.mark != ">" for each in self.open):
                self.start(">", "blockquote", position)
            return position + 1
        mark = _MARK.match(source, position)
        if not mark:
            raise MarkupError(
                f"Character '{character}' is reserved and must be escaped "
                "with the preceding '\\'"
            )
        language = _LANGUAGE.match(source, mark.end()) if mark[0] == "```" else None
        fields = {"language": language[1]} if language and language[1] else {}
        self.start(mark[0], _MARKS[mark[0]][0], position, **fields)
        return language.end() if language else mark.end()

    def _end_link(self, position: int) -> int:
        url = _URL.match(self.source, position)
        if not url and self.source.startswith("(", position):
            raise MarkupError(f"Can't find end of a URL {self.place(position + 1)}")
        address = re.sub(r"\\([\x01-\x7e])", r"\1", url[1]) if url else ""
        if self.innermost == "![" and not url:
            raise MarkupError("The entity must contain a tg://emoji or tg://time URL")
        if self.innermost == "![":
            entity = custom_emoji(address)
            if entity is None:
                raise MarkupError("Invalid tg://emoji or tg://time URL specified")
            self.open[-1].entity |= entity
        elif url:
            self.open[-1].entity["url"] = address
        self.end()
        return url.end() if url else position

    def _end_quote(self, position: int) -> None:
        """Close the open quote, if there is one, at the end of its last line."""
        marks = [each.mark for each in self.open]
        if ">" not in marks:
            return
        behind_mark = self.source[self.open[-1].at + 2 : position]
        at_end = position == len(self.source)
        kind = "blockquote"
        if marks[-1] == "||" and behind_mark in ({""} if at_end else {"", "\r"}):
            # This mark at the end of the last line makes the quote expandable.
            self.open.pop()
            kind = "expandable_blockquote"
        if self.innermost != ">":
            raise self._unended()
        self.open[-1].entity["type"] = kind
        self.end()

    def _unended(self) -> MarkupError:
        innermost = self.open[-1]
        name = _MARKS[innermost.mark][1]
        name += "Code" if "language" in innermost.entity else ""
        place = self.place(innermost.at)
        return MarkupError(f"Can't find end of {name} entity {place}")
