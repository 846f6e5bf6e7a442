"""Records what a user has seen of a bot, and which of it a step has expected."""

from typing import Any

from msgspec import Struct

from gateway.sandbox.scenarios.patterns import Pattern
from gateway.sandbox.simulator.validation.rules import Parameters

KINDS = ("message", "edit", "toast", "alert")
"""The kinds of reactions: toasts and alerts are answers to pressed buttons."""
MEDIA = (
    "animation",
    "audio",
    "document",
    "photo",
    "sticker",
    "video",
    "voice",
)
"""The media that a message of the bot can have."""
_LAST = 6
"""Number of messages of a chat in a report."""
_TEXT_LIMIT = 300


class _Shown(Struct, frozen=True):
    """A reaction of the bot.

    Attributes:
        text: the text or caption of the message, or the text of the answer.
        media: the media of the message.
    """

    text: str
    media: frozenset[str] = frozenset()


class ObservedMessages:
    """Collects the reactions of the bot that a user sees, until a step expects them.

    If a step expects one, all earlier reactions of the same kind count as seen, too.
    """

    def __init__(self) -> None:
        self._came: dict[str, list[_Shown]] = {kind: [] for kind in KINDS}
        self._looked: dict[str, int] = dict.fromkeys(KINDS, 0)

    def observe(self, user: int, event: Parameters) -> None:
        """Record a reaction of the bot if the user can see it.

        Args:
            user: the user's id.
            event: an event of the simulator; most kinds are ignored.
        """
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
        """Return whether a reaction that no step has expected yet matches a pattern.

        The first one that matches, and all before it of the same kind, then count as
        seen.

        Args:
            kind: message, edit, toast or alert.
            pattern: the pattern of the text or the caption.
            media: the required media, or an empty string for any.
        """
        for index in range(self._looked[kind], len(self._came[kind])):
            shown = self._came[kind][index]
            if pattern.matches(shown.text) and (not media or media in shown.media):
                self._looked[kind] = index + 1
                return True
        return False

    def unseen(self) -> list[str]:
        """Return as text the reactions that no step has expected.

        Answers to pressed buttons without a text are left out.
        """
        return [
            f"{kind}: {_in_brackets(shown.media)}{_short(shown.text)}"
            for kind, came in self._came.items()
            for shown in came[self._looked[kind] :]
            if shown.text or kind not in {"toast", "alert"}
        ]


def _in_brackets(media: frozenset[str]) -> str:
    return "".join(f"[{each}] " for each in sorted(media))


def text_of(message: Parameters) -> str:
    """Return the text of a message, or its caption; empty if it has neither."""
    return str(message.get("text", message.get("caption", "")))


def buttons_of(message: Parameters) -> list[dict[str, Any]]:
    """Return all buttons of the inline keyboard under a message, if it has one."""
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    return [button for row in rows for button in row]


def describe(chat: list[Parameters], name: str) -> list[str]:
    """Return the last six messages of a chat as lines of a report.

    Args:
        chat: the messages.
        name: the name of the user.
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
