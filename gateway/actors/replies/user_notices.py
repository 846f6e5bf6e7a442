"""What the gateway itself says to users."""

import math

from botgateway.chat.v1.reply_pb2 import (
    CallbackAnswer,
    OutgoingMessage,
    PreCheckoutAnswer,
    Reply,
    ShippingAnswer,
)

from gateway.domain import wording
from gateway.domain.errors import ServiceError
from gateway.domain.update import Update

RATE_LIMITED_TEXT = "You're sending messages too fast, please slow down 🙂"
APOLOGY_TEXT = wording.APOLOGY_TEXT
BUSY_TEXT = "Too much at once. Please try again in {time}."
UNKNOWN_COMMAND_TEXT = "I don't know that one. Send /help to see what I can do."

MAX_RETRY_AFTER_SECONDS = 48 * 3600
"""A service that asks for more does not mean it."""

_UNITS = (
    (90, 1, "seconds"),
    (90 * 60, 60, "minutes"),
    (MAX_RETRY_AFTER_SECONDS, 3600, "hours"),
)
"""Up to so many seconds, a unit of so many, and its name."""


def build_notice(update: Update, text: str) -> Reply:
    """Say something to the user, in the way that fits the update.

    After a pressed button it is the answer to the press, before a payment the reason
    not to go on. Whoever did not speak to the bot is told nothing: who reacts, edits or
    joins waits for no answer, and on a business account's behalf only its service
    speaks.
    """
    if update.callback_query_id:
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
    """Say why there is no answer: in the service's own words, if it has any."""
    return build_notice(update, error.user_message or _default_error_text(error))


def _default_error_text(error: ServiceError) -> str:
    seconds = error.retry_after
    if not 0 < seconds <= MAX_RETRY_AFTER_SECONDS:
        return APOLOGY_TEXT
    if seconds <= 1:
        return BUSY_TEXT.format(time="a second")
    unit, name = next((unit, name) for limit, unit, name in _UNITS if seconds <= limit)
    return BUSY_TEXT.format(time=f"{math.ceil(seconds / unit)} {name}")
