"""Buttons whose data does not fit into a button, or is still to be put together.

Telegram gives a button 64 bytes. Longer data is kept in the state of the user who is
answered, and the button carries a short key to it. The key is made of the data, so that
a reply that is made again after a crash has the same buttons.
"""

from collections.abc import Iterator

from botgateway.chat.v1.reply_pb2 import Button, InlineKeyboard, Reply
from msgspec import structs

from gateway.domain.services import INLINE_SCOPE, ServiceRouter, button_scope
from gateway.domain.update import Update
from gateway.domain.user_state import PAYLOAD_KEY_PREFIX, UserState

MAX_CALLBACK_DATA_BYTES = 64
"""Bot API, InlineKeyboardButton: callback_data."""
MAX_BUTTON_DATA_BYTES = 1024
"""Bytes; what the contract allows."""


def prepare_callback_data(
    reply: Reply, update: Update, state: UserState, services: ServiceRouter
) -> None:
    """Give the buttons of a reply data that Telegram takes.

    What cannot be done stays as it is, and is left out when the reply is composed: a
    button that calls no rpc, data that is too long, or has no room beside what the same
    reply keeps.

    Args:
        reply: its buttons are changed in place.
        update: what the reply answers.
        state: keeps what is too long for a button.
        services: put data together, and sign it.
    """
    stored_keys: set[str] = set()
    for keyboard, scope in _iter_keyboards(reply, update):
        for row in keyboard.rows:
            for button in row.buttons:
                if button.HasField("route") and (
                    data := services.encode_callback_data(button.route)
                ):
                    button.callback_data = data
                if data := button.callback_data:
                    _set_callback_data(
                        button,
                        services.sign_callback_data(data, scope),
                        state,
                        stored_keys,
                    )


def expand_callback_data(update: Update, state: UserState) -> Update:
    """Give a pressed button the data that its key stands for, if that is known."""
    if not update.callback_data.startswith(PAYLOAD_KEY_PREFIX):
        return update
    data = state.callback_payloads.get(update.callback_data)
    return update if data is None else structs.replace(update, callback_data=data)


def _iter_keyboards(
    reply: Reply, update: Update
) -> Iterator[tuple[InlineKeyboard, str]]:
    """Give the keyboards of a reply, each with the place in which it will be."""
    for message in reply.messages:
        if message.HasField("keyboard"):
            yield message.keyboard, _get_message_scope(update)
    if reply.HasField("inline_answer"):
        for result in reply.inline_answer.results:
            yield result.message.keyboard, INLINE_SCOPE


def _get_message_scope(update: Update) -> str:
    """Give the place to which the messages of a reply go."""
    if update.update_type == "guest_message":  # the answer is an inline message
        return INLINE_SCOPE
    if update.reply_chat_id:
        return button_scope(update.reply_chat_id, "")
    context = update.context
    return button_scope(context.chat_id, context.business_connection_id)


def _set_callback_data(
    button: Button, signed: str, state: UserState, stored_keys: set[str]
) -> None:
    """Put the data into the button, or a key to it."""
    data = button.callback_data
    # A character takes four bytes at most: most data need not be encoded to be counted.
    if (
        len(signed) * 4 > MAX_CALLBACK_DATA_BYTES
        and len(signed.encode()) > MAX_CALLBACK_DATA_BYTES
    ):
        if len(data.encode()) > MAX_BUTTON_DATA_BYTES:
            return
        if not (key := state.store_payload(signed, beside=stored_keys)):
            # Without its signature the data might fit, but would call nothing.
            button.callback_data = signed
            return
        stored_keys.add(key)
        signed = key
    if signed != data:
        button.callback_data = signed
