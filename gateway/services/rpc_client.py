"""An rpc of a service, called for one of its routes.

One call is one attempt within the service's deadline, and one repetition by gRPC if
the service is unavailable or cancelled the call itself. Both carry the same request id,
so that a service that got both acts once. Cancelling the caller cancels the call at the
service. No task is started here.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.chat.v1.reply_pb2 import Reply
from google.protobuf.message import DecodeError, Message
from grpc import aio

from gateway.domain.errors import ServiceFailed
from gateway.domain.reply_limits import cut_reply
from gateway.domain.update import Update
from gateway.services.error_mapping import refusal
from gateway.services.reply_size import MOST_BYTES, AnswerSize
from gateway.services.routing.route import Route
from gateway.services.routing.update_types import messages_in

ANSWER_SECONDS = 2.0
"""What a call leaves of the time in which an answer is of use, for its way."""

_SMALL_BYTES = 8 * 2**10
"""An answer of so many bytes holds few enough messages and buttons to work on all."""

_LARGE_BYTES = 2**20


class Rpc:
    """An rpc of a service, ready to be called for one of its routes."""

    __slots__ = ("_address_files", "_call", "_now", "_stream", "_timeout", "route")

    def __init__(
        self,
        route: Route,
        channel: aio.Channel,
        timeout: float,
        address_files: Callable[[IncomingMessage], None] | None,
        now: Callable[[], float],
    ) -> None:
        self.route = route
        self._now = now
        self._address_files = address_files
        self._timeout = timeout
        # Bytes in and out: a deserializer of ours that fails would be logged by gRPC
        # with its traceback, and the answer be None.
        self._call: aio.UnaryUnaryMultiCallable[bytes, bytes | None] = (
            channel.unary_unary(route.path)
        )
        self._stream: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            route.path
        )

    async def __call__(
        self, update: Update, values: Mapping[str, Any], internal_user_id: str
    ) -> Message:
        """Call the rpc.

        Raises:
            ServiceError: it did not answer.
        """
        try:
            answer = await self._call(
                self._request(update, values, internal_user_id),
                timeout=self._seconds(update),
                metadata=_metadata(update.context.request_id),
            )
        except aio.AioRpcError as error:
            raise refusal(error, self.route.name) from None
        if answer is None:  # the status OK with no answer behind it
            raise ServiceFailed(f"{self.route.name}: OK without an answer")
        if len(answer) > MOST_BYTES:
            self._size().add(answer)
        message = _decoded(answer, self.route)
        if len(answer) > _LARGE_BYTES:
            # The event loop holds the bytes until this task has waited for something;
            # by then the message would have been copied again.
            del answer
            await asyncio.sleep(0)
        return message

    async def stream(
        self,
        update: Update,
        values: Mapping[str, Any],
        internal_user_id: str,
        write: Callable[[str], None],
    ) -> Reply | None:
        """Call the rpc and read its answers: see `Match.stream`."""
        route = self.route
        reply: Reply | None = None
        size = self._size()
        call = self._stream(
            self._request(update, values, internal_user_id),
            timeout=self._seconds(update),
            metadata=_metadata(update.context.request_id),
        )
        try:
            async for answer in call:
                size.add(answer)
                response = _decoded(answer, route)
                if route.piece_field and (
                    piece := getattr(response, route.piece_field)
                ):
                    write(piece)
                if response.HasField(route.answer_field):
                    reply = getattr(response, route.answer_field)
        except aio.AioRpcError as error:
            raise refusal(error, route.name) from None
        finally:
            call.cancel()  # without effect after its end
        return reply

    def _size(self) -> AnswerSize:
        route = self.route
        return AnswerSize(route.response, route.answer_field, route.name)

    def _seconds(self, update: Update) -> float:
        """Give the call's deadline: it must leave time for an answer to arrive."""
        if not update.answer_deadline:
            return self._timeout
        left = update.answer_deadline - ANSWER_SECONDS - self._now()
        return max(0.0, min(self._timeout, left))

    def _request(
        self, update: Update, values: Mapping[str, Any], internal_user_id: str
    ) -> bytes:
        """Put the request together."""
        route = self.route
        request = route.request(**values)
        context: RequestContext = getattr(request, route.context_field)
        # A copy: the update's own context stays as it is.
        context.CopyFrom(update.context)
        context.internal_user_id = internal_user_id
        if route.message_field and update.message is not None:
            getattr(request, route.message_field).CopyFrom(update.message)
        if self._address_files:
            self._add_addresses(request, self._address_files)
        return request.SerializeToString()

    def _add_addresses(
        self, request: Message, address_files: Callable[[IncomingMessage], None]
    ) -> None:
        """Put the addresses of files into the messages of a request."""
        for field in {self.route.message_field, self.route.details_field} - {""}:
            if request.HasField(field):
                for message in messages_in(getattr(request, field)):
                    address_files(message)


def _metadata(request_id: str) -> aio.Metadata:
    """Give the headers of a call: its idempotency key and its place in a trace.

    W3C Trace Context, version 00. All calls for an update, repetitions after a crash
    included, belong to one trace. Its flags are 00, "not sampled": the gateway exports
    no spans, and a service that follows the flag would record traces without a root.
    """
    trace = blake2b(request_id.encode(), digest_size=16).hexdigest()
    span = random.getrandbits(64) or 1  # 0 is not allowed
    # gRPC takes a tuple too, but first finds out at length that it is one.
    return aio.Metadata(
        ("x-request-id", request_id),
        ("traceparent", f"00-{trace}-{span:016x}-00"),
    )


def _decoded(answer: bytes, route: Route) -> Message:
    """Read an answer."""
    try:
        message = route.response.FromString(answer)
    except DecodeError:
        raise ServiceFailed(f"{route.name}: the answer cannot be read") from None
    if len(answer) > _SMALL_BYTES:
        reply = getattr(message, route.answer_field)
        if isinstance(reply, Reply):
            cut_reply(reply)
    return message
