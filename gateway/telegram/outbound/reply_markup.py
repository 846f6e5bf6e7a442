"""Builds the Bot API's parameter `reply_markup`: the keyboard of a message."""

from typing import Any

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_CHANNEL, RequestContext
from botgateway.chat.v1.reply_pb2 import OutgoingMessage

from gateway.telegram.outbound.inline_keyboard import (
    ReportDropped,
    build_inline_keyboard,
)
from gateway.telegram.outbound.reply_keyboard import (
    KEYBOARD_REMOVAL,
    build_force_reply,
    build_reply_keyboard,
)


def build_reply_markup(
    message: OutgoingMessage, context: RequestContext, report_dropped: ReportDropped
) -> dict[str, Any]:
    """Build the parameter `reply_markup` of a message.

    Args:
        message: the service's message.
        context: the context with the chat that the message will be shown in.
        report_dropped: called with the code of each dropped part.

    Returns:
        The parameter by its name; an empty dict if the message has no valid markup.
    """
    field = message.WhichOneof("markup")
    if field is None:
        return {}
    if field == "inline_keyboard":
        return build_inline_keyboard(message.inline_keyboard, context, report_dropped)
    # Bot API, ReplyKeyboardMarkup, ReplyKeyboardRemove and ForceReply.
    if context.chat_type == CHAT_TYPE_CHANNEL or context.business_connection_id:
        report_dropped(f"{field}_unsupported_here")
        return {}
    if field == "reply_keyboard":
        return build_reply_keyboard(message.reply_keyboard, context, report_dropped)
    if field == "force_reply":
        return build_force_reply(message.force_reply, report_dropped)
    return KEYBOARD_REMOVAL if message.remove_keyboard else {}


def limit_to_edit(
    markup: dict[str, Any], report_dropped: ReportDropped
) -> dict[str, Any]:
    """Return a markup if an edit of a message accepts it, otherwise an empty dict.

    An edit accepts only an inline keyboard (Bot API, editMessageText: reply_markup).

    Args:
        markup: the result of `build_reply_markup`.
        report_dropped: called with a code if the markup is left out.
    """
    if not markup or "inline_keyboard" in markup["reply_markup"]:
        return markup
    report_dropped("markup_unsupported_in_edit")
    return {}
