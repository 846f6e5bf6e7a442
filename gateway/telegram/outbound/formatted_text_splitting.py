"""Splits formatted texts into messages, each of which is well-formed.

A mark opens or closes a format, such as `*` or `<b>`. Marks that are open at a split
are closed before it and opened again after it. A text that Telegram rejects in its
format is split like a plain text, without added marks, because it is sent again as a
plain text.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable

from botgateway.chat.v1.reply_pb2 import (
    TEXT_FORMAT_HTML,
    TEXT_FORMAT_MARKDOWN_V2,
    TextFormat,
)

from gateway.telegram.outbound.html_marks import find_html_marks
from gateway.telegram.outbound.markdown_marks import find_markdown_marks
from gateway.telegram.outbound.marks import InvalidFormat, Mark, OpenMark, SpanList
from gateway.telegram.outbound.text_splitting import (
    count_utf16_units,
    find_break,
    find_grapheme_boundary,
    find_limit_end,
    is_blank,
    split_text,
)

_MARK_FINDERS: dict["TextFormat.ValueType", Callable[[str], SpanList]] = {
    TEXT_FORMAT_HTML: find_html_marks,
    TEXT_FORMAT_MARKDOWN_V2: find_markdown_marks,
}

_REPEATABLE_CHARACTERS = frozenset("_`|")
"""Characters that form other marks when they are repeated. A carriage return separates
an added one from one in the text; Telegram removes it."""

_TAG = re.compile(r"<[^<>]*+>")

_MAX_ATTEMPTS = 8
"""How many times a part is shortened until the marks that it has to close fit."""


def split_formatted_text(
    text: str, text_format: "TextFormat.ValueType", limit: int
) -> list[str]:
    """Split a text of any format into well-formed parts, in the places of `split_text`.

    Parts in which a user would see nothing are left out.

    Args:
        text: the text with its marks.
        text_format: the format of the marks; a plain text has none.
        limit: the maximum length of a part in UTF-16 code units, with its marks.
    """
    find = _MARK_FINDERS.get(text_format)
    if find is None:
        return split_text(text, limit)
    if count_utf16_units(text) <= limit and _has_visible_text(text, text_format):
        return [text]
    try:
        return _FormattedTextSplitter(text, find(text), limit).split()
    except InvalidFormat:
        return split_text(text, limit)


def _has_visible_text(text: str, text_format: "TextFormat.ValueType") -> bool:
    """Check roughly whether a user will see something."""
    if text_format == TEXT_FORMAT_HTML:
        return not is_blank(_TAG.sub("", text))
    return any(map(str.isalnum, text[:64]))


class _FormattedTextSplitter:
    """The splitter of one text."""

    def __init__(self, text: str, spans: SpanList, limit: int) -> None:
        self._text = text
        self._spans = spans
        self._starts = [span.start for span in spans]
        self._limit = limit

    def split(self) -> list[str]:
        parts = []
        start = 0
        while start < len(self._text):
            part, end = self._build_next_part(start)
            if not is_blank(self._extract_visible_text(start, end)):
                parts.append(part)
            start = end
        return parts

    def _build_next_part(self, start: int) -> tuple[str, int]:
        """Return the part that begins at a position, and the position where it ends.

        Raises:
            InvalidFormat: the marks alone are longer than a message.
        """
        marks = self._find_open_marks(start)
        opening = _join_parts(*(mark.opening for mark in marks))
        available = self._limit - count_utf16_units(opening)
        for _ in range(_MAX_ATTEMPTS):
            if available <= 0:
                break
            end = self._find_split_position(start, available)
            part = _join_parts(opening, self._text[start:end])
            if end < len(self._text):
                part = self._close_marks(part, start, end)
            excess = count_utf16_units(part) - self._limit
            if excess <= 0:
                return part, end
            available = (
                min(available, count_utf16_units(self._text[start:end])) - excess
            )
        raise InvalidFormat

    def _find_split_position(self, start: int, available: int) -> int:
        """Find where to split: outside marks and, if possible, outside graphemes."""
        text = self._text
        end = find_limit_end(text, start, available)
        if end == len(text):
            return end
        if end == start:
            raise InvalidFormat
        # If the only white space is in a tag at the start, split between characters.
        for find in (find_break, find_grapheme_boundary):
            outside = self._move_before_spans(start, find(text, start, end))
            if outside > start:
                return outside
        outside = self._move_before_spans(start, end)
        if outside > start:
            return outside
        raise InvalidFormat

    def _move_before_spans(self, start: int, end: int) -> int:
        """Move a split back if it is in a mark, as `**`, or after an opening mark."""
        index = bisect_left(self._starts, end) - 1
        while index >= 0 and end > start:
            span = self._spans[index]
            if span.end < end or (span.end == end and not span.is_opening):
                break
            end = span.start
            index -= 1
        return end

    def _find_open_marks(self, position: int) -> list[Mark]:
        """Return the marks that are open at a position, the outermost first."""
        index = bisect_right(self._starts, position - 1) - 1
        innermost: OpenMark | None = (
            self._spans[index].innermost if index >= 0 else None
        )
        marks: list[Mark] = []
        while innermost is not None:
            if len(marks) >= self._limit:
                raise InvalidFormat
            marks.append(innermost.mark)
            innermost = innermost.outer
        return marks[::-1]

    def _close_marks(self, part: str, start: int, end: int) -> str:
        """Close the marks that are open at the end of a part."""
        marks = self._find_open_marks(end)
        if not marks:
            return part
        closing = _join_parts(
            *(_build_closing(mark, marks[0]) for mark in reversed(marks))
        )
        trailing = ""
        if any(mark.is_quote for mark in marks):
            # A quote ends with its last line, so all marks must be closed in that line.
            length = end - self._find_last_visible_end(start, end)
            part, trailing = part[: len(part) - length], part[len(part) - length :]
            trailing = trailing.replace("\r", "")  # It is invisible.
        return _join_parts(part, closing) + trailing

    def _find_last_visible_end(self, start: int, end: int) -> int:
        """Find where the line breaks at the end of a piece begin."""
        stripped = start + len(self._text[start:end].rstrip("\r\n"))
        index = bisect_left(self._starts, stripped) - 1
        return max(stripped, self._spans[index].end) if index >= 0 else stripped

    def _extract_visible_text(self, start: int, end: int) -> str:
        """Return the text that a user sees of a piece."""
        pieces = []
        position = start
        index = bisect_left(self._starts, start)
        while index < len(self._spans) and self._spans[index].start < end:
            span = self._spans[index]
            pieces += [self._text[position : span.start], span.visible_text]
            position = span.end
            index += 1
        return "".join([*pieces, self._text[position:end]])


def _build_closing(mark: Mark, outermost: Mark) -> str:
    """Return the closing of a mark. A quote inside another mark needs a line break."""
    return (
        f"{mark.closing}\n" if mark.is_quote and mark is not outermost else mark.closing
    )


def _join_parts(*parts: str) -> str:
    """Join parts so that adjacent marks do not become a different mark."""
    joined = ""
    for part in parts:
        if (
            part
            and joined
            and part[0] == joined[-1]
            and part[0] in _REPEATABLE_CHARACTERS
        ):
            joined += "\r"
        joined += part
    return joined
