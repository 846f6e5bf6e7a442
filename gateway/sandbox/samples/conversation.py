"""The conversation service: texts and attachments come here."""
# ruff: noqa: N802 - rpcs have the names of their contract

from collections.abc import AsyncIterator
from typing import Any

from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.chat.v1.reply_pb2 import (
    Button,
    InlineKeyboard,
    OutgoingMessage,
    Reply,
    Row,
)
from botgateway.conversation.v1.conversation_service_pb2 import (
    SendMessageRequest,
    SendMessageResponse,
    StreamMessageRequest,
    StreamMessageResponse,
)
from botgateway.conversation.v1.conversation_service_pb2_grpc import (
    ConversationServiceServicer,
)
from grpc.aio import ServicerContext

from gateway.sandbox.samples.people import PEOPLE
from gateway.sandbox.samples.replies import WORDS


class Conversation(ConversationServiceServicer):
    """Says back what it hears, and proposes people to meet."""

    async def SendMessage(
        self, request: SendMessageRequest, context: ServicerContext[Any, Any]
    ) -> SendMessageResponse:
        """Answer a message."""
        return SendMessageResponse(reply=_answer(request.message))

    async def StreamMessage(
        self, request: StreamMessageRequest, context: ServicerContext[Any, Any]
    ) -> AsyncIterator[StreamMessageResponse]:
        """Answer a message word by word, each time with all that is written so far."""
        words = request.message.text.split()
        for count in range(1, len(words) + 1):
            yield StreamMessageResponse(reply=_say(" ".join(words[:count])))


def _answer(message: IncomingMessage) -> Reply:
    word = message.text.strip().lower()
    if word == "match":
        return _propose()
    if word in WORDS:
        return WORDS[word](message)
    attachment = message.WhichOneof("attachment")
    if attachment is None:
        return _say(f"You said: {message.text}")
    kind = message.other.kind if attachment == "other" else attachment
    thanks = f"Thank you for the {kind.replace('_', ' ')}!"
    return _say(f"{thanks} You wrote: {message.text}" if message.text else thanks)


def _say(text: str) -> Reply:
    return Reply(messages=[OutgoingMessage(text=text)])


def _propose() -> Reply:
    """Propose two people. The buttons' data picks the rpcs of the matching service."""
    grace, linus = "u-grace", "u-linus"
    return Reply(
        messages=[
            OutgoingMessage(
                text=f"{PEOPLE[grace]} might be someone for you.",
                keyboard=_buttons(
                    {"Connect": f"CONNECT:{grace}", "Skip": f"SKIP:{grace}"}
                ),
            ),
            OutgoingMessage(
                text=f"{PEOPLE[linus]} asks for your contact.",
                keyboard=_buttons(
                    {"Accept": f"ACCEPT:{linus}", "Reject": f"REJECT:{linus}"}
                ),
            ),
        ]
    )


def _buttons(data: dict[str, str]) -> InlineKeyboard:
    row = Row(buttons=[Button(text=text, callback_data=data[text]) for text in data])
    return InlineKeyboard(rows=[row])
