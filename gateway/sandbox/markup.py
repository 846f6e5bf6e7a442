"""Formatted text, as both of Telegram's markups build it."""

import re
from typing import Any

Entity = dict[str, Any]
Parsed = tuple[str, list[Entity]]
"""The text that a user sees, and where it is marked up, in UTF-16 code units."""

# What Telegram takes for the address of a link; it leaves other links out.
_ADDRESS = re.compile(r"(?:https?://)?[^\s/]+\.[^\s/]+|(?:tg|ton)://\w", re.IGNORECASE)


class Unparsable(Exception):
    """The text is not what its format allows. The message has Telegram's wording."""


def utf16_length(text: str) -> int:
    """Give the length in UTF-16 code units, in which Telegram counts entities."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


class OpenMark:
    """A mark that was opened and not closed yet.

    Attributes:
        mark: the mark or the tag's name.
        entity: what it becomes when it is closed.
        at: where it stands in the source.
        piece: the number of the first piece of visible text inside of it.
    """

    def __init__(self, mark: str, entity: Entity, at: int, piece: int) -> None:
        self.mark = mark
        self.entity = entity
        self.at = at
        self.piece = piece


class MarkupBuilder:
    """Collects visible text, and the entities above it.

    Attributes:
        source: the text with its markup.
        open: the marks that are open, the innermost one last.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.open: list[OpenMark] = []
        self._pieces: list[str] = []
        self._length = 0
        self._entities: list[Entity] = []

    @property
    def innermost(self) -> str:
        """The innermost mark that is open. Empty: none."""
        return self.open[-1].mark if self.open else ""

    def write(self, text: str) -> None:
        """Add visible text."""
        self._pieces.append(text)
        self._length += utf16_length(text)

    def start(self, mark: str, kind: str, at: int, **fields: str) -> None:
        """Open a mark that stands at this place of the source."""
        entity = {"type": kind, "offset": self._length, **fields}
        self.open.append(OpenMark(mark, entity, at, len(self._pieces)))

    def end(self) -> None:
        """Close the innermost mark. One around nothing leaves no entity."""
        closed = self.open.pop()
        entity = closed.entity
        entity["length"] = self._length - entity["offset"]
        if entity["type"] == "text_link":
            # A link without an address is its own.
            entity.setdefault("url", "".join(self._pieces[closed.piece :]))
            if not _ADDRESS.match(entity["url"]):
                return
        if entity["length"]:
            self._entities.append(entity)

    def parsed(self) -> Parsed:
        """Give what was collected."""
        self._entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))
        return "".join(self._pieces), self._entities

    def place(self, at: int) -> str:
        """Name a place of the source as Telegram does."""
        return f"at byte offset {len(self.source[:at].encode())}"
