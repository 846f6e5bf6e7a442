"""Where a formatted text has its marks: what readers of both formats share."""

from typing import NamedTuple


class NotInFormat(Exception):
    """Telegram refuses the text in its format."""


class Mark:
    """A mark around a piece of text, such as bold.

    Attributes:
        opening: what opens it again in another message.
        closing: what closes it. For a link it is known only when its end was read.
        quote: a quote of MarkdownV2: it has no mark at its end, but ends with its line.
    """

    __slots__ = ("closing", "opening", "quote")

    def __init__(self, opening: str, closing: str, *, quote: bool = False) -> None:
        self.opening = opening
        self.closing = closing
        self.quote = quote


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
        visible: what a user sees of it. Empty: nothing, it is a mark.
        opens: it opens a mark.
    """

    start: int
    end: int
    innermost: OpenMark | None
    visible: str = ""
    opens: bool = False


MOST_MARKS = 10_000
"""Telegram shows 100 marks of a message. A text that has more of them than 100 messages
could show is not worth the time that reading them takes."""

MOST_SPANS = 100_000
"""The same for marks and escaped characters together."""


class SpanList(list[Span]):
    """The spans of a text, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self._marks = 0

    def add(self, span: Span) -> None:
        """Append a span.

        Raises:
            NotInFormat: there are too many.
        """
        self._marks += span.opens
        if self._marks > MOST_MARKS or len(self) >= MOST_SPANS:
            raise NotInFormat
        self.append(span)
