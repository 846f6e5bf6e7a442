"""Splits texts to the lengths that Telegram accepts. No visible character is lost.

Lengths are counted in UTF-16 code units, as in Telegram's offsets. Telegram's own check
counts code points, which is less strict. All functions take linear time for any text.
"""

import re
import unicodedata
from collections.abc import Iterator

find_visible = re.compile(
    "[^\x00-\x20\xa0\u030a\u0333\u033f\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f"
    "\u2800\u3000\ufeff\ufffc\U000e0000-\U000e007f]"
).search
"""Find a character that Telegram does not treat as empty.

TDLib, misc.cpp: clean_input_string and is_empty_string.
"""

_MAX_GRAPHEME_LENGTH = 64
"""How many code points before a split are searched for the start of a grapheme.

An emoji of a family has about ten code points; longer graphemes are stacks of accents.
"""

_ZERO_WIDTH_JOINER = "\u200d"


def count_utf16_units(text: str) -> int:
    """Return the length of a text in UTF-16 code units."""
    if text.isascii():
        return len(text)
    return len(text.encode("utf-16-le")) // 2


def is_blank(text: str) -> bool:
    """Return whether Telegram treats the text as empty and refuses to send it."""
    return not find_visible(text)


def truncate(text: str, limit: int) -> str:
    """Return the longest start of a text within a limit, without a broken emoji.

    Args:
        text: any text.
        limit: the maximum length in UTF-16 code units.
    """
    end = find_limit_end(text, 0, limit)
    return text[: find_grapheme_boundary(text, 0, end)]


def split_text(text: str, limit: int) -> list[str]:
    """Split a text at the ends of paragraphs, lines or words, as late as possible.

    White space stays at the end of the part before it. If the text has none of these
    ends, the split is between two visible characters. Blank parts cannot be sent and
    are left out.

    Args:
        text: any text.
        limit: the maximum length of a part in UTF-16 code units.
    """
    return [part for part in _iterate_parts(text, limit) if not is_blank(part)]


def _iterate_parts(text: str, limit: int) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = find_limit_end(text, start, limit)
        if end < len(text):
            end = find_break(text, start, end)
        yield text[start:end]
        start = end


def find_limit_end(text: str, start: int, limit: int) -> int:
    """Return the end of the longest piece of a text within a limit.

    Args:
        text: any text.
        start: the index at which the piece begins.
        limit: the maximum length of the piece in UTF-16 code units.

    Returns:
        The index after the last character.
    """
    window = text[start : start + limit]
    if not window.isascii():
        # "ignore" drops a surrogate pair that the limit splits.
        cut = window.encode("utf-16-le")[: 2 * limit]
        window = cut.decode("utf-16-le", "ignore")
    return start + len(window)


def find_break(text: str, start: int, end: int) -> int:
    """Return the best index for a split: after a paragraph, a line or a word.

    If there is none, return an index between two visible characters.

    Args:
        text: any text.
        start: the index at which the part begins.
        end: the index at which the part ends at the latest.
    """
    window = text[start:end]
    # A paragraph or line that ends early would make many short messages.
    for ending in ("\n\n", "\n"):
        found = window.rfind(ending, len(window) // 2)
        if found >= 0:
            return start + found + len(ending)
    if window[-1].isspace():
        return end
    word = window.rsplit(None, 1)[-1]
    head = window[: -len(word)]
    return (
        end - len(word)
        if not is_blank(head)
        else find_grapheme_boundary(text, start, end)
    )


def find_grapheme_boundary(text: str, start: int, end: int) -> int:
    """Move a split back so that it is not inside a visible character, such as an emoji.

    Args:
        text: any text.
        start: the index before which the split is not moved.
        end: the index of the split.

    Returns:
        The index of the split; `end` if there is no better one in the 64 code points
        before it.
    """
    for position in range(end, max(start, end - _MAX_GRAPHEME_LENGTH), -1):
        if position == len(text) or not _is_inside_grapheme(text, start, position):
            return position
    return end


def _is_inside_grapheme(text: str, start: int, position: int) -> bool:
    """Return whether a user sees the characters around the position as one."""
    before, after = text[position - 1], text[position]
    if _is_regional_indicator(before) and _is_regional_indicator(after):
        first = position
        while first > start and _is_regional_indicator(text[first - 1]):
            first -= 1
        return (position - first) % 2 == 1
    return (
        _ZERO_WIDTH_JOINER in {before, after}
        or unicodedata.category(after).startswith("M")
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= after <= "\U000e007f"  # letters in the flags of regions
    )


def _is_regional_indicator(character: str) -> bool:
    """Return whether this is a regional indicator; two of them form a flag."""
    return "\U0001f1e6" <= character <= "\U0001f1ff"
