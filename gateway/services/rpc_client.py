"""Calls an rpc of a service for one of its routes.

gRPC makes one attempt within the service's deadline, and repeats it once if the service
is unavailable or cancelled the call. Both attempts have the same request id, so that a
service that receives both can act once. Cancelling the caller cancels the call at the
service. This module starts no tasks.
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
"""Reserved from the answer deadline for delivering the reply to Telegram."""

_SMALL_RESPONSE_BYTES = 8 * 2**10
"""A response up to this size has few enough messages and buttons to process all."""

_LARGE_RESPONSE_BYTES = 2**20


class RpcClient:
    """A client for the rpc of one route."""

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
        # Requests and responses are bytes: gRPC would log the failure of a deserializer
        # with its traceback, and return None as the response.
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
            ServiceError: the call failed.
        """
        try:
            response = await self._unary_call(
                self._build_request(update, values, internal_user_id),
                timeout=self._get_timeout(update),
                metadata=_build_metadata(update.context.request_id),
            )
        except aio.AioRpcError as error:
            raise to_service_error(error, self.route.name) from None
        if response is None:  # the status was OK, but there was no response
            raise ServiceFailed(f"{self.route.name}: OK without a response")
        if len(response) > MAX_BYTES_WITHOUT_FILES:
            self._create_size_limiter().add(response)
        message = _decode_response(response, self.route)
        if len(response) > _LARGE_RESPONSE_BYTES:
            # The event loop keeps a reference to the bytes until this task yields.
            # Yield here, before the message is copied again.
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
        """Call the rpc and read its responses; see `BoundCall.stream`."""
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
            call.cancel()  # no effect if it has ended
        return reply

    def _create_size_limiter(self) -> ReplySizeLimiter:
        route = self.route
        return ReplySizeLimiter(route.response_type, route.result_field, route.name)

    def _get_timeout(self, update: Update) -> float:
        """Return the call's timeout, which leaves time for delivering the reply."""
        if not update.answer_deadline:
            return self._timeout
        seconds_left = update.answer_deadline - ANSWER_MARGIN_SECONDS - self._now()
        return max(0.0, min(self._timeout, seconds_left))

    def _build_request(
        self, update: Update, values: Mapping[str, Any], internal_user_id: str
    ) -> bytes:
        """Build and serialize the request."""
        route = self.route
        request = route.request_type(**values)
        context: RequestContext = getattr(request, route.context_field)
        # Copy: the context of the update must not change.
        context.CopyFrom(update.context)
        context.internal_user_id = internal_user_id
        if route.message_field and update.message is not None:
            getattr(request, route.message_field).CopyFrom(update.message)
        if self._add_file_urls:
            self._add_urls(request, self._add_file_urls)
        return request.SerializeToString()

    def _add_urls(
        self, request: Message, add_file_urls: Callable[[IncomingMessage], None]
    ) -> None:
        """Add the URLs of files to the messages of a request."""
        for field in {self.route.message_field, self.route.payload_field} - {""}:
            if request.HasField(field):
                for message in iter_messages(getattr(request, field)):
                    add_file_urls(message)


def _build_metadata(request_id: str) -> aio.Metadata:
    """Return the metadata of a call: its idempotency key and its trace context.

    The format is W3C Trace Context, version 00. All calls for an update, including
    repetitions after a crash, belong to one trace. Its flags are 00, "not sampled": the
    gateway exports no spans, and with "sampled", services would record traces without
    a root.
    """
    trace = blake2b(request_id.encode(), digest_size=16).hexdigest()
    span = random.getrandbits(64) or 1  # 0 is not allowed
    # gRPC accepts a tuple, too, but converting it is slower.
    return aio.Metadata(
        ("x-request-id", request_id),
        ("traceparent", f"00-{trace}-{span:016x}-00"),
    )


def _decode_response(response: bytes, route: Route) -> Message:
    """Decode a response, and cut a large reply to the limits."""
    try:
        message = route.response_type.FromString(response)
    except DecodeError:
        raise ServiceFailed(f"{route.name}: the response cannot be decoded") from None
    if len(response) > _SMALL_RESPONSE_BYTES:
        reply = getattr(message, route.result_field)
        if isinstance(reply, Reply):
            cut_reply(reply)
    return message
