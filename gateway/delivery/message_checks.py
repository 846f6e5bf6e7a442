"""Checks the messages of a request, so that a mistake fails at once and not later.

The renderer omits what Telegram rejects. Here, a service is told before anything is
stored. What only Telegram can know, such as whether a file exists, is not checked.
"""

from collections.abc import Iterator

from botgateway.chat.v1.reply_pb2 import (
    InlineKeyboard,
    InlineKeyboardButton,
    Media,
    MediaType,
    OutgoingMessage,
    ReplyKeyboard,
    TextFormat,
)

from gateway.delivery.failures import Violation
from gateway.domain.reply_limits import MAX_BUTTONS, MAX_MEDIA, MAX_TEXT

MAX_MESSAGES = 10
"""The maximum number of messages of one delivery."""

MAX_UPLOAD_BYTES = 50 * 10**6
"""The maximum size of a file that the gateway sends to Telegram (Bot API, Sending
files)."""

_MAX_CALLBACK_DATA_BYTES = 1024

# Protobuf makes a new list of the values each time.
_TEXT_FORMATS = frozenset(TextFormat.values())
_MEDIA_TYPES = frozenset(MediaType.values())


def check_messages(messages: list[OutgoingMessage]) -> Iterator[Violation]:
    """Yield a violation for each wrong field of the messages of a Send request."""
    if not 1 <= len(messages) <= MAX_MESSAGES:
        yield Violation("messages", f"needs 1 to {MAX_MESSAGES} messages")
    for index, message in enumerate(messages[:MAX_MESSAGES]):
        path = f"messages[{index}]"
        if message.edit:
            yield Violation(f"{path}.edit", "is not allowed here: use Amend")
        yield from check_message(message, path)


def check_message(message: OutgoingMessage, path: str) -> Iterator[Violation]:
    """Yield a violation for each wrong field of a message, except for `edit`.

    Args:
        message: the message.
        path: the path of the message in its request, such as "messages[0]".
    """
    text, media_count = message.text, len(message.media)
    if not media_count and not text.strip():
        yield Violation(f"{path}.text", "is empty, and there are no media")
    if len(text) > MAX_TEXT:
        yield Violation(f"{path}.text", f"has more than {MAX_TEXT} characters")
    if message.format not in _TEXT_FORMATS:
        yield Violation(f"{path}.format", "has an unknown value")
    if media_count > MAX_MEDIA:
        yield Violation(f"{path}.media", f"has more than {MAX_MEDIA} files")
    for index, media in enumerate(message.media[: MAX_MEDIA + 1]):
        yield from _check_media(media, f"{path}.media[{index}]")
    match message.WhichOneof("markup"):
        case "inline_keyboard":
            yield from _check_inline_keyboard(
                message.inline_keyboard, f"{path}.inline_keyboard"
            )
        case "reply_keyboard":
            yield from _check_reply_keyboard(
                message.reply_keyboard, f"{path}.reply_keyboard"
            )
    if message.HasField("reply_to_message_id") and message.reply_to_message_id <= 0:
        yield Violation(f"{path}.reply_to_message_id", "is not a message id")


def _check_media(media: Media, path: str) -> Iterator[Violation]:
    if media.type not in _MEDIA_TYPES:
        yield Violation(f"{path}.type", "has an unknown value")
    match media.WhichOneof("source"):
        case None:
            yield Violation(path, "needs a file_id, a url or an upload")
        case "file_id":
            if not media.file_id:
                yield Violation(f"{path}.file_id", "is empty")
        case "url":
            if not media.url.startswith(("http://", "https://")):
                yield Violation(f"{path}.url", "is not an HTTP or HTTPS URL")
        case "upload":
            if not 1 <= len(media.upload.content) <= MAX_UPLOAD_BYTES:
                yield Violation(
                    f"{path}.upload.content", f"needs 1 to {MAX_UPLOAD_BYTES} bytes"
                )


def _check_inline_keyboard(keyboard: InlineKeyboard, path: str) -> Iterator[Violation]:
    buttons = [
        (f"{path}.rows[{row_index}].buttons[{index}]", button)
        for row_index, row in enumerate(keyboard.rows[: MAX_BUTTONS + 1])
        for index, button in enumerate(row.buttons[: MAX_BUTTONS + 1])
    ]
    if not buttons:
        yield Violation(path, "has no buttons")
    if len(buttons) > MAX_BUTTONS:
        yield Violation(path, f"has more than {MAX_BUTTONS} buttons")
    for button_path, button in buttons[:MAX_BUTTONS]:
        yield from _check_inline_button(button, button_path)


def _check_inline_button(
    button: InlineKeyboardButton, path: str
) -> Iterator[Violation]:
    if not button.text.strip():
        yield Violation(f"{path}.text", "is empty")
    action = button.WhichOneof("action")
    if action is None:
        yield Violation(path, "needs an action")
        return
    problem = _find_action_problem(button, action)
    if problem is not None:
        field = "callback_target.method" if action == "callback_target" else action
        yield Violation(f"{path}.{field}", problem)


def _find_action_problem(button: InlineKeyboardButton, action: str) -> str | None:
    match action:
        case "callback_data":
            if not 1 <= len(button.callback_data.encode()) <= _MAX_CALLBACK_DATA_BYTES:
                return f"needs 1 to {_MAX_CALLBACK_DATA_BYTES} bytes"
        case "web_app_url":
            if not button.web_app_url.startswith("https://"):
                return "is not an HTTPS URL"
        case "callback_target":
            return None if button.callback_target.method else "is empty"
        case _:
            return None if button.url else "is empty"
    return None


def _check_reply_keyboard(keyboard: ReplyKeyboard, path: str) -> Iterator[Violation]:
    texts = [
        (f"{path}.rows[{row_index}].buttons[{index}].text", button.text)
        for row_index, row in enumerate(keyboard.rows[: MAX_BUTTONS + 1])
        for index, button in enumerate(row.buttons[: MAX_BUTTONS + 1])
    ]
    if not texts:
        yield Violation(path, "has no buttons")
    if len(texts) > MAX_BUTTONS:
        yield Violation(path, f"has more than {MAX_BUTTONS} buttons")
    for text_path, text in texts[:MAX_BUTTONS]:
        if not text.strip():
            yield Violation(text_path, "is empty")
