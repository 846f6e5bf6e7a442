"""Services that keep all rules, and one wrong version of them for each rule."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import grpc
from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE
from botgateway.chat.v1.reply_pb2 import (
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    OutgoingMessage,
    Reply,
)
from google.protobuf.message_factory import GetMessageClass

from tests.support.services.samples import SAMPLE_SERVICES

Context = grpc.aio.ServicerContext[Any, Any]

_METHODS = {
    f"/{service.full_name}/{method.name}": method
    for service in SAMPLE_SERVICES
    for method in service.methods
}


class Conforming(grpc.GenericRpcHandler):
    """Serves all rpcs of the samples: it echoes texts, and repeats its answers."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], asyncio.Task[Reply]] = {}

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Find the rpc."""
        path = str(handler_call_details.method)
        if not (method := _METHODS.get(path)) or not self.serves(method.name):
            return None
        response_type: Any = GetMessageClass(method.output_type)

        async def unary(request: Any, context: Context) -> Any:  # noqa: ANN401 - any request
            await self.refuse(request, context)
            if method.name == "ResolveUser":
                return response_type(internal_user_id=self.find_user(request))
            return response_type(reply=await self.repeat(path, request))

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
            await self.refuse(request, context)
            reply = await self.repeat(path, request)
            async for part in self.split(reply):
                yield response_type(**part)

        make: Any = grpc.unary_unary_rpc_method_handler
        if method.server_streaming:
            make = grpc.unary_stream_rpc_method_handler
        handler: grpc.RpcMethodHandler[Any, Any] = make(
            stream if method.server_streaming else unary,
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        return handler

    def serves(self, name: str) -> bool:
        """Return whether an rpc is implemented."""
        return True

    async def refuse(self, request: Any, context: Context) -> None:  # noqa: ANN401 - any request
        """End the call if the request is refused."""

    def find_user(self, request: Any) -> str:  # noqa: ANN401 - any request
        """Return the internal id of a user."""
        return f"u-{request.context.telegram_user_id}"

    async def repeat(self, path: str, request: Any) -> Reply:  # noqa: ANN401 - any request
        """Return the reply to a request, made once for each request id."""
        key = path, request.context.request_id
        if key not in self._answers:
            self._answers[key] = asyncio.create_task(self.reply(request))
        return await asyncio.shield(self._answers[key])

    async def reply(self, request: Any) -> Reply:  # noqa: ANN401 - any request
        """Make a reply."""
        text = get_text(request)
        return Reply(messages=[OutgoingMessage(text=f"You said: {text}"[:4096])])

    async def split(self, reply: Reply) -> AsyncIterator[dict[str, Any]]:
        """Yield the fields of the responses of a stream."""
        yield {"text_piece": reply.messages[0].text}
        yield {"reply": reply}


def get_text(request: Any) -> str:  # noqa: ANN401 - any request
    """Return the text of a request that has a message, else ""."""
    has_message = "message" in request.DESCRIPTOR.fields_by_name
    return str(request.message.text) if has_message else ""


class Unimplemented(Conforming):
    """Does not implement an rpc."""

    def serves(self, name: str) -> bool:
        """Leave one out."""
        return name != "GetProfile"


class FailsWithoutUser(Conforming):
    """Takes for granted what may be missing."""

    async def refuse(self, request: Any, context: Context) -> None:  # noqa: ANN401 - any request
        """Crash without a user."""
        if not request.context.telegram_user_id:
            await context.abort(grpc.StatusCode.INTERNAL)


class FailsOnLongTexts(Conforming):
    """Has a column that is too narrow."""

    async def refuse(self, request: Any, context: Context) -> None:  # noqa: ANN401 - any request
        """Crash on a long text."""
        if len(get_text(request)) > 255:
            await context.abort(grpc.StatusCode.UNKNOWN)


class FailsOnEmoji(Conforming):
    """Encodes texts in ASCII."""

    async def refuse(self, request: Any, context: Context) -> None:  # noqa: ANN401 - any request
        """Crash on other characters."""
        if not get_text(request).isascii():
            await context.abort(grpc.StatusCode.UNKNOWN)


class FailsOnNewValues(Conforming):
    """Knows only the values of today."""

    async def refuse(self, request: Any, context: Context) -> None:  # noqa: ANN401 - any request
        """Crash on another type of chat."""
        if request.context.chat_type not in {0, CHAT_TYPE_PRIVATE}:
            await context.abort(grpc.StatusCode.INTERNAL)


class GarblesDetails(Conforming):
    """Writes details that nobody can read."""

    async def refuse(self, request: Any, context: Context) -> None:  # noqa: ANN401 - any request
        """Refuse a request without a user."""
        if not request.context.telegram_user_id:
            garbage = (("grpc-status-details-bin", b"no message"),)
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, trailing_metadata=garbage
            )


class _SendsButton(Conforming):
    """Sends a button."""

    button = InlineKeyboardButton()

    async def reply(self, request: Any) -> Reply:  # noqa: ANN401 - any request
        """Add the button to the reply."""
        reply = await super().reply(request)
        row = InlineKeyboardRow(buttons=[self.button])
        reply.messages[0].inline_keyboard.CopyFrom(InlineKeyboard(rows=[row]))
        return reply


class SendsBadUrl(_SendsButton):
    """Sends a button that Telegram rejects."""

    button = InlineKeyboardButton(text="Open", url="no address")


class SendsUnknownData(_SendsButton):
    """Sends a button that nobody serves."""

    button = InlineKeyboardButton(text="Do", callback_data="NOWHERE:1")


class SendsNothing(Conforming):
    """Ends a stream at once."""

    async def split(self, reply: Reply) -> AsyncIterator[dict[str, Any]]:
        """Yield nothing."""
        parts: list[dict[str, Any]] = []
        for part in parts:
            yield part


class _Counts(Conforming):
    """Makes no reply twice, and knows which calls are here at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()
        self._calls: dict[tuple[str, str], int] = {}
        """The number of calls under way, by rpc and request id."""

    async def count(self, key: tuple[str, str], expected: int) -> None:
        """Wait until so many calls are under way, or no further one comes."""
        self._calls[key] = self._calls.get(key, 0) + 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while self._calls[key] < expected:
                    await asyncio.sleep(0.01)

    async def reply(self, request: Any) -> Reply:  # noqa: ANN401 - any request
        """Make a reply that no other one is equal to."""
        return Reply(messages=[OutgoingMessage(text=f"reply {next(self._numbers)}")])


class ForgetsAnswers(_Counts):
    """Shares an answer only among the calls of one moment."""

    async def repeat(self, path: str, request: Any) -> Reply:  # noqa: ANN401 - any request
        """Forget the answer when these calls have got it."""
        key = path, request.context.request_id
        await self.count(key, 4)
        reply = await super().repeat(path, request)
        self._calls[key] -= 1
        if not self._calls[key]:
            del self._answers[key]
        return reply


class AnswersTwice(_Counts):
    """Remembers an answer only when it has been made."""

    async def repeat(self, path: str, request: Any) -> Reply:  # noqa: ANN401 - any request
        """Make several replies if several calls come at the same time."""
        key = path, request.context.request_id
        if key in self._answers:
            return await self._answers[key]
        await self.count(key, 2)
        self._answers[key] = asyncio.create_task(self.reply(request))
        return await self._answers[key]


class LosesSlots(Conforming):
    """Has a few places for streams, and gives those of cancelled ones to nobody."""

    def __init__(self) -> None:
        super().__init__()
        self._places = asyncio.Semaphore(25)

    async def split(self, reply: Reply) -> AsyncIterator[dict[str, Any]]:
        """Occupy a place until the end of the stream."""
        await self._places.acquire()
        yield {"text_piece": reply.messages[0].text}
        await asyncio.sleep(0.3)  # as long as it takes to compute the rest
        yield {"reply": reply}
        self._places.release()


class MixesUsers(Conforming):
    """Keeps the text of the latest user in one place."""

    def __init__(self) -> None:
        super().__init__()
        self._latest = ""

    async def reply(self, request: Any) -> Reply:  # noqa: ANN401 - any request
        """Answer with the text before."""
        text, self._latest = self._latest, get_text(request)
        return Reply(messages=[OutgoingMessage(text=f"You said: {text}"[:4096])])


class RenamesUsers(Conforming):
    """Makes a new user for every request."""

    def find_user(self, request: Any) -> str:  # noqa: ANN401 - any request
        """Return another id each time."""
        return f"u-{request.context.request_id}"


WRONG_SERVERS: dict[str, type[Conforming]] = {
    "answers": Unimplemented,
    "accepts_empty_fields": FailsWithoutUser,
    "accepts_long_texts": FailsOnLongTexts,
    "accepts_all_scripts": FailsOnEmoji,
    "accepts_newer_requests": FailsOnNewValues,
    "describes_errors": GarblesDetails,
    "sends_whole_replies": SendsBadUrl,
    "routes_buttons": SendsUnknownData,
    "streams_answers": SendsNothing,
    "repeats_answers": ForgetsAnswers,
    "repeats_simultaneous_answers": AnswersTwice,
    "survives_cancellations": LosesSlots,
    "separates_users": MixesUsers,
    "keeps_sessions": RenamesUsers,
}
"""For each rule a server that breaks it and no other one."""
