"""The texts that the gateway itself sends to users."""

import math

from botgateway.chat.v1.reply_pb2 import (
    CallbackAnswer,
    OutgoingMessage,
    PreCheckoutAnswer,
    Reply,
    ShippingAnswer,
)

from gateway.domain.errors import APOLOGY_TEXT, ServiceError
from gateway.domain.update import ButtonPress, Update

RATE_LIMITED_TEXT = "You're sending messages too fast, please slow down 🙂"
BUSY_TEXT = "Too much at once. Please try again in {time}."
UNKNOWN_COMMAND_TEXT = "I don't know that one. Send /help to see what I can do."

MAX_RETRY_AFTER_SECONDS = 48 * 3600
"""A longer time from a service is treated as a mistake."""

_UNITS = (
    (90, 1, "seconds"),
    (90 * 60, 60, "minutes"),
    (MAX_RETRY_AFTER_SECONDS, 3600, "hours"),
)
"""For each unit: the maximum time, its length (both in seconds) and its name."""


def build_notice(update: Update, text: str) -> Reply:
    """Return a reply with a text of the gateway, in the form that fits the update.

    For a pressed button, it is the answer to the callback query. Before a payment, it
    is the reason not to proceed. The reply is empty if the user did not write to the
    bot: users who react, edit or join expect no reply, and only the service may write
    on behalf of a business account.
    """
    if isinstance(update, ButtonPress):
        return Reply(callback_answer=CallbackAnswer(text=text))
    match update.update_type:
        case "message" | "guest_message" if update.expects_reply:
            return Reply(messages=[OutgoingMessage(text=text)])
        case "pre_checkout_query":
            return Reply(pre_checkout_answer=PreCheckoutAnswer(error_message=text))
        case "shipping_query":
            return Reply(shipping_answer=ShippingAnswer(error_message=text))
        case _:
            return Reply()


def build_error_reply(update: Update, error: ServiceError) -> Reply:
    """Return the reply to send after a failed call of a service.

    Its text is the one that the service gave for the user; otherwise an apology, or the
    time after which to try again if the service gave one. It has the form that fits the
    update: see `build_notice`.
    """
    return build_notice(update, error.user_message or _default_error_text(error))


def _default_error_text(error: ServiceError) -> str:
    seconds = error.retry_after
    if seconds is None or not 0 < seconds <= MAX_RETRY_AFTER_SECONDS:
        return APOLOGY_TEXT
    if seconds <= 1:
        return BUSY_TEXT.format(time="a second")
    unit, name = next((unit, name) for limit, unit, name in _UNITS if seconds <= limit)
    return BUSY_TEXT.format(time=f"{math.ceil(seconds / unit)} {name}")
