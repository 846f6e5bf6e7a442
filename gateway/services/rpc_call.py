"""Calls the rpc of a route for one update.

gRPC makes one attempt, and repeats it once if the service is unavailable or cancelled
the call; the service's timeout covers both. Both have the same request id, so that a
service that receives both can act once. Cancelling the task that calls cancels the call
at the service. This module starts no tasks.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, TypeVar

from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.chat.v1.reply_pb2 import Reply
from google.protobuf.message import DecodeError, Message
from grpc import aio
from msgspec import Struct

from gateway.domain.errors import ServiceError, ServiceFailed
from gateway.domain.reply_limits import cut_reply
from gateway.domain.update import Update, UserMessage
from gateway.domain.upload_size import MAX_BYTES_WITHOUT_FILES
from gateway.services.diagnosis.grpc_errors import recognize_problem
from gateway.services.diagnosis.problems import ServiceProblem
from gateway.services.error_mapping import to_service_error
from gateway.services.reply_size import ReplySizeLimiter, ReplyTooLarge
from gateway.services.routing.route import Route
from gateway.services.routing.update_types import iter_messages

ANSWER_MARGIN_SECONDS = 2.0
"""Reserved from the answer deadline for delivering the reply to Telegram."""

_SMALL_RESPONSE_BYTES = 8 * 2**10
"""A response up to this size has few enough messages and buttons to process all."""

_LARGE_RESPONSE_BYTES = 2**20

Call = TypeVar("Call")
"""A call of gRPC that has started."""


AddFileUrls = Callable[[IncomingMessage, int], None]
"""Adds the URLs of the files to a message, after the id of the bot that received it."""


class Rpc(Struct, frozen=True, eq=False):
    """The rpc of a route, and what is the same for all its calls.

    Attributes:
        route: the route.
        route_name: the route's name for logs and metrics.
        start_unary: starts a call with one response.
        start_stream: starts a call with a stream of responses. Requests and responses
            are bytes: gRPC would log the failure of a deserializer with its traceback,
            and return None as the response.
        timeout: the seconds that a call may take, all attempts included.
        add_file_urls: adds the URLs of the files to a message, after the id of the bot
            that received it; None if files have no URLs.
        now: returns the seconds since the epoch.
        record_failure: records that a call failed: the service, the route's name and
            the problem.
    """

    route: Route
    route_name: str
    start_unary: aio.UnaryUnaryMultiCallable[bytes, bytes | None]
    start_stream: aio.UnaryStreamMultiCallable[bytes, bytes]
    timeout: float
    add_file_urls: AddFileUrls | None
    now: Callable[[], float]
    record_failure: Callable[[str, str, ServiceProblem], None]


class RpcCall(Struct, eq=False):
    """An update with the rpc that handles it, to be called once. See `BoundCall`.

    Attributes:
        rpc: the rpc.
        update: the update.
        values: the values that the route has read from the update, by the request's
            field.
        route_name: the name of the route in logs and metrics.
        is_streaming: whether the rpc streams its response: use `stream`, otherwise
            `call`.
        shows_typing: whether the user may be shown that the bot is typing.
        waited_seconds: how many seconds of the timeout have passed in waiting for other
            calls of the service.
    """

    rpc: Rpc
    update: Update
    values: Mapping[str, Any]
    route_name: str
    is_streaming: bool
    shows_typing: bool
    waited_seconds: float = 0.0

    async def call(self, internal_user_id: str | None) -> Any:  # noqa: ANN401 - a Reply, or the user id of a session
        """Call the rpc, and return the result field of its response.

        The call ends in the service's timeout, and in time to answer an update whose
        answer Telegram accepts only for some seconds.

        Args:
            internal_user_id: the internal id of the user; None if it is unknown.

        Returns:
            The Reply; of the session rpc, the internal user id.

        Raises:
            ServiceError: the call failed, or the response is too large or unreadable.
        """
        try:
            response = await self._start(self.rpc.start_unary, internal_user_id)
        except aio.AioRpcError as error:
            raise self._convert(error) from None
        if response is None:  # the status was OK, but there was no response
            raise ServiceFailed(f"{self.route_name}: OK without a response")
        route = self.rpc.route
        if len(response) > MAX_BYTES_WITHOUT_FILES:
            self._limit(_create_size_limiter(route), response)
        message = _decode_response(response, route)
        if len(response) > _LARGE_RESPONSE_BYTES:
            # The event loop keeps a reference to the bytes until this task yields.
            # Yield here, before the message is copied again.
            del response
            await asyncio.sleep(0)
        return getattr(message, route.result_field)

    async def stream(
        self, internal_user_id: str | None, write: Callable[[str], None]
    ) -> Reply | None:
        """Call the rpc and read its responses, until the service ends them.

        Args:
            internal_user_id: the internal id of the user; None if it is unknown.
            write: called with each piece of text as it arrives.

        Returns:
            The last reply that the responses contain; None if they contain only pieces.

        Raises:
            ServiceError: the call failed, or a response is too large or unreadable.
        """
        route = self.rpc.route
        reply: Reply | None = None
        size_limiter = _create_size_limiter(route)
        call = self._start(self.rpc.start_stream, internal_user_id)
        try:
            async for response in call:
                self._limit(size_limiter, response)
                message = _decode_response(response, route)
                if route.piece_field and (piece := getattr(message, route.piece_field)):
                    write(piece)
                if message.HasField(route.result_field):
                    reply = getattr(message, route.result_field)
        except aio.AioRpcError as error:
            raise self._convert(error) from None
        finally:
            call.cancel()  # no effect if it has ended
        return reply

    def _start(self, start: Callable[..., Call], internal_user_id: str | None) -> Call:
        """Build the request, and start the call in the time that there is for it."""
        rpc, update = self.rpc, self.update
        route = rpc.route
        request = route.request_type(**self.values)
        context: RequestContext = getattr(request, route.context_field)
        # Copy: the context of the update must not change.
        context.CopyFrom(update.context)
        if internal_user_id is not None:
            context.internal_user_id = internal_user_id
        if route.message_field and isinstance(update, UserMessage):
            getattr(request, route.message_field).CopyFrom(update.message)
        if rpc.add_file_urls:
            _add_urls(request, route, rpc.add_file_urls, context.bot.id)
        timeout = rpc.timeout - self.waited_seconds
        if update.answer_deadline is not None:
            seconds_left = update.answer_deadline - ANSWER_MARGIN_SECONDS - rpc.now()
            timeout = min(timeout, seconds_left)
        return start(
            request.SerializeToString(),
            timeout=max(0.0, timeout),
            metadata=build_metadata(context.request_id),
        )

    def _convert(self, error: aio.AioRpcError) -> ServiceError:
        """Record the failure of a call, and convert its error."""
        problem = recognize_problem(error)
        if problem is not None and not self._was_late(problem):
            self._record_failure(problem)
        return to_service_error(error, self.route_name, problem)

    def _was_late(self, problem: ServiceProblem) -> bool:
        """Return whether the update, and not the service, used up the time."""
        return (
            problem is ServiceProblem.DEADLINE_EXCEEDED
            and self.update.answer_deadline is not None
        )

    def _limit(self, size_limiter: ReplySizeLimiter, response: bytes) -> None:
        """Add the size of a response.

        Raises:
            ReplyTooLarge: all responses together are larger than a limit.
        """
        try:
            size_limiter.add(response)
        except ReplyTooLarge:
            self._record_failure(ServiceProblem.REPLY_TOO_LARGE)
            raise

    def _record_failure(self, problem: ServiceProblem) -> None:
        self.rpc.record_failure(self.rpc.route.service, self.route_name, problem)


def _create_size_limiter(route: Route) -> ReplySizeLimiter:
    return ReplySizeLimiter(route.response_type, route.result_field, route.name)


def _add_urls(
    request: Message, route: Route, add_file_urls: AddFileUrls, bot_id: int
) -> None:
    """Add the URLs of files to the messages of a request."""
    for field in {route.message_field, route.payload_field} - {""}:
        if request.HasField(field):
            for message in iter_messages(getattr(request, field)):
                add_file_urls(message, bot_id)


def build_metadata(request_id: str) -> aio.Metadata:
    """Return the metadata of a call: its idempotency key and its trace context.

    Each call is a new span. All calls with the same request id, also repetitions after
    a crash, belong to one trace. The format is W3C Trace Context, version 00, with the
    flags 00, "not sampled": the gateway exports no spans, and with "sampled", services
    would record traces without a root.
    """
    trace = blake2b(request_id.encode(), digest_size=16).hexdigest()
    span = random.getrandbits(64) or 1  # 0 is not allowed
    # gRPC also accepts a tuple, but converting it is slower.
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
