"""What the gateway itself says to users."""

import math

from botgateway.chat.v1.reply_pb2 import CallbackAnswer, OutgoingMessage, Reply

from gateway.domain.errors import ServiceError
from gateway.domain.update import Update

SLOW_DOWN = "You're sending messages too fast, please slow down 🙂"
APOLOGY = "Something went wrong on our side. Please try again in a minute."
BUSY = "Too much at once. Please try again in {time}."
HINT = "I don't know that one. Send /help to see what I can do."


def notice(update: Update, text: str) -> Reply:
    """Say something to the user: after a pressed button as the answer to the press."""
    if update.callback_query_id:
        return Reply(callback_answer=CallbackAnswer(text=text))
    return Reply(messages=[OutgoingMessage(text=text)])


def excuse(update: Update, error: ServiceError) -> Reply:
    """Say why there is no answer: in the service's own words, if it has any."""
    return notice(update, error.told or _own_words(error))


def _own_words(error: ServiceError) -> str:
    seconds = math.ceil(error.retry_seconds)
    if seconds <= 0:
        return APOLOGY
    if seconds == 1:
        return BUSY.format(time="a second")
    if seconds <= 90:
        return BUSY.format(time=f"{seconds} seconds")
    return BUSY.format(time=f"{math.ceil(seconds / 60)} minutes")
