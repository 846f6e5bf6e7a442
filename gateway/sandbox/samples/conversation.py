"""The conversation service: handles texts and attachments."""
# ruff: noqa: N802 - rpcs have the names of their contract

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.chat.v1.reply_pb2 import (
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    OutgoingMessage,
    Reply,
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

from gateway.sandbox.samples.media import (
    count_bytes,
    send_album,
    send_document,
    send_photo,
)
from gateway.sandbox.samples.replies import WORDS
from gateway.sandbox.samples.sample_people import PEOPLE

WORD_SECONDS = 0.2
"""Pause between two words of a streamed reply, so that streaming is visible."""


class Conversation(ConversationServiceServicer):
    """Echoes messages, and proposes people to meet."""

    async def SendMessage(
        self, request: SendMessageRequest, context: ServicerContext[Any, Any]
    ) -> SendMessageResponse:
        """Reply to a message."""
        size = await count_bytes(request.message)
        return SendMessageResponse(reply=_answer(request.message, size))

    async def StreamMessage(
        self, request: StreamMessageRequest, context: ServicerContext[Any, Any]
    ) -> AsyncIterator[StreamMessageResponse]:
        """Stream the reply word by word, and finish it with buttons."""
        size = await count_bytes(request.message)
        reply = _answer(request.message, size)
        for message in reply.messages[:1]:
            for word in re.findall(r"\S+\s*", message.text):
                await asyncio.sleep(WORD_SECONDS)
                yield StreamMessageResponse(text_piece=word)
        yield StreamMessageResponse(reply=reply)


def _answer(message: IncomingMessage, size: int | None) -> Reply:
    word = message.text.strip().lower()
    if word in WORDS:
        return WORDS[word](message)
    attachment = message.WhichOneof("attachment")
    asked = _ASKED.get(message.text.strip().lower())
    if asked and attachment is None:
        return asked()
    if attachment is None:
        return _say(f"You said: {message.text}")
    kind = message.other.type if attachment == "other" else attachment
    thanks = f"Thank you for the {kind.replace('_', ' ')}!"
    if size is not None:
        thanks += f" It has {size} bytes."
    return _say(f"{thanks} You wrote: {message.text}" if message.text else thanks)


def _say(text: str) -> Reply:
    return Reply(messages=[OutgoingMessage(text=text)])


def _propose() -> Reply:
    """Propose two people; the buttons call rpcs of the matching service."""
    grace, linus = "u-grace", "u-linus"
    return Reply(
        messages=[
            OutgoingMessage(
                text=f"{PEOPLE[grace]} might be someone for you.",
                inline_keyboard=_buttons(
                    {"Connect": f"CONNECT:{grace}", "Skip": f"SKIP:{grace}"}
                ),
            ),
            OutgoingMessage(
                text=f"{PEOPLE[linus]} asks for your contact.",
                inline_keyboard=_buttons(
                    {"Accept": f"ACCEPT:{linus}", "Reject": f"REJECT:{linus}"}
                ),
            ),
        ]
    )


_ASKED = {
    "match": _propose,
    "photo": send_photo,
    "album": send_album,
    "document": send_document,
}
"""The messages with special replies; all others are echoed."""


def _buttons(data: dict[str, str]) -> InlineKeyboard:
    row = InlineKeyboardRow(
        buttons=[
            InlineKeyboardButton(text=text, callback_data=data[text]) for text in data
        ]
    )
    return InlineKeyboard(rows=[row])
