"""The conversation service: handles texts and attachments."""
# ruff: noqa: N802 - rpcs have the names of their contract

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from botgateway.chat.v1.reply_pb2 import (
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

from gateway.sandbox.samples.matching import build_keyboard
from gateway.sandbox.samples.media import (
    count_bytes,
    send_album,
    send_document,
    send_photo,
)
from gateway.sandbox.samples.replies import WORDS
from gateway.sandbox.samples.users import Users

WORD_SECONDS = 0.2
"""Pause between two words of a streamed reply, so that streaming is visible."""


class Conversation(ConversationServiceServicer):
    """Echoes messages, thanks for attachments, and proposes people to meet.

    Args:
        users: the users who can be proposed.
    """

    def __init__(self, users: Users) -> None:
        self._users = users

    async def SendMessage(
        self, request: SendMessageRequest, context: ServicerContext[Any, Any]
    ) -> SendMessageResponse:
        """Reply to a message: some words have their own replies, others are echoed."""
        size = await count_bytes(request.message)
        return SendMessageResponse(reply=self._answer(request, size))

    async def StreamMessage(
        self, request: StreamMessageRequest, context: ServicerContext[Any, Any]
    ) -> AsyncIterator[StreamMessageResponse]:
        """Stream the reply of `SendMessage`: word by word, and then as a whole."""
        size = await count_bytes(request.message)
        reply = self._answer(request, size)
        for message in reply.messages[:1]:
            for word in re.findall(r"\S+\s*", message.text):
                await asyncio.sleep(WORD_SECONDS)
                yield StreamMessageResponse(text_piece=word)
        yield StreamMessageResponse(reply=reply)

    def _answer(
        self, request: SendMessageRequest | StreamMessageRequest, size: int | None
    ) -> Reply:
        message = request.message
        word = message.text.strip().lower()
        if word in WORDS:
            return WORDS[word](message)
        attachment = message.WhichOneof("attachment")
        if attachment is None:
            if word == "match":
                return _propose(self._users.find_grace(request.context))
            if word in _ASKED:
                return _ASKED[word]()
            return _say(f"You said: {message.text}")
        kind = message.other.type if attachment == "other" else attachment
        thanks = f"Thank you for the {kind.replace('_', ' ')}!"
        if size is not None:
            thanks += f" It has {size} bytes."
        return _say(f"{thanks} You wrote: {message.text}" if message.text else thanks)


def _say(text: str) -> Reply:
    return Reply(messages=[OutgoingMessage(text=text)])


def _propose(grace: str) -> Reply:
    """Propose two people; the buttons call rpcs of the matching service."""
    linus = "u-linus"
    return Reply(
        messages=[
            OutgoingMessage(
                text="Grace might be someone for you.",
                inline_keyboard=build_keyboard(
                    {"Connect": f"CONNECT:{grace}", "Skip": f"SKIP:{grace}"}
                ),
            ),
            OutgoingMessage(
                text="Linus asks for your contact.",
                inline_keyboard=build_keyboard(
                    {"Accept": f"ACCEPT:{linus}", "Reject": f"REJECT:{linus}"}
                ),
            ),
        ]
    )


_ASKED = {
    "photo": send_photo,
    "album": send_album,
    "document": send_document,
}
"""The messages with special replies; all others are echoed."""
