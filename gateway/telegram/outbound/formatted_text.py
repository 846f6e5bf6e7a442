"""Cutting formatted texts into messages, each well-formed by itself.

Marks that are open at a cut are closed before it and opened again behind it. A text
that Telegram refuses in its format is cut like any other: it is sent again as plain
text, and nothing may be added to it.
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
from gateway.telegram.outbound.marks import Mark, NotInFormat, OpenMark, SpanList
from gateway.telegram.outbound.text_splitting import (
    blank,
    find_good_end,
    find_reach,
    find_whole_end,
    split,
    units,
)

_FINDERS: dict["TextFormat.ValueType", Callable[[str], SpanList]] = {
    TEXT_FORMAT_HTML: find_html_marks,
    TEXT_FORMAT_MARKDOWN_V2: find_markdown_marks,
}

_SEPARATED = frozenset("_`|")
"""Marks that are read in pairs or threes. Between two of them, one from the text and
one that is added, stands a carriage return, which Telegram takes out again."""

_TAG = re.compile(r"<[^<>]*+>")

_TRIES = 8
"""How often a part is made shorter to make room for the marks that it has to close."""


def split_formatted(
    text: str, text_format: "TextFormat.ValueType", limit: int
) -> list[str]:
    """Cut a text of any format where `split` does, with each part well-formed.

    Args:
        text: with its marks.
        text_format: how it is marked up.
        limit: the length of a part in UTF-16 code units, with its marks.
    """
    find = _FINDERS.get(text_format)
    if find is None:
        return split(text, limit)
    if units(text) <= limit and _is_seen(text, text_format):
        return [text]
    try:
        return _Splitter(text, find(text), limit).split()
    except NotInFormat:
        return split(text, limit)


def _is_seen(text: str, text_format: "TextFormat.ValueType") -> bool:
    """Tell whether a user will see something, as far as it is easy to tell."""
    if text_format == TEXT_FORMAT_HTML:
        return not blank(_TAG.sub("", text))
    return any(map(str.isalnum, text[:64]))


class _Splitter:
    """Cuts one text."""

    def __init__(self, text: str, spans: SpanList, limit: int) -> None:
        self._text = text
        self._spans = spans
        self._starts = [span.start for span in spans]
        self._limit = limit

    def split(self) -> list[str]:
        parts = []
        start = 0
        while start < len(self._text):
            part, end = self._next_part(start)
            if not blank(self._visible(start, end)):
                parts.append(part)
            start = end
        return parts

    def _next_part(self, start: int) -> tuple[str, int]:
        """Give the part that begins there, and where its text ends.

        Raises:
            NotInFormat: its marks alone are longer than a message.
        """
        marks = self._marks_at(start)
        opening = _join(*(mark.opening for mark in marks))
        room = self._limit - units(opening)
        for _ in range(_TRIES):
            if room <= 0:
                break
            end = self._find_end(start, room)
            part = _join(opening, self._text[start:end])
            if end < len(self._text):
                part = self._close(part, start, end)
            excess = units(part) - self._limit
            if excess <= 0:
                return part, end
            room = min(room, units(self._text[start:end])) - excess
        raise NotInFormat

    def _find_end(self, start: int, room: int) -> int:
        """Find where to cut, outside of marks and of what is seen as one character."""
        text = self._text
        end = find_reach(text, start, room)
        if end == len(text):
            return end
        if end == start:
            raise NotInFormat
        # The white space of a tag at the start is no end of a word: cut hard instead.
        for find in (find_good_end, find_whole_end):
            outside = self._outside_spans(start, find(text, start, end))
            if outside > start:
                return outside
        outside = self._outside_spans(start, end)
        if outside > start:
            return outside
        raise NotInFormat

    def _outside_spans(self, start: int, end: int) -> int:
        """Move a cut back so that it is in no mark, nor behind one that opens."""
        index = bisect_left(self._starts, end) - 1
        while index >= 0 and end > start:
            span = self._spans[index]
            if span.end < end or (span.end == end and not span.opens):
                break
            end = span.start
            index -= 1
        return end

    def _marks_at(self, position: int) -> list[Mark]:
        """Give the marks that are open there, the outermost first."""
        index = bisect_right(self._starts, position - 1) - 1
        innermost: OpenMark | None = (
            self._spans[index].innermost if index >= 0 else None
        )
        marks: list[Mark] = []
        while innermost is not None:
            if len(marks) >= self._limit:
                raise NotInFormat
            marks.append(innermost.mark)
            innermost = innermost.outer
        return marks[::-1]

    def _close(self, part: str, start: int, end: int) -> str:
        """Close what is open at the end of a part."""
        marks = self._marks_at(end)
        if not marks:
            return part
        closing = _join(*(_closing(mark, marks[0]) for mark in reversed(marks)))
        behind = ""
        if any(mark.quote for mark in marks):
            # The end of its last line ends a quote, and all has to be closed in it.
            length = end - self._last_visible_end(start, end)
            part, behind = part[: len(part) - length], part[len(part) - length :]
            behind = behind.replace("\r", "")  # nobody would see it
        return _join(part, closing) + behind

    def _last_visible_end(self, start: int, end: int) -> int:
        """Find where the white space at the end of a piece begins."""
        stripped = start + len(self._text[start:end].rstrip("\r\n"))
        index = bisect_left(self._starts, stripped) - 1
        return max(stripped, self._spans[index].end) if index >= 0 else stripped

    def _visible(self, start: int, end: int) -> str:
        """Give what a user sees of a piece."""
        seen = []
        position = start
        index = bisect_left(self._starts, start)
        while index < len(self._spans) and self._spans[index].start < end:
            span = self._spans[index]
            seen += [self._text[position : span.start], span.visible]
            position = span.end
            index += 1
        return "".join([*seen, self._text[position:end]])


def _closing(mark: Mark, outermost: Mark) -> str:
    """Give what closes a mark. A quote that stands in another mark needs a line end."""
    return f"{mark.closing}\n" if mark.quote and mark is not outermost else mark.closing


def _join(*parts: str) -> str:
    """Put parts together so that no two marks become another one."""
    joined = ""
    for part in parts:
        if part and joined and part[0] == joined[-1] and part[0] in _SEPARATED:
            joined += "\r"
        joined += part
    return joined
