"""Encodes and signs the data of buttons, and stores data that is too long.

Telegram allows 64 bytes for a button. Longer data is stored in the state of the user
who gets the reply, and the button contains a short key to it. The key is derived from
the data, so that a reply that is built again after a crash has the same buttons.
"""

from botgateway.chat.v1.reply_pb2 import InlineKeyboard, InlineKeyboardButton, Reply
from msgspec import structs

from gateway.domain.ports import INLINE_SCOPE, ServiceRouter, button_scope
from gateway.domain.reply_limits import MAX_CALLBACK_DATA_BYTES
from gateway.domain.update import ButtonPress, OtherUpdate, Update
from gateway.domain.user_state import UserState

MAX_BUTTON_DATA_BYTES = 1024
"""The maximum length that services may use: see `botgateway.chat.v1.Button`."""


def prepare_callback_data(
    reply: Reply,
    update: Update,
    state: UserState | None,
    services: ServiceRouter,
    *,
    delivery_id: str | None = None,
) -> None:
    """Set the data of a reply's buttons to data that Telegram accepts.

    Some buttons stay unchanged, and the renderer drops them: a button that calls no
    rpc, and data that is too long or for which there is no space next to the data that
    the same reply stores.

    Args:
        reply: the reply, whose buttons are changed in place.
        update: the update that the reply is for.
        state: stores data that is too long for a button. None in a group, where any
            user may press the button: then data that is too long stays as it is.
        services: encodes and signs the data.
        delivery_id: the delivery whose messages these are; None if it is a reply.
    """
    stored_keys: set[str] = set()
    for message in reply.messages:
        if message.HasField("inline_keyboard"):
            scope = _get_message_scope(update)
            keyboard = message.inline_keyboard
            _prepare_keyboard(
                keyboard, scope, state, services, stored_keys, delivery_id
            )
    if reply.HasField("inline_answer"):
        for result in reply.inline_answer.results:
            keyboard = result.message.inline_keyboard
            _prepare_keyboard(keyboard, INLINE_SCOPE, state, services, stored_keys)


def expand_callback_data(update: ButtonPress, state: UserState) -> ButtonPress:
    """Return a pressed button with its full data in place of a key to stored data.

    Data that was too long for a button is stored in the state, and the button has only
    a key to it. Data that is no such key stays as it is.
    """
    if update.callback_data is None:
        return update
    data = state.callback_payloads.get(update.callback_data)
    return update if data is None else structs.replace(update, callback_data=data)


def _prepare_keyboard(
    keyboard: InlineKeyboard,
    scope: str,
    state: UserState | None,
    services: ServiceRouter,
    stored_keys: set[str],
    delivery_id: str | None = None,
) -> None:
    for row in keyboard.rows:
        for button in row.buttons:
            if button.HasField("callback_target") and (
                data := services.encode_callback_data(button.callback_target)
            ):
                button.callback_data = data
            if data := button.callback_data:
                signed = services.sign_callback_data(data, scope, delivery_id)
                if delivery_id and _is_too_long(signed):
                    # Stored data lives for a day only, data in the button for ever.
                    unmarked = services.sign_callback_data(data, scope)
                    if state is None or not _is_too_long(unmarked):
                        signed = unmarked
                _set_callback_data(button, signed, state, stored_keys)


def _get_message_scope(update: Update) -> str:
    """Return the scope of buttons in the messages of a reply."""
    if update.update_type == "guest_message":  # the reply is an inline message
        return INLINE_SCOPE
    if isinstance(update, OtherUpdate) and update.reply_chat_id is not None:
        return button_scope(update.reply_chat_id, "")
    context = update.context
    return button_scope(context.chat_id, context.business_connection_id)


def _set_callback_data(
    button: InlineKeyboardButton,
    signed: str,
    state: UserState | None,
    stored_keys: set[str],
) -> None:
    """Set the data of a button to the signed data, or to a key to it."""
    data = button.callback_data
    if _is_too_long(signed):
        if len(data.encode()) > MAX_BUTTON_DATA_BYTES:
            return
        key = state.store_payload(signed, beside=stored_keys) if state else None
        if key is None:
            # Without its signature the data might fit, but would call nothing.
            button.callback_data = signed
            return
        stored_keys.add(key)
        signed = key
    if signed != data:
        button.callback_data = signed


def _is_too_long(data: str) -> bool:
    # A character takes at most four bytes, so short data need not be encoded.
    return (
        len(data) * 4 > MAX_CALLBACK_DATA_BYTES
        and len(data.encode()) > MAX_CALLBACK_DATA_BYTES
    )
