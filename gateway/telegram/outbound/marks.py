"""The positions of marks, such as `*` or `<b>`, in a text of either format."""

from typing import NamedTuple


class InvalidFormat(Exception):
    """Telegram would reject the text in its format, or it has too many marks."""


class Mark:
    """What opens and what closes a format of a piece of text, such as bold.

    Attributes:
        opening: the text that opens the format again in another message.
        closing: the text that closes the format. The closing of a link is known only
            after the end of the link was read.
        is_quote: True for a quote of MarkdownV2, which ends with its line and not with
            a mark.
    """

    __slots__ = ("closing", "is_quote", "opening")

    def __init__(self, opening: str, closing: str, *, is_quote: bool = False) -> None:
        self.opening = opening
        self.closing = closing
        self.is_quote = is_quote


class OpenMark(NamedTuple):
    """An open mark, and the next mark around it: an immutable stack.

    `outer` is None if no other mark is around it.
    """

    mark: Mark
    outer: "OpenMark | None"


class Span(NamedTuple):
    """A piece of the source that must not be split: a mark or an escaped character.

    Attributes:
        start: the first position of the piece in the source.
        end: the position after the last one.
        innermost: the innermost mark that is open after the piece; None if none is.
        visible_text: the text that a user sees instead of the piece, or an empty string
            for a mark.
        is_opening: whether the piece opens a mark.
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
    """The marks and escaped characters of a text, in their order; `add` limits them."""

    def __init__(self) -> None:
        super().__init__()
        self._mark_count = 0

    def add(self, span: Span) -> None:
        """Append a mark or an escaped character.

        Raises:
            InvalidFormat: there are too many for a message.
        """
        self._mark_count += span.is_opening
        if self._mark_count > MAX_MARKS or len(self) >= MAX_SPANS:
            raise InvalidFormat
        self.append(span)
