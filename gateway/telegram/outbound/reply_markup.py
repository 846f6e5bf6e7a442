"""What is attached to a message: the Bot API's parameter `reply_markup`."""

from typing import Any

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_CHANNEL, RequestContext
from botgateway.chat.v1.reply_pb2 import OutgoingMessage

from gateway.telegram.outbound.inline_keyboard import Report, inline_keyboard
from gateway.telegram.outbound.reply_keyboard import (
    REMOVED,
    forced_reply,
    reply_keyboard,
)


def reply_markup(
    message: OutgoingMessage, context: RequestContext, report: Report
) -> dict[str, Any]:
    """Give the parameter `reply_markup`; nothing if the message has none.

    Args:
        message: what the service wants the user to see.
        context: where it will be shown.
        report: called with a word for everything that is left out.
    """
    kind = message.WhichOneof("markup")
    if kind is None:
        return {}
    if kind == "keyboard":
        return inline_keyboard(message.keyboard, context, report)
    # Bot API, ReplyKeyboardMarkup, ReplyKeyboardRemove and ForceReply.
    if context.chat_type == CHAT_TYPE_CHANNEL or context.business_connection_id:
        report(f"{kind}_unsupported_here")
        return {}
    if kind == "reply_keyboard":
        return reply_keyboard(message.reply_keyboard, context, report)
    if kind == "force_reply":
        return forced_reply(message.force_reply, report)
    return REMOVED if message.remove_keyboard else {}


def for_edit(markup: dict[str, Any], report: Report) -> dict[str, Any]:
    """Give as much of a markup as an edit takes, which is an inline keyboard.

    Bot API, editMessageText: reply_markup.
    """
    if not markup or "inline_keyboard" in markup["reply_markup"]:
        return markup
    report("markup_unsupported_in_edit")
    return {}
