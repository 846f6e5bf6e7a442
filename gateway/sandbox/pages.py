"""What the simulator shows to a person with curl."""

from collections.abc import Iterable

from gateway.sandbox.rules import Parameters

ABOUT = """\
A stand-in for Telegram's Bot API. It keeps what the bot sends; nothing leaves this
machine, and everything is forgotten when it ends.

  GET  /chats/{chat_id}        what a chat shows
  GET  /sent                   the newest calls as JSON (?chat_id=, ?after=time)
  POST /bot{token}/{method}    the Bot API
"""


def chat_page(chat_id: int, messages: Iterable[Parameters]) -> str:
    """Show a chat as text: each message with its number, content and buttons."""
    shown = [_message(message) for message in messages]
    return "\n".join(shown) or f"Nothing was sent to chat {chat_id} yet.\n"


def _message(message: Parameters) -> str:
    attached = [f"({kind})" for kind in message if kind in _ATTACHMENTS]
    words = [*attached, message.get("text") or message.get("caption") or ""]
    first, *more = " ".join(word for word in words if word).split("\n")
    edited = " (edited)" if "edit_date" in message else ""
    lines = [f"#{message['message_id']}{edited}  {first}"]
    lines += [f"    {line}" for line in more]
    for row in message.get("reply_markup", {}).get("inline_keyboard", []):
        lines.append("    " + " ".join(_button(button) for button in row))
    return "\n".join(lines) + "\n"


_ATTACHMENTS = frozenset(
    {"photo", "document", "voice", "audio", "video", "animation", "sticker"}
)


def _button(button: Parameters) -> str:
    actions = [value for name, value in button.items() if name != "text"]
    return f"[{button['text']} -> {actions[0]}]"
