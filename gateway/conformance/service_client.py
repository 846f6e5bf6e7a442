"""Calls the rpcs of the service under test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio
from msgspec import Struct

from gateway.services.routing.route import Route

_DETAILS_KEY = "grpc-status-details-bin"

_OPTIONS = (
    # A failure is a result of the test, so it is not repeated.
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


class CallResult(Struct, frozen=True):
    """The result of one call.

    Attributes:
        code: the gRPC status.
        text: all pieces of text of a stream, joined; empty for other calls.
        result: the reply, or the internal user id that a session service returned. Of a
            stream it is the last reply. None if there was none.
        is_decodable: whether all responses could be decoded.
        details: the value of the trailer grpc-status-details-bin, or None without it.
    """

    code: grpc.StatusCode
    text: str = ""
    result: Any = None
    is_decodable: bool = True
    details: bytes | None = None

    @property
    def is_ok(self) -> bool:
        """Whether the call succeeded and all responses could be decoded."""
        return self.code is grpc.StatusCode.OK and self.is_decodable


class ServiceClient(Struct, frozen=True):
    """Calls the rpcs of one service.

    Attributes:
        channel: the open channel to the service.
        seconds: the deadline of a call.
        stream_seconds: the deadline of a call with a streamed response.
    """

    channel: aio.Channel
    seconds: float
    stream_seconds: float

    async def call(self, route: Route, request: bytes, request_id: str) -> CallResult:
        """Call the rpc of a route and read all responses.

        A failure of the call is part of the result, and not an exception.

        Args:
            route: the route.
            request: the encoded request.
            request_id: its request id, which is sent as metadata, too.
        """
        responses: list[bytes] = []
        code, details = grpc.StatusCode.OK, None
        try:
            if route.is_streaming:
                responses += [
                    it async for it in self._stream(route, request, request_id)
                ]
            else:
                unary: Any = self.channel.unary_unary(route.path)
                responses.append(
                    await unary(
                        request, timeout=self.seconds, metadata=_metadata(request_id)
                    )
                )
        except aio.AioRpcError as error:
            code, details = error.code(), _find_details(error)
        return _decode(route, responses, code, details)

    async def cancel_after_start(
        self, route: Route, request: bytes, request_id: str
    ) -> None:
        """Start a call and cancel it: when it is connected, or a stream is answered.

        Failures of the call are ignored. The arguments are those of `call`.
        """
        with contextlib.suppress(aio.AioRpcError, TimeoutError):
            if route.is_streaming:
                async for _ in self._stream(route, request, request_id):
                    return
                return
            unary: Any = self.channel.unary_unary(route.path)
            call = unary(request, timeout=self.seconds, metadata=_metadata(request_id))
            await asyncio.wait_for(call.wait_for_connection(), self.seconds)
            call.cancel()

    async def _stream(
        self, route: Route, request: bytes, request_id: str
    ) -> AsyncIterator[bytes]:
        stream: Any = self.channel.unary_stream(route.path)
        call = stream(
            request, timeout=self.stream_seconds, metadata=_metadata(request_id)
        )
        try:
            async for response in call:
                yield response
        finally:
            call.cancel()


@contextlib.asynccontextmanager
async def open_client(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    seconds: float,
    stream_seconds: float,
) -> AsyncIterator[ServiceClient]:
    """Open a channel to a service inside the block. It connects with the first call.

    Args:
        target: the gRPC name of the service, such as "billing:50051".
        credentials: the TLS credentials; None to call the service without TLS.
        seconds: the deadline of a call.
        stream_seconds: the deadline of a call with a streamed response.
    """
    if credentials is None:
        channel = aio.insecure_channel(target, _OPTIONS)
    else:
        channel = aio.secure_channel(target, credentials, _OPTIONS)
    async with channel:
        yield ServiceClient(channel, seconds, stream_seconds)


def _metadata(request_id: str) -> aio.Metadata:
    return aio.Metadata(("x-request-id", request_id))


def _find_details(error: aio.AioRpcError) -> bytes | None:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            return value
    return None


def _decode(
    route: Route,
    responses: Sequence[bytes],
    code: grpc.StatusCode,
    details: bytes | None,
) -> CallResult:
    pieces, result = [], None
    try:
        for response in responses:
            message: Any = route.response_type.FromString(response)
            if route.piece_field:
                pieces.append(getattr(message, route.piece_field))
            if not route.is_streaming or message.HasField(route.result_field):
                result = getattr(message, route.result_field)
    except (DecodeError, TypeError):
        return CallResult(code, is_decodable=False, details=details)
    return CallResult(code, "".join(pieces), result, details=details)
