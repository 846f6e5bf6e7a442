"""Extracts the plain text of rich messages (Bot API 10.1 to 10.3: RichMessage).

A rich message consists of blocks, such as paragraphs, lists and tables.
"""

from collections.abc import Iterator

MAX_RICH_MESSAGE_LENGTH = 32_768
"""Maximum characters of a rich message by default."""

_MAX_DEPTH = 64
"""Maximum nesting of blocks and styles; text that is nested deeper is left out."""

_INLINE_FIELDS = ("text", "alternative_text", "expression")
"""The fields of a RichText that contain visible text; it has one of them."""

_BLOCK_FIELDS = ("summary", "text", "expression", "items", "cells", "blocks", "caption")
"""The fields of a RichBlock that contain visible text, in display order."""


def extract_text(blocks: object) -> str:
    """Return the text of RichBlocks, with a line for each paragraph, row and item.

    The text has at most `MAX_RICH_MESSAGE_LENGTH` characters; the rest is cut off.
    Unknown fields, and fields that do not have the expected shape, are ignored.

    Args:
        blocks: the field `blocks` of a RichMessage, as decoded from JSON.
    """
    lines: list[str] = []
    remaining = MAX_RICH_MESSAGE_LENGTH
    for line in _extract_lines(blocks, _MAX_DEPTH):
        lines.append(line[:remaining])
        remaining -= len(line) + 1
        if remaining <= 0:
            break
    return "\n".join(lines)


def _extract_lines(blocks: object, depth: int) -> Iterator[str]:
    """Yield the lines of blocks that may be nested up to `depth` times."""
    for block in blocks if isinstance(blocks, list) and depth else ():
        if not isinstance(block, dict):
            continue
        for name in _BLOCK_FIELDS:
            if name in block:
                yield from _extract_field_lines(name, block[name], depth - 1)
        if "credit" in block and (credit := _extract_inline(block["credit"], depth)):
            yield credit


def _extract_field_lines(name: str, value: object, depth: int) -> Iterator[str]:
    """Yield the lines of a field of a block."""
    match name:
        case "blocks":
            yield from _extract_lines(value, depth)
        case "items":
            for item in value if isinstance(value, list) else ():
                yield from _extract_item_lines(item, depth)
        case "cells":
            for row in value if isinstance(value, list) else ():
                cells = row if isinstance(row, list) else []
                yield "\t".join(_extract_inline(cell, depth) for cell in cells)
        case "caption" if isinstance(value, dict) and "type" not in value:
            yield from _extract_lines([value], depth)
        case _:
            if text := _extract_inline(value, depth):
                yield text


def _extract_item_lines(item: object, depth: int) -> Iterator[str]:
    """Yield the lines of a list item, the first of them after the item's label."""
    if not isinstance(item, dict):
        return
    label = item.get("label")
    lines = list(_extract_lines(item.get("blocks"), depth))
    if isinstance(label, str) and label:
        lines[:1] = [f"{label} {lines[0]}" if lines else label]
    yield from lines


def _extract_inline(text: object, depth: int) -> str:
    """Return the text of a RichText: a string, a list, or a style around either."""
    if isinstance(text, str):
        return text
    if depth <= 0:
        return ""
    if isinstance(text, list):
        return "".join(_extract_inline(part, depth - 1) for part in text)
    if isinstance(text, dict):
        if "button" in text:
            return _extract_inline(text["button"], depth - 1)
        name = next((name for name in _INLINE_FIELDS if name in text), "")
        return _extract_inline(text[name], depth - 1) if name else ""
    return ""
