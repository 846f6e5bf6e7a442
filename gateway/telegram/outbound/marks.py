"""The positions of marks in a formatted text, for both formats."""

from typing import NamedTuple


class InvalidFormat(Exception):
    """Telegram would reject the text in its format."""


class Mark:
    """A mark around a piece of text, such as bold.

    Attributes:
        opening: the text that opens the mark again in another message.
        closing: the text that closes it. That of a link is known only after its end was
            read.
        is_quote: True for a quote of MarkdownV2, which ends with its line and not with
            a mark.
    """

    __slots__ = ("closing", "is_quote", "opening")

    def __init__(self, opening: str, closing: str, *, is_quote: bool = False) -> None:
        self.opening = opening
        self.closing = closing
        self.is_quote = is_quote


class OpenMark(NamedTuple):
    """An open mark and the marks around it: an immutable stack."""

    mark: Mark
    outer: "OpenMark | None"


class Span(NamedTuple):
    """A piece of the source that must not be split: a mark or an escaped character.

    Attributes:
        start: the first position.
        end: the position after the last one.
        innermost: the innermost mark that is open after the span.
        visible_text: the text that a user sees of it, or an empty string for a mark.
        is_opening: whether it opens a mark.
    """

    start: int
    end: int
    innermost: OpenMark | None
    visible_text: str = ""
    is_opening: bool = False


MAX_MARKS = 10_000
"""Telegram shows 100 marks of a message. A text with more marks than 100 messages can
show is not worth the time that it takes to read them."""

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
