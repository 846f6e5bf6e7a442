"""What the gateway itself says to users."""

from botgateway.chat.v1.reply_pb2 import CallbackAnswer, OutgoingMessage, Reply

from gateway.domain.update import Update

SLOW_DOWN = "You're sending messages too fast, please slow down 🙂"
APOLOGY = "Something went wrong on our side. Please try again in a minute."
HINT = "I don't know that one. Send /help to see what I can do."


def notice(update: Update, text: str) -> Reply:
    """Say something to the user: after a pressed button as the answer to the press."""
    if update.callback_query_id:
        return Reply(callback_answer=CallbackAnswer(text=text))
    return Reply(messages=[OutgoingMessage(text=text)])
