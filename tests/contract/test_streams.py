"""Answers that come piece by piece."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.conversation.v1.conversation_service_pb2 import (
    StreamMessageRequest,
    StreamMessageResponse,
)
from google.rpc.error_details_pb2 import LocalizedMessage, RetryInfo
from google.rpc.status_pb2 import Status

from gateway.domain.errors import (
    ConfigurationError,
    ServiceError,
    ServiceFailed,
    ServiceTimeout,
    ServiceUnavailable,
)
from gateway.domain.ports import BoundCall
from gateway.services.call_limits import CallLimits
from gateway.services.channels import ServiceChannels
from gateway.services.router import GrpcServiceRouter
from gateway.services.routing.route_table import build_route_table
from tests.factories import build_message
from tests.support.services.made_up import CONTEXT, MESSAGE, REPLY, TEXT, Rpc, a_service
from tests.support.services.samples import TABLE
from tests.support.services.serving import NEVER, TIMEOUTS, Context, serving
from tests.support.waiting import LIMIT, wait_until

UPDATE = build_message(message=IncomingMessage(text="tell me"))
Write = Callable[[StreamMessageResponse | bytes], Awaitable[None]]
Tell = Callable[[StreamMessageRequest, Context, Write], Awaitable[None]]


class Streams(grpc.GenericRpcHandler):
    """Answers StreamMessage as a test says."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Serve that rpc alone."""
        if not handler_call_details.method.endswith("/StreamMessage"):
            return None

        async def handle(request: StreamMessageRequest, context: Context) -> None:
            await self._tell(request, context, context.write)

        handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
            handle,
            StreamMessageRequest.FromString,
            lambda it: it if isinstance(it, bytes) else it.SerializeToString(),
        )
        return handler


@asynccontextmanager
async def asked(tell: Tell, timeout: float = 5) -> AsyncIterator[BoundCall]:
    """Yield the streamed route for text, with a service that answers as told."""
    table = TABLE.with_streaming(["CONVERSATION"])
    limits = dict.fromkeys(TIMEOUTS, CallLimits(NEVER, timeout))
    async with serving(Streams(tell)) as port:
        targets = dict.fromkeys(table.service_names, f"127.0.0.1:{port}")
        async with ServiceChannels(targets) as channels:
            match = GrpcServiceRouter(table, channels, limits).route(UPDATE)
            assert match is not None
            assert match.is_streaming
            yield match


def piece(text: str) -> StreamMessageResponse:
    """Make a piece of text."""
    return StreamMessageResponse(text_piece=text)


async def test_pieces_come_in_their_order_and_are_the_answer() -> None:
    """Empty ones are left out; without a reply the text is the answer."""

    async def tell(_: StreamMessageRequest, __: Context, write: Write) -> None:
        for text in ("one ", "", "two ", "three"):
            await write(piece(text))

    pieces: list[str] = []
    async with asked(tell) as match:
        assert await match.stream("u", pieces.append) is None
    assert pieces == ["one ", "two ", "three"]


async def test_the_reply_of_the_last_response_is_the_answer() -> None:
    """It may look otherwise than the pieces; also an empty one counts."""

    async def tell(request: StreamMessageRequest, _: Context, write: Write) -> None:
        text = f"for {request.context.internal_user_id}: {request.message.text}"
        await write(piece(text))
        await write(StreamMessageResponse(reply=Reply()))

    pieces: list[str] = []
    async with asked(tell) as match:
        assert await match.stream("u-7", pieces.append) == Reply()
    assert pieces == ["for u-7: tell me"]


async def test_a_service_sees_at_once_that_nobody_listens_any_more() -> None:
    """Cancelling the reader cancels the call, also while the service is silent."""
    ended = asyncio.Event()

    async def tell(_: StreamMessageRequest, context: Context, write: Write) -> None:
        context.add_done_callback(lambda _: ended.set())  # type: ignore[arg-type]  # its protocol has a name for the argument
        await write(piece("one"))
        await asyncio.sleep(NEVER)

    pieces: list[str] = []
    async with asked(tell, timeout=NEVER) as match:
        reading = asyncio.create_task(match.stream("u", pieces.append))
        await wait_until(lambda: pieces == ["one"])
        reading.cancel()
        async with asyncio.timeout(LIMIT):
            await ended.wait()
        with pytest.raises(asyncio.CancelledError):
            await reading


async def test_a_stream_has_a_deadline_of_its_own() -> None:
    """That of the whole answer, not that of single calls."""

    async def tell(_: StreamMessageRequest, __: Context, write: Write) -> None:
        await write(piece("one"))
        await asyncio.sleep(NEVER)

    pieces: list[str] = []
    async with asked(tell, timeout=0.3) as match:
        with pytest.raises(ServiceTimeout):
            await match.stream("u", pieces.append)
    assert pieces in ([], ["one"])  # in that time it comes to one at most


@pytest.mark.parametrize("begun", [False, True])
async def test_a_stream_that_its_service_cancels_is_repeated_unless_it_has_begun(
    *,
    begun: bool,
) -> None:
    """What the user saw of an answer is not written a second time."""
    attempts: list[str] = []

    async def tell(
        request: StreamMessageRequest, context: Context, write: Write
    ) -> None:
        attempts.append(request.context.request_id)
        if begun:
            await write(piece("one "))
        if len(attempts) == 1:
            await context.abort(grpc.StatusCode.CANCELLED)
        await write(piece("two"))

    pieces: list[str] = []
    async with asked(tell) as match:
        if begun:
            with pytest.raises(ServiceUnavailable):
                await match.stream("u", pieces.append)
        else:
            await match.stream("u", pieces.append)
    assert pieces == (["one "] if begun else ["two"])
    assert attempts == [UPDATE.context.request_id] * (1 if begun else 2)


async def test_an_answer_that_cannot_be_read_ends_the_stream() -> None:
    """The service learns it, and nothing of the answer is in the error."""

    async def tell(_: StreamMessageRequest, context: Context, write: Write) -> None:
        context.add_done_callback(lambda _: ended.set())  # type: ignore[arg-type]  # its protocol has a name for the argument
        await write(piece("one"))
        await write(b"\xff\xff")
        await asyncio.sleep(NEVER)

    ended = asyncio.Event()
    pieces: list[str] = []
    async with asked(tell, timeout=NEVER) as match:
        with pytest.raises(ServiceFailed, match="text: the response cannot be decoded"):
            await match.stream("u", pieces.append)
        async with asyncio.timeout(LIMIT):
            await ended.wait()
    assert pieces == ["one"]


DETAILS = {
    "a text for the user": (
        grpc.StatusCode.FAILED_PRECONDITION,
        [LocalizedMessage(locale="en", message=" Your plan ended. ")],
        ("Your plan ended.", None),
    ),
    "when to come back": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        [RetryInfo(retry_delay={"seconds": 30, "nanos": 500_000_000})],
        (None, 30.5),
    ),
    "when to come back, of no use": (
        grpc.StatusCode.INTERNAL,
        [RetryInfo(retry_delay={"seconds": 30})],
        (None, None),
    ),
    "both": (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        [LocalizedMessage(message="Later!"), RetryInfo(retry_delay={"seconds": 3})],
        ("Later!", 3),
    ),
    "neither": (grpc.StatusCode.INTERNAL, [Status(message="a secret")], (None, None)),
}


@pytest.mark.parametrize(("code", "details", "told"), DETAILS.values(), ids=DETAILS)
async def test_a_status_may_say_what_the_user_reads(
    code: grpc.StatusCode, details: list[Any], told: tuple[str | None, float | None]
) -> None:
    """In a google.rpc.Status; nothing of it is in the error's own words."""
    status = Status(code=code.value[0], message="a secret")
    for detail in details:
        status.details.add().Pack(detail)

    async def tell(_: StreamMessageRequest, context: Context, write: Write) -> None:
        await write(piece("one"))
        packed = status.SerializeToString()
        context.set_trailing_metadata((("grpc-status-details-bin", packed),))
        await context.abort(code, "a secret")

    async with asked(tell) as match:
        with pytest.raises(ServiceError) as caught:
            await match.stream("u", lambda _: None)
    assert (caught.value.user_message, caught.value.retry_after) == told
    assert str(caught.value) == f"text: {code.name}"


async def test_details_that_cannot_be_read_are_none() -> None:

    async def tell(_: StreamMessageRequest, context: Context, __: Write) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"),))
        await context.abort(grpc.StatusCode.INTERNAL, "")

    async with asked(tell) as match:
        with pytest.raises(ServiceFailed) as caught:
            await match.stream("u", lambda _: None)
    assert caught.value.user_message is None


def test_a_setting_chooses_between_a_unary_and_a_streaming_rpc() -> None:
    """Of one service, with the same trigger."""
    assert TABLE.text_route is not None
    assert TABLE.text_route.method.endswith("SendMessage")
    streamed = TABLE.with_streaming(["CONVERSATION"]).text_route
    assert streamed is not None
    assert streamed.method.endswith("StreamMessage")


def test_a_service_that_cannot_stream_is_not_asked_to() -> None:
    """The setting would be without effect, which nobody wants."""
    with pytest.raises(
        ConfigurationError, match="MATCHING_STREAMING: this service has no"
    ):
        TABLE.with_streaming(["MATCHING", "CONVERSATION"])


def test_an_rpc_that_only_streams_needs_no_setting() -> None:
    request = {"context": CONTEXT, "message": MESSAGE}
    response = {"reply": REPLY, "words": "string"}
    service = a_service(Rpc(TEXT, request, response, streaming="server"))
    route = build_route_table([service]).text_route
    assert route is not None
    assert (route.is_streaming, route.piece_field) == (True, "words")


def test_two_streaming_rpcs_for_one_trigger_stop_the_start() -> None:
    """A setting could not tell them apart."""
    request = {"context": CONTEXT, "message": MESSAGE}
    rpcs = [
        Rpc(TEXT, request, name=name, streaming=streaming)
        for name, streaming in (("One", "server"), ("Two", "server"), ("Three", ""))
    ]
    with pytest.raises(ConfigurationError, match="text is already routed to"):
        build_route_table([a_service(*rpcs)])


async def test_a_stream_of_large_replies_is_ended() -> None:
    """All of its answers together are limited, whatever each replaces."""
    written = 0

    async def tell(_: StreamMessageRequest, __: Context, write: Write) -> None:
        nonlocal written
        large = Reply(messages=[OutgoingMessage(text="x" * 2**20)])
        while True:
            await write(StreamMessageResponse(reply=large))
            written += 1

    async with asked(tell, timeout=50) as match:
        with pytest.raises(ServiceFailed, match="larger than 4194304 bytes"):
            await match.stream("u", lambda _: None)
    assert written < 1000
