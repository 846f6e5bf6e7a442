"""TDLib itself, asked what it makes of marked up texts and of links.

The Bot API server is built on it. The requests used here are answered without a client,
an account or a network. Where there is no `tdjson` nothing that is compared with TDLib
can be tested: that is an error and no reason to skip.
"""

import html
import json
from typing import Any

try:
    import tdjson
except ImportError as error:
    raise RuntimeError(
        "TDLib is missing: run make setup. Its package, tdjson, has wheels for Linux "
        "and macOS on x86-64 and arm64, and for Windows"
    ) from error

MODES: dict[str, dict[str, Any]] = {
    "HTML": {"@type": "textParseModeHTML"},
    "MarkdownV2": {"@type": "textParseModeMarkdown", "version": 2},
    "Markdown": {"@type": "textParseModeMarkdown", "version": 1},
}
"""The Bot API's parse modes, as TDLib names them."""

_KINDS = {
    "Bold": "bold",
    "Italic": "italic",
    "Underline": "underline",
    "Strikethrough": "strikethrough",
    "Spoiler": "spoiler",
    "Code": "code",
    "Pre": "pre",
    "PreCode": "pre",
    "TextUrl": "text_link",
    "MentionName": "text_mention",
    "CustomEmoji": "custom_emoji",
    "DateTime": "date_time",
    "BlockQuote": "blockquote",
    "ExpandableBlockQuote": "expandable_blockquote",
}
"""The Bot API's names of entities, by TDLib's."""

_FOUND = {
    "Mention": "mention",
    "Hashtag": "hashtag",
    "Cashtag": "cashtag",
    "BotCommand": "bot_command",
    "Url": "url",
    "EmailAddress": "email",
}
"""The same for what is found without markup. Others are no part of the Bot API."""

Entity = dict[str, Any]


class Refused(Exception):
    """TDLib does not take the text. The message is its description."""


def parse(text: str, mode: str) -> tuple[str, list[Entity]]:
    """Read a marked up text: give what a user sees, and the entities above it.

    Raises:
        Refused: TDLib does not take it.
    """
    answer = _execute(
        {"@type": "parseTextEntities", "text": text, "parse_mode": MODES[mode]}
    )
    if answer["@type"] == "error":
        raise Refused(answer["message"])
    return answer["text"], [_entity(entity) for entity in answer["entities"]]


def check_link(link: str) -> str:
    """Return a link as TDLib keeps it. Empty: it does not take it."""
    quoted = html.escape(link, quote=True)
    _, entities = parse(f'<a href="{quoted}">x</a>', "HTML")
    if entities and entities[0]["type"] == "text_mention":
        return link
    return str(entities[0]["url"]) if entities else ""


def find_entities(text: str) -> list[tuple[int, int, str]]:
    """Find what TDLib marks by itself: where, how long, and what it is."""
    answer = _execute({"@type": "getTextEntities", "text": text})
    return [
        (entity["offset"], entity["length"], _FOUND[kind])
        for entity in answer["entities"]
        if (kind := entity["type"]["@type"].removeprefix("textEntityType")) in _FOUND
    ]


def _entity(entity: dict[str, Any]) -> Entity:
    kind = entity["type"]["@type"].removeprefix("textEntityType")
    read = {
        "type": _KINDS[kind],
        "offset": entity["offset"],
        "length": entity["length"],
    }
    for name in ("url", "user_id", "language", "custom_emoji_id", "unix_time"):
        if value := entity["type"].get(name):
            read[name] = value
    return read


def _execute(request: dict[str, Any]) -> dict[str, Any]:
    answer = tdjson.td_execute(json.dumps(request).encode())
    if answer is None:
        raise RuntimeError("TDLib does not know the request")
    read: dict[str, Any] = json.loads(answer)
    return read


_execute({"@type": "setLogVerbosityLevel", "new_verbosity_level": 0})
