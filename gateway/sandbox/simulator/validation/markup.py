"""Collects visible text and entities for the parsers of Telegram's markup formats."""

import re
from typing import Any

from gateway.sandbox.simulator.validation.links import InvalidLink, check_link

Entity = dict[str, Any]
Parsed = tuple[str, list[Entity]]
"""The visible text, and its entities in UTF-16 code units."""

_PRIORITIES = {
    "blockquote": 0,
    "expandable_blockquote": 0,
    "pre": 11,
    "code": 20,
    "date_time": 30,
    "text_link": 49,
    "text_mention": 49,
    "bold": 90,
    "italic": 91,
    "underline": 92,
    "strikethrough": 93,
    "spoiler": 94,
    "custom_emoji": 99,
}
"""The order of entities around the same text (TDLib, MessageEntity.cpp)."""

_IN_APP = re.compile(r"tg:(?://)?(user|emoji|time)/?\?([^#]*)", re.IGNORECASE)
_NUMBER = re.compile(r"0|-?[1-9][0-9]*")
_DATE_FORMAT = re.compile(r"[rR]|[tTdDwW]*")


class MarkupError(Exception):
    """The markup of a text is invalid. The message is Telegram's error text."""


def utf16_length(text: str) -> int:
    """Return the length of a text in UTF-16 code units, as Telegram counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def read_number(text: str, bits: int) -> int:
    """Parse a number as TDLib does; return 0 if it is invalid or needs more bits."""
    if not _NUMBER.fullmatch(text) or len(text) > 20:
        return 0
    number = int(text)
    return number if -(2 ** (bits - 1)) <= number < 2 ** (bits - 1) else 0


def custom_emoji(link: str) -> Entity | None:
    """Return the entity for a link to a custom emoji or a time.

    Returns None if the link is neither of them, or is invalid.
    """
    parameters = _parameters(link, "emoji")
    if emoji := read_number(parameters.get("id", ""), 64):
        return {"type": "custom_emoji", "custom_emoji_id": str(emoji)}
    parameters = _parameters(link, "time", last=True)
    return date_time(parameters.get("unix", ""), parameters.get("format", ""))


def date_time(seconds: str, date_format: str) -> Entity | None:
    """Return the entity of a time.

    Args:
        seconds: the seconds since the epoch, as text.
        date_format: Telegram's letters for the format; empty for the default.

    Returns:
        The entity; None if the seconds or the format are invalid.
    """
    unix_time = read_number(seconds, 32)
    if unix_time <= 0 or not _DATE_FORMAT.fullmatch(date_format):
        return None
    entity: Entity = {"type": "date_time", "unix_time": unix_time}
    return entity | {"date_time_format": date_format} if date_format else entity


def _parameters(link: str, host: str, *, last: bool = False) -> dict[str, str]:
    """Parse the parameters of a link into the app.

    Args:
        link: a link such as "tg://user?id=7".
        host: the required host.
        last: of several parameters with one name use the last one, not the first.
    """
    read = _IN_APP.match(link)
    if not read or read[1].lower() != host:
        return {}
    pairs = [each.partition("=")[::2] for each in read[2].split("&")]
    return dict(pairs if last else reversed(pairs))


class OpenMark:
    """A mark, such as `*` or `<b>`, that was opened and is not closed yet.

    Attributes:
        mark: the mark or the tag's name.
        entity: the entity of the mark, still without a length.
        at: the position of the mark in the source.
        piece: the index of the first piece of visible text after the mark.
    """

    def __init__(self, mark: str, entity: Entity, at: int, piece: int) -> None:
        self.mark = mark
        self.entity = entity
        self.at = at
        self.piece = piece


class MarkupBuilder:
    """Collects the visible text and the entities of a text with markup.

    Attributes:
        source: the text with its markup.
        open: the marks that are open, innermost last.
        entities: the entities of closed marks, in the order in which they were closed.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.open: list[OpenMark] = []
        self.entities: list[Entity] = []
        self._pieces: list[str] = []
        self._length = 0

    @property
    def innermost(self) -> str:
        """The mark that was opened last and is still open, or "" if there is none."""
        return self.open[-1].mark if self.open else ""

    def write(self, text: str) -> None:
        """Append visible text, which belongs to all open marks."""
        self._pieces.append(text)
        self._length += utf16_length(text)

    def start(self, mark: str, kind: str, at: int, **fields: str) -> None:
        """Open a mark.

        Args:
            mark: the mark or the tag's name.
            kind: the type of its entity.
            at: the position of the mark in the source.
            fields: further fields of the entity.
        """
        entity = {"type": kind, "offset": self._length, **fields}
        self.open.append(OpenMark(mark, entity, at, len(self._pieces)))

    def end(self) -> Entity | None:
        """Close the innermost mark, add its entity and return the entity.

        Returns None, and adds nothing, if the entity has no text, or is a link that
        Telegram does not accept.
        """
        closed = self.open.pop()
        entity = closed.entity
        entity["length"] = self._length - entity["offset"]
        if entity["type"] == "text_link":
            # A link without a URL links to its own text.
            link = entity.pop("url", None)
            entity |= _link(
                "".join(self._pieces[closed.piece :]) if link is None else link
            )
        if not entity["length"] or not entity["type"]:
            return None
        self.entities.append(entity)
        return entity

    def parsed(self) -> Parsed:
        """Return the visible text and its entities, in Telegram's order."""
        self.entities.sort(
            key=lambda each: (
                each["offset"],
                -each["length"],
                _PRIORITIES[each["type"]] - ("language" in each),
            )
        )
        return "".join(self._pieces), self.entities

    def place(self, at: int) -> str:
        """Return a position of the source in the words of Telegram's error messages."""
        return f"at byte offset {len(self.source[:at].encode())}"


def _link(link: str) -> Entity:
    """Return the entity fields of a link; the type is "" if the link is ignored."""
    user_id = read_number(_parameters(link.lower(), "user").get("id", ""), 64)
    if 0 < user_id < 2**52:
        user = {"id": user_id, "is_bot": False, "first_name": f"User {user_id}"}
        return {"type": "text_mention", "user": user}
    try:
        return {"type": "text_link", "url": check_link(link)}
    except InvalidLink:
        return {"type": ""}
