"""The plain text of rich messages (Bot API 10.1 to 10.3: RichMessage)."""

from collections.abc import Iterator

TEXT_LIMIT = 32_768
"""Characters; what Telegram allows a rich message by default."""

_DEPTH_LIMIT = 64
"""Blocks in blocks and styles in styles; what is nested deeper is left out."""

_INLINE = ("text", "alternative_text", "expression")
"""The fields of a RichText that show characters; it has one of them."""

_BLOCKS = ("summary", "text", "expression", "items", "cells", "blocks", "caption")
"""The fields of a RichBlock that show characters, in the order of their places."""


def plain_text(blocks: object) -> str:
    """Give the text of RichBlocks, a line for each paragraph, row and item.

    Fields that are not known, and those of another shape than expected, show nothing.

    Args:
        blocks: the field `blocks` of a RichMessage, as decoded from JSON.
    """
    lines: list[str] = []
    left = TEXT_LIMIT
    for line in _lines(blocks, _DEPTH_LIMIT):
        lines.append(line[:left])
        left -= len(line) + 1
        if left <= 0:
            break
    return "\n".join(lines)


def _lines(blocks: object, depth: int) -> Iterator[str]:
    for block in blocks if isinstance(blocks, list) and depth else ():
        if not isinstance(block, dict):
            continue
        for name in _BLOCKS:
            if name in block:
                yield from _lines_of(name, block[name], depth - 1)
        if "credit" in block and (credit := _inline(block["credit"], depth)):
            yield credit


def _lines_of(name: str, value: object, depth: int) -> Iterator[str]:
    """Give the lines of a field of a block."""
    match name:
        case "blocks":
            yield from _lines(value, depth)
        case "items":
            for item in value if isinstance(value, list) else ():
                yield from _item(item, depth)
        case "cells":
            for row in value if isinstance(value, list) else ():
                cells = row if isinstance(row, list) else []
                yield "\t".join(_inline(cell, depth) for cell in cells)
        case "caption" if isinstance(value, dict) and "type" not in value:
            yield from _lines([value], depth)
        case _:
            if text := _inline(value, depth):
                yield text


def _item(item: object, depth: int) -> Iterator[str]:
    """Give the lines of an item of a list, the first one behind its label."""
    if not isinstance(item, dict):
        return
    label = item.get("label")
    lines = list(_lines(item.get("blocks"), depth))
    if isinstance(label, str) and label:
        lines[:1] = [f"{label} {lines[0]}" if lines else label]
    yield from lines


def _inline(text: object, depth: int) -> str:
    """Give the characters of a RichText: a string, a list, or a style around one."""
    if isinstance(text, str):
        return text
    if depth <= 0:
        return ""
    if isinstance(text, list):
        return "".join(_inline(part, depth - 1) for part in text)
    if isinstance(text, dict):
        if "button" in text:
            return _inline(text["button"], depth - 1)
        name = next((name for name in _INLINE if name in text), "")
        return _inline(text[name], depth - 1) if name else ""
    return ""
