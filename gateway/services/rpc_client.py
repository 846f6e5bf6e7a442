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
from gateway.services.error_mapping import to_service_error
from gateway.services.reply_size import MAX_BYTES_WITHOUT_FILES, ReplySizeLimiter
from gateway.services.routing.route import Route
from gateway.services.routing.update_types import iter_messages

ANSWER_MARGIN_SECONDS = 2.0
"""What a call leaves of the time in which an answer is of use, for its way."""

_SMALL_RESPONSE_BYTES = 8 * 2**10
"""An answer of so many bytes holds few enough messages and buttons to work on all."""

_LARGE_RESPONSE_BYTES = 2**20


class RpcClient:
    """An rpc of a service, ready to be called for one of its routes."""

    __slots__ = (
        "_add_file_urls",
        "_now",
        "_streaming_call",
        "_timeout",
        "_unary_call",
        "route",
    )

    def __init__(
        self,
        route: Route,
        channel: aio.Channel,
        timeout: float,
        add_file_urls: Callable[[IncomingMessage], None] | None,
        now: Callable[[], float],
    ) -> None:
        self.route = route
        self._now = now
        self._add_file_urls = add_file_urls
        self._timeout = timeout
        # Bytes in and out: a deserializer of ours that fails would be logged by gRPC
        # with its traceback, and the answer be None.
        self._unary_call: aio.UnaryUnaryMultiCallable[bytes, bytes | None] = (
            channel.unary_unary(route.path)
        )
        self._streaming_call: aio.UnaryStreamMultiCallable[bytes, bytes] = (
            channel.unary_stream(route.path)
        )

    async def __call__(
        self, update: Update, values: Mapping[str, Any], internal_user_id: str
    ) -> Message:
        """Call the rpc.

        Raises:
            ServiceError: it did not answer.
        """
        try:
            response = await self._unary_call(
                self._build_request(update, values, internal_user_id),
                timeout=self._get_timeout(update),
                metadata=_build_metadata(update.context.request_id),
            )
        except aio.AioRpcError as error:
            raise to_service_error(error, self.route.name) from None
        if response is None:  # the status OK with no answer behind it
            raise ServiceFailed(f"{self.route.name}: OK without an answer")
        if len(response) > MAX_BYTES_WITHOUT_FILES:
            self._create_size_limiter().add(response)
        message = _decode_response(response, self.route)
        if len(response) > _LARGE_RESPONSE_BYTES:
            # The event loop holds the bytes until this task has waited for something;
            # by then the message would have been copied again.
            del response
            await asyncio.sleep(0)
        return message

    async def stream(
        self,
        update: Update,
        values: Mapping[str, Any],
        internal_user_id: str,
        write: Callable[[str], None],
    ) -> Reply | None:
        """Call the rpc and read its answers: see `BoundCall.stream`."""
        route = self.route
        reply: Reply | None = None
        size_limiter = self._create_size_limiter()
        call = self._streaming_call(
            self._build_request(update, values, internal_user_id),
            timeout=self._get_timeout(update),
            metadata=_build_metadata(update.context.request_id),
        )
        try:
            async for response in call:
                size_limiter.add(response)
                message = _decode_response(response, route)
                if route.piece_field and (piece := getattr(message, route.piece_field)):
                    write(piece)
                if message.HasField(route.result_field):
                    reply = getattr(message, route.result_field)
        except aio.AioRpcError as error:
            raise to_service_error(error, route.name) from None
        finally:
            call.cancel()  # without effect after its end
        return reply

    def _create_size_limiter(self) -> ReplySizeLimiter:
        route = self.route
        return ReplySizeLimiter(route.response_type, route.result_field, route.name)

    def _get_timeout(self, update: Update) -> float:
        """Give the call's deadline: it must leave time for an answer to arrive."""
        if not update.answer_deadline:
            return self._timeout
        seconds_left = update.answer_deadline - ANSWER_MARGIN_SECONDS - self._now()
        return max(0.0, min(self._timeout, seconds_left))

    def _build_request(
        self, update: Update, values: Mapping[str, Any], internal_user_id: str
    ) -> bytes:
        """Put the request together."""
        route = self.route
        request = route.request_type(**values)
        context: RequestContext = getattr(request, route.context_field)
        # A copy: the update's own context stays as it is.
        context.CopyFrom(update.context)
        context.internal_user_id = internal_user_id
        if route.message_field and update.message is not None:
            getattr(request, route.message_field).CopyFrom(update.message)
        if self._add_file_urls:
            self._add_addresses(request, self._add_file_urls)
        return request.SerializeToString()

    def _add_addresses(
        self, request: Message, add_file_urls: Callable[[IncomingMessage], None]
    ) -> None:
        """Put the addresses of files into the messages of a request."""
        for field in {self.route.message_field, self.route.payload_field} - {""}:
            if request.HasField(field):
                for message in iter_messages(getattr(request, field)):
                    add_file_urls(message)


def _build_metadata(request_id: str) -> aio.Metadata:
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


def _decode_response(response: bytes, route: Route) -> Message:
    """Read an answer."""
    try:
        message = route.response_type.FromString(response)
    except DecodeError:
        raise ServiceFailed(f"{route.name}: the answer cannot be read") from None
    if len(response) > _SMALL_RESPONSE_BYTES:
        reply = getattr(message, route.result_field)
        if isinstance(reply, Reply):
            cut_reply(reply)
    return message
