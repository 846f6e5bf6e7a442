"""What a user has seen of the bot, and what of it no step has looked at yet."""

from typing import Any

from gateway.sandbox.rules import Parameters
from gateway.sandbox.scenarios.patterns import Pattern

KINDS = ("message", "edit", "toast", "alert")
"""What a bot can show: a toast and an alert are answers to pressed buttons."""
_LAST = 6
"""Messages of a chat that a report shows."""
_TEXT_LIMIT = 300


class Sight:
    """Collects what comes. A step that finds something has looked at all before it."""

    def __init__(self) -> None:
        self._came: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self._looked: dict[str, int] = dict.fromkeys(KINDS, 0)

    def take(self, user: int, event: Parameters) -> None:
        """Note an event of the simulator, if it shows something to a user."""
        if event["type"] == "answer" and event["user_id"] == user:
            self._came["alert" if event["show_alert"] else "toast"].append(
                event["text"]
            )
        elif event.get("chat_id") == user and event["type"] in {"message", "edited"}:
            message = event["message"]
            if message["from"]["is_bot"]:
                kind = "edit" if event["type"] == "edited" else "message"
                self._came[kind].append(text_of(message))

    def look(self, kind: str, pattern: Pattern) -> bool:
        """Find what looks like this among what no step has looked at."""
        for index in range(self._looked[kind], len(self._came[kind])):
            if pattern.fits(self._came[kind][index]):
                self._looked[kind] = index + 1
                return True
        return False

    def unseen(self) -> list[str]:
        """List what no step has looked at. A button's bare answer shows nothing."""
        return [
            f"{kind}: {_short(text)}"
            for kind, came in self._came.items()
            for text in came[self._looked[kind] :]
            if text or kind not in {"toast", "alert"}
        ]


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
