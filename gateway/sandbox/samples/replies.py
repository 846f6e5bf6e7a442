"""Examples of replies with keyboards, buttons and more.

Each word of `WORDS` shows an example. Replies are data: the gateway drops the parts
that the user's chat cannot show.
"""

from collections.abc import Callable, Mapping

from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.chat.v1.reply_pb2 import (
    BUTTON_STYLE_DANGER,
    BUTTON_STYLE_PRIMARY,
    LINK_PREVIEW_SIZE_SMALL,
    CallbackTarget,
    ForceReply,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    LinkPreviewOptions,
    OutgoingMessage,
    Reply,
    ReplyKeyboard,
    ReplyKeyboardButton,
    ReplyKeyboardRow,
)

from gateway.sandbox.samples.users import MARGARET


def _keyboard(_: IncomingMessage) -> Reply:
    """Return a reply with a custom keyboard."""
    rows = [
        ReplyKeyboardRow(
            buttons=[
                ReplyKeyboardButton(text="Tea"),
                ReplyKeyboardButton(text="Coffee"),
            ]
        ),
        ReplyKeyboardRow(
            buttons=[
                ReplyKeyboardButton(text="Share my number", request_contact=True),
                ReplyKeyboardButton(text="No keyboard", style=BUTTON_STYLE_DANGER),
            ]
        ),
    ]
    keyboard = ReplyKeyboard(rows=rows, input_field_placeholder="Tea or coffee?")
    return _one(OutgoingMessage(text="What may it be?", reply_keyboard=keyboard))


def _no_keyboard(_: IncomingMessage) -> Reply:
    return _one(OutgoingMessage(text="Here are the letters.", remove_keyboard=True))


def _buttons(_: IncomingMessage) -> Reply:
    """Return a reply with buttons of every kind."""
    # The gateway builds the callback data from the template of the rpc. It stores this
    # data itself, because the id is too long for a button.
    connect = CallbackTarget(
        method="MatchingService.Connect", parameters={"target_user_id": MARGARET}
    )
    first = [
        InlineKeyboardButton(
            text="Connect", callback_target=connect, style=BUTTON_STYLE_PRIMARY
        ),
        InlineKeyboardButton(text="Skip", callback_data=f"SKIP:{MARGARET}"),
    ]
    second = [
        InlineKeyboardButton(text="Her page", url="https://example.com/margaret"),
        InlineKeyboardButton(text="Her app", web_app_url="https://example.com/app"),
    ]
    keyboard = InlineKeyboard(
        rows=[InlineKeyboardRow(buttons=first), InlineKeyboardRow(buttons=second)]
    )
    text = "Margaret has a very long id."
    return _one(OutgoingMessage(text=text, inline_keyboard=keyboard))


def _reply(message: IncomingMessage) -> Reply:
    """Return a silent, protected reply that quotes the message."""
    return _one(
        OutgoingMessage(
            text="This answers you: https://example.com",
            reply_to_message_id=message.message_id,
            disable_notification=True,
            protect_content=True,
            link_preview_options=LinkPreviewOptions(
                url="https://example.com/about", size=LINK_PREVIEW_SIZE_SMALL
            ),
        )
    )


def _ask(_: IncomingMessage) -> Reply:
    """Return a reply that asks the user to reply to it."""
    force = ForceReply(input_field_placeholder="Your favourite colour")
    return _one(OutgoingMessage(text="Which colour do you like?", force_reply=force))


def _one(message: OutgoingMessage) -> Reply:
    return Reply(messages=[message])


WORDS: Mapping[str, Callable[[IncomingMessage], Reply]] = {
    "keyboard": _keyboard,
    "no keyboard": _no_keyboard,
    "buttons": _buttons,
    "reply": _reply,
    "ask": _ask,
}
"""The examples by the word that requests them."""
