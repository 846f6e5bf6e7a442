"""Finds the marks in MarkdownV2 (TDLib, MessageEntity.cpp: parse_markdown_v2)."""

import re

from gateway.telegram.outbound.marks import (
    InvalidFormat,
    Mark,
    OpenMark,
    Span,
    SpanList,
)

_SPECIAL = re.compile(r"[\\_*\[\]()~`>#+\-=|{}.!\n]")
_SPECIAL_IN_CODE = re.compile(r"[\\`]")
_MARK = re.compile(r"```|`|__|_|\|\||\*|~|!?\[")
_LANGUAGE = re.compile(r"(?:([^ \t\r\n\x00\x0b`]++)(?=[ \t\r\n\x00\x0b]))?+")
_NEW_LINE = re.compile(r"\r\n|\n\r|\n|\r")
_URL = re.compile(r"\((?:\\[\x01-\x7e]|\\(?![\x01-\x7e])|[^)\\])*+\)")


def find_markdown_marks(text: str) -> SpanList:
    """Find the marks and the escaped characters in a MarkdownV2 text.

    Raises:
        InvalidFormat: a reserved character is not escaped, a mark is not closed, or
            there are too many marks.
    """
    return _MarkdownScanner(text).scan()


class _MarkdownScanner:
    """A scanner that reads a text once; each step advances `_position`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._innermost: OpenMark | None = None
        self._spans = SpanList()
        self._quote: Mark | None = None
        self._is_line_start = True
        """Whether a quote may begin at `_position`."""

    def scan(self) -> SpanList:
        while special := self._find_special():
            literal = self._text[self._position : special.start()]
            if literal.strip("\r"):
                self._is_line_start = False
            self._position = special.start()
            self._read_special(special[0])
        self._end_quote(len(self._text))
        if self._innermost is not None:
            raise InvalidFormat
        return self._spans

    def _find_special(self) -> re.Match[str] | None:
        special = _SPECIAL_IN_CODE if self._is_in_code() else _SPECIAL
        return special.search(self._text, self._position)

    def _is_in_code(self) -> bool:
        return self._innermost is not None and self._innermost.mark.opening[0] == "`"

    def _read_special(self, character: str) -> None:
        if character == "\\":
            self._read_escape()
        elif character == "\n":
            self._read_line_end()
        elif (
            character == "]"
            and self._innermost
            and self._find_innermost_opening() in {"[", "!["}
        ):
            self._end_link(self._innermost)
        elif character == ">" and self._is_line_start:
            self._read_quote()
        elif not self._try_end_innermost():
            self._start_mark()

    def _find_innermost_opening(self) -> str:
        return self._innermost.mark.opening if self._innermost else ""

    def _read_escape(self) -> None:
        position = self._position
        escaped = self._text[position + 1 : position + 2]
        if not "\x00" < escaped < "\x7f":
            self._is_line_start = False
            self._position += 1
            return
        if escaped != "\r":
            self._is_line_start = escaped == "\n"
        self._add_span(2, escaped)

    def _read_line_end(self) -> None:
        if self._quote is not None and not self._text.startswith(
            ">", self._position + 1
        ):
            self._end_quote(self._position)
            self._add_span(1, "\n")
        else:
            self._position += 1
        self._is_line_start = True

    def _read_quote(self) -> None:
        if self._quote is not None:
            self._add_span(1, "")
            return
        self._quote = Mark(">", "", is_quote=True)
        self._open_mark(self._quote, 1)

    def _end_quote(self, position: int) -> None:
        """End the open quote, if there is one, at the end of its last line."""
        if self._quote is None:
            return
        innermost, last = self._innermost, self._spans[-1]
        trailing = self._text[last.end : position]
        allowed = {""} if position == len(self._text) else {"", "\r"}
        if (
            innermost
            and self._find_innermost_opening() == "||"
            and last.is_opening
            and trailing in allowed
        ):
            # A quote whose last line ends with "||" is expandable.
            innermost = innermost.outer
            self._quote.closing = "||"
        if innermost is None or innermost.mark is not self._quote:
            raise InvalidFormat
        self._innermost = innermost.outer
        self._quote = None

    def _try_end_innermost(self) -> bool:
        """End the innermost mark, if it ends here."""
        innermost = self._innermost
        if innermost is None or innermost.mark.is_quote:
            return False
        closing = innermost.mark.closing
        if not self._text.startswith(closing, self._position):
            return False
        # "__" is always read as an underline mark, never as the end of an italic one.
        if closing == "_" and self._text.startswith("__", self._position):
            return False
        self._innermost = innermost.outer
        self._add_span(len(closing), "")
        return True

    def _start_mark(self) -> None:
        mark = _MARK.match(self._text, self._position)
        if not mark:
            raise InvalidFormat
        end = mark.end()
        opening = mark[0]
        if opening == "```":
            language = _LANGUAGE.match(self._text, end)
            if language and language[1]:
                opening += language[1]
                end = language.end()
            opening += "\n"
            new_line = _NEW_LINE.match(self._text, end)
            end = new_line.end() if new_line else end
        closing = "]" if opening in {"[", "!["} else mark[0]
        self._open_mark(Mark(opening, closing), end - self._position)

    def _end_link(self, link: OpenMark) -> None:
        mark = link.mark
        url = _URL.match(self._text, self._position + 1)
        if url:
            mark.closing = f"]{url[0]}"
        elif mark.opening == "![" or self._text.startswith("(", self._position + 1):
            raise InvalidFormat
        self._innermost = link.outer
        self._add_span(len(mark.closing), "")

    def _open_mark(self, mark: Mark, length: int) -> None:
        self._innermost = OpenMark(mark, self._innermost)
        start, self._position = self._position, self._position + length
        self._spans.add(Span(start, self._position, self._innermost, is_opening=True))

    def _add_span(self, length: int, visible_text: str) -> None:
        start, self._position = self._position, self._position + length
        self._spans.add(Span(start, self._position, self._innermost, visible_text))
