"""Whether the simulator and the renderer agree with TDLib about a text or a link."""

import random
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from botgateway.chat.v1.reply_pb2 import (
    TEXT_FORMAT_HTML,
    TEXT_FORMAT_MARKDOWN_V2,
    TextFormat,
)

from gateway.sandbox.simulator.validation.links import InvalidLink
from gateway.sandbox.simulator.validation.links import (
    check_link as check_link_in_sandbox,
)
from gateway.sandbox.simulator.validation.markup import MarkupError, Parsed
from gateway.sandbox.simulator.validation.markup_html import parse_html
from gateway.sandbox.simulator.validation.markup_markdown import parse_markdown_v2
from gateway.sandbox.simulator.validation.markup_markdown_legacy import parse_markdown
from gateway.telegram.outbound.formatted_text_splitting import split_formatted_text
from gateway.telegram.outbound.text_splitting import (
    count_utf16_units,
    is_blank,
    split_text,
)
from gateway.telegram.outbound.urls import parse_url
from tests import tdlib

PARSERS: dict[str, Callable[[str], Parsed]] = {
    "HTML": parse_html,
    "MarkdownV2": parse_markdown_v2,
    "Markdown": parse_markdown,
}
FORMATS: dict[str, "TextFormat.ValueType"] = {
    "HTML": TEXT_FORMAT_HTML,
    "MarkdownV2": TEXT_FORMAT_MARKDOWN_V2,
}

AGREED = frozenset({"both take it", "both refuse it", "fits", "cut", "given up"})
"""The results that are no disagreement.

"given up": the marks of the text alone are longer than a part, which is cut as plain
text then.
"""

_LINK_PIECES = (
    "http:// https:// HTTPS:// tg: tg:// ton:// tonsite:// ftp:// // : / ? # @ [ ] a "
    "b.c . .. a.b x 80 0 65535 65536 % %41 %4 ::1 [::1] [1::2] [::ffff:1.2.3.4] "
    "[fe80::1%1] 127.0.0.1 < > | ^ ` { ü É user?id=5 - _ ! $ , ~ * ( ) ; & + = A Z "
    "localhost t.me 00 +5 -5 1e1 %zz 😀 ' \" \\ \t \n \x7f \u200b"
)


def make_link(chance: random.Random) -> str:
    """Put a link together from what its readers trip over."""
    return "".join(chance.choices(_LINK_PIECES.split(" "), k=chance.randint(1, 7)))


def compare_markup(text: str, mode: str) -> str:
    """Say how the simulator's reading of a text compares with TDLib's."""
    expected: tuple[str, list[Any]] | str
    read: tuple[str, list[Any]] | str
    try:
        expected = _ordered(*tdlib.parse(text, mode))
    except tdlib.Refused as error:
        expected = str(error).removeprefix("Can't parse entities: ")
    try:
        visible, entities = PARSERS[mode](text)
        read = _ordered(visible, [_as_tdlib(entity) for entity in entities])
    except MarkupError as error:
        read = str(error)
    if read == expected:
        return "both refuse it" if isinstance(read, str) else "both take it"
    if isinstance(read, str) and isinstance(expected, str):
        return "other words"
    if isinstance(read, str):
        return "refused by the simulator only"
    if isinstance(expected, str):
        return "refused by TDLib only"
    return "other text" if read[0] != expected[0] else "other entities"


def compare_links(link: str) -> str:
    """Say how the judgements of renderer and simulator compare with TDLib's."""
    expected = tdlib.check_link(link)
    try:
        kept = check_link_in_sandbox(link)
    except InvalidLink:
        kept = ""
    address = parse_url(link)
    if (address is not None) != bool(expected):
        return "other judgement of the renderer"
    if address is not None and not expected.lower().startswith(address.scheme):
        return "other scheme in the renderer"
    is_mention = expected == link and "user?id=" in link.lower()
    if kept != expected and not (is_mention and kept):
        return "other link in the simulator"
    return "both take it" if expected else "both refuse it"


def compare_parts(text: str, mode: str, limit: int) -> str:
    """Say how Telegram would show the parts of a text that it takes as a whole."""
    parts = split_formatted_text(text, FORMATS[mode], limit)
    if any(count_utf16_units(part) > limit for part in parts):
        return "too long"
    try:
        whole = seen(text, mode)
    except tdlib.Refused:
        # It is sent as plain text, and nothing may be added to it.
        return "both refuse it" if parts == split_text(text, limit) else "marks added"
    if parts == split_text(text, limit) != [text]:
        return "given up"
    try:
        shown = [each for part in parts for each in seen(part, mode)]
    except tdlib.Refused:
        return "part refused"
    if shown != whole:
        return "shown otherwise"
    return "cut" if len(parts) > 1 else "fits"


def seen(text: str, mode: str) -> list[tuple[str, list[str]]]:
    """Return each visible character as TDLib shows it: with its marks."""
    visible, entities = tdlib.parse(text, mode)
    spans = [(each.pop("offset"), each.pop("length"), str(each)) for each in entities]
    marks: list[list[str]] = [[] for _ in range(count_utf16_units(visible))]
    for start, length, mark in sorted(spans, key=itemgetter(2)):
        for position in range(start, start + length):
            marks[position].append(mark)
    blanks = {character for character in set(visible) if is_blank(character)}
    characters = []
    position = 0
    for character in visible:
        if character not in blanks:
            characters.append((character, marks[position]))
        position += 2 if character > "\uffff" else 1
    return characters


def _ordered(visible: str, entities: list[Any]) -> tuple[str, list[Any]]:
    """Order entities that TDLib's own sorting leaves in any order: around one text."""
    return visible, sorted(
        entities,
        key=lambda each: (
            each["offset"],
            -each["length"],
            sorted(map(str, each.items())),
        ),
    )


def _as_tdlib(entity: dict[str, Any]) -> dict[str, Any]:
    read = dict(entity)
    read.pop("date_time_format", None)
    if "user" in read:
        read["user_id"] = read.pop("user")["id"]
    return read
