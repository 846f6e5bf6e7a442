"""What a user has seen of the bot, and what of it no step has looked at yet."""

from typing import Any

from msgspec import Struct

from gateway.sandbox.scenarios.patterns import Pattern
from gateway.sandbox.simulator.validation.rules import Parameters

KINDS = ("message", "edit", "toast", "alert")
"""What a bot can show: a toast and an alert are answers to pressed buttons."""
MEDIA = (
    "animation",
    "audio",
    "document",
    "photo",
    "sticker",
    "video",
    "voice",
)
"""What a message of the bot can be besides a text."""
_LAST = 6
"""Messages of a chat that a report shows."""
_TEXT_LIMIT = 300


class _Shown(Struct, frozen=True):
    """Something that came.

    Attributes:
        text: of the message or the answer, or the caption.
        media: what the message is besides.
    """

    text: str
    media: frozenset[str] = frozenset()


class ObservedMessages:
    """Collects what comes. A step that finds something has looked at all before it."""

    def __init__(self) -> None:
        self._came: dict[str, list[_Shown]] = {kind: [] for kind in KINDS}
        self._looked: dict[str, int] = dict.fromkeys(KINDS, 0)

    def observe(self, user: int, event: Parameters) -> None:
        """Note an event of the simulator, if it shows something to a user."""
        if event["type"] == "answer" and event["user_id"] == user:
            kind = "alert" if event["show_alert"] else "toast"
            self._came[kind].append(_Shown(event["text"]))
        elif event.get("chat_id") == user and event["type"] in {"message", "edited"}:
            message = event["message"]
            if message["from"]["is_bot"]:
                kind = "edit" if event["type"] == "edited" else "message"
                media = frozenset(MEDIA).intersection(message)
                self._came[kind].append(_Shown(text_of(message), media))

    def take_match(self, kind: str, pattern: Pattern, media: str = "") -> bool:
        """Find what looks like this among what no step has looked at.

        Args:
            kind: message, edit, toast or alert.
            pattern: the text, or the caption.
            media: what a message is besides. Empty: anything.
        """
        for index in range(self._looked[kind], len(self._came[kind])):
            shown = self._came[kind][index]
            if pattern.matches(shown.text) and (not media or media in shown.media):
                self._looked[kind] = index + 1
                return True
        return False

    def unseen(self) -> list[str]:
        """List what no step has looked at. A button's bare answer shows nothing."""
        return [
            f"{kind}: {_in_brackets(shown.media)}{_short(shown.text)}"
            for kind, came in self._came.items()
            for shown in came[self._looked[kind] :]
            if shown.text or kind not in {"toast", "alert"}
        ]


def _in_brackets(media: frozenset[str]) -> str:
    return "".join(f"[{each}] " for each in sorted(media))


def text_of(message: Parameters) -> str:
    """Give the text of a message, or its caption."""
    return str(message.get("text", message.get("caption", "")))


def buttons_of(message: Parameters) -> list[dict[str, Any]]:
    """List the buttons under a message."""
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    return [button for row in rows for button in row]


def describe(chat: list[Parameters], name: str) -> list[str]:
    """Show the last messages of a chat, as lines.

    Args:
        chat: its messages.
        name: what the user is called.
    """
    lines = [f"... {len(chat) - _LAST} earlier"] if len(chat) > _LAST else []
    for message in chat[-_LAST:]:
        who = "bot" if message["from"]["is_bot"] else name
        media = "" if "text" in message else f"[{_media(message)}] "
        buttons = "".join(f" [{each['text']}]" for each in buttons_of(message))
        shown = f"{who}: {media}{_short(text_of(message))}{buttons}"
        lines += shown.splitlines()
    return lines or ["(empty)"]


def _media(message: Parameters) -> str:
    plain = {"message_id", "from", "chat", "date", "edit_date", "caption"}
    return next((name for name in message if name not in plain), "message")


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + "..."
