"""Where a formatted text has its marks: what readers of both formats share."""

from typing import NamedTuple


class InvalidFormat(Exception):
    """Telegram refuses the text in its format."""


class Mark:
    """A mark around a piece of text, such as bold.

    Attributes:
        opening: what opens it again in another message.
        closing: what closes it. For a link it is known only when its end was read.
        is_quote: a quote of MarkdownV2: it has no mark at its end, but ends with its
            line.
    """

    __slots__ = ("closing", "is_quote", "opening")

    def __init__(self, opening: str, closing: str, *, is_quote: bool = False) -> None:
        self.opening = opening
        self.closing = closing
        self.is_quote = is_quote


class OpenMark(NamedTuple):
    """A mark that is open, and the ones around it; a stack that is never changed."""

    mark: Mark
    outer: "OpenMark | None"


class Span(NamedTuple):
    """A piece of the source that must not be cut: a mark, or an escaped character.

    Attributes:
        start: its first position.
        end: the position behind it.
        innermost: the marks that are open behind it.
        visible_text: what a user sees of it. Empty: nothing, it is a mark.
        is_opening: it opens a mark.
    """

    start: int
    end: int
    innermost: OpenMark | None
    visible_text: str = ""
    is_opening: bool = False


MAX_MARKS = 10_000
"""Telegram shows 100 marks of a message. A text that has more of them than 100 messages
could show is not worth the time that reading them takes."""

MAX_SPANS = 100_000
"""The same for marks and escaped characters together."""


class SpanList(list[Span]):
    """The spans of a text, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self._mark_count = 0

    def add(self, span: Span) -> None:
        """Append a span.

        Raises:
            InvalidFormat: there are too many.
        """
        self._mark_count += span.is_opening
        if self._mark_count > MAX_MARKS or len(self) >= MAX_SPANS:
            raise InvalidFormat
        self.append(span)
