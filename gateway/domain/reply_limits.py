"""Limits on the part of a service's reply that is processed.

A few megabytes can contain millions of messages, buttons or results. Looking at each of
them would block the event loop, and with it all other users. Therefore a large reply is
truncated first. Each list keeps one element more than its limit, and the text one
character more, so that the renderer notices the excess and reports it.
"""

from typing import Any

from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply

MAX_MESSAGES = 100
"""Messages of one reply. At one message a second in a chat, sending them takes minutes.
A longer reply is a mistake of the service and would delay the user's next updates."""

MAX_TEXT_LENGTH = 4096
"""UTF-16 code units of one message (Bot API, sendMessage: text)."""

MAX_TEXT = MAX_MESSAGES * MAX_TEXT_LENGTH
"""Characters of all texts of one reply together: as many as fit into the messages."""

MAX_BUTTONS = 100
"""Buttons of one keyboard. Telegram accepts about this many."""

MAX_CALLBACK_DATA_BYTES = 64
"""Bot API, InlineKeyboardButton: callback_data, 1 to 64 bytes."""

MAX_MEDIA = 100
"""Files of one message: ten full albums."""

MAX_RESULTS = 50
"""Results of an inline query (Bot API, answerInlineQuery: results)."""

MAX_RESULT_TEXT = 32_768
"""Characters of the text of one result, with its markup (telegram-bot-api, Client.cpp:
get_formatted_text)."""

MAX_OPTIONS = 100
"""Shipping options of one reply, and prices of one option."""


def cut_reply(reply: Reply) -> None:
    """Truncate a reply to the limits of this module, in place.

    Of each list that is too long, one element more than its limit remains, and of the
    texts one character more, so that the renderer notices and reports the excess.
    """
    _cut(reply.messages, MAX_MESSAGES)
    left = MAX_TEXT
    for message in reply.messages:
        left = _cut_message(message, left)
    if reply.HasField("inline_answer"):
        _cut(reply.inline_answer.results, MAX_RESULTS)
        for result in reply.inline_answer.results:
            _cut_message(result.message, MAX_RESULT_TEXT)
    if reply.HasField("shipping_answer"):
        _cut(reply.shipping_answer.options, MAX_OPTIONS)
        for option in reply.shipping_answer.options:
            _cut(option.prices, MAX_OPTIONS)


def _cut_message(message: OutgoingMessage, left: int) -> int:
    """Truncate a message, and return how many characters the next ones may have."""
    length = len(message.text)
    if length > left:
        message.text = message.text[: left + 1]
    if message.media:
        _cut(message.media, MAX_MEDIA)
    match message.WhichOneof("markup"):
        case "inline_keyboard":
            _cut_keyboard(message.inline_keyboard)
        case "reply_keyboard":
            _cut_keyboard(message.reply_keyboard)
    return max(0, left - length)


def _cut_keyboard(keyboard: Any) -> None:  # noqa: ANN401 - either kind of keyboard
    _cut(keyboard.rows, MAX_BUTTONS)
    left = MAX_BUTTONS
    for row in keyboard.rows:
        _cut(row.buttons, left)
        left = max(0, left - len(row.buttons))


def _cut(elements: Any, limit: int) -> None:  # noqa: ANN401 - of any type
    if len(elements) > limit:
        del elements[limit + 1 :]
