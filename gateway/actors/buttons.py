"""Buttons whose data does not fit into a button, or is still to be put together.

Telegram gives a button 64 bytes. Longer data is kept in the state of the user who is
answered, and the button carries a short key to it. The key is made of the data, so that
a reply that is made again after a crash has the same buttons.
"""

from collections.abc import Callable, Iterator

from botgateway.chat.v1.reply_pb2 import (
    Button,
    InlineKeyboard,
    Reply,
    RouteCall,
)
from msgspec import structs

from gateway.domain.state import KEY_START, State
from gateway.domain.update import Update

DATA_BYTES = 64
"""Bot API, InlineKeyboardButton: callback_data."""
LONGEST_DATA = 1024
"""Bytes; what the contract allows."""


def prepare(reply: Reply, state: State, render: Callable[[RouteCall], str]) -> None:
    """Give the buttons of a reply data that Telegram takes.

    What cannot be done stays as it is, and is left out when the reply is composed: a
    button that calls no rpc, data that is too long, or has no room beside what the same
    reply keeps.

    Args:
        reply: its buttons are changed in place.
        state: keeps what is too long for a button.
        render: gives the data of a button that calls an rpc. Empty: there is none.
    """
    kept: set[str] = set()
    for keyboard in _keyboards(reply):
        for row in keyboard.rows:
            for button in row.buttons:
                if button.HasField("route") and (data := render(button.route)):
                    button.callback_data = data
                _shorten(button, state, kept)


def look_up(update: Update, state: State) -> Update:
    """Give a pressed button the data that its key stands for, if that is known."""
    if not update.callback_data.startswith(KEY_START):
        return update
    data = state.kept_data.get(update.callback_data)
    return update if data is None else structs.replace(update, callback_data=data)


def _keyboards(reply: Reply) -> Iterator[InlineKeyboard]:
    for message in reply.messages:
        if message.HasField("keyboard"):
            yield message.keyboard
    if reply.HasField("inline_answer"):
        for result in reply.inline_answer.results:
            yield result.message.keyboard


def _shorten(button: Button, state: State, kept: set[str]) -> None:
    data = button.callback_data
    # A character takes four bytes at most: most data need not be encoded to be counted.
    if len(data) * 4 <= DATA_BYTES or not (
        DATA_BYTES < len(data.encode()) <= LONGEST_DATA
    ):
        return
    if key := state.keep(data, beside=kept):
        kept.add(key)
        button.callback_data = key
