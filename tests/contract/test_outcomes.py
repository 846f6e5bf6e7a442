"""What becomes of a call that does not go well."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
import pytest
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.chat.v1.reply_pb2 import (
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    Media,
    OutgoingMessage,
    Reply,
    Upload,
)
from botgateway.conversation.v1.conversation_service_pb2 import SendMessageResponse

from gateway.domain.errors import (
    ServiceError,
    ServiceFailed,
    ServiceTimeout,
    ServiceUnavailable,
)
from gateway.domain.processing_record import Outcome
from gateway.domain.reply_limits import MAX_BUTTONS
from tests.factories import build_command, build_message
from tests.support.services.serving import (
    Act,
    Context,
    RawHandler,
    Services,
    call,
    calling,
    serving,
    serving_wordless,
)
from tests.support.waiting import wait_until

SECRET = "Anna asked for 4711"
TEXT = build_message(message=IncomingMessage(text=SECRET))
PROFILE = build_command("profile")

CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
OUTCOMES = {
    grpc.StatusCode.DEADLINE_EXCEEDED: Outcome.SERVICE_TIMEOUT,
    grpc.StatusCode.UNAVAILABLE: Outcome.SERVICE_UNAVAILABLE,
    grpc.StatusCode.CANCELLED: Outcome.SERVICE_UNAVAILABLE,
}
REPEATED = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED]
"""Also CANCELLED, where it is the service that cancelled."""


def failing(code: grpc.StatusCode, times: int = 9) -> Act:
    """Make an rpc that ends with a status so many times."""
    left = times

    async def fail(context: Context) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            await context.abort(code, SECRET)

    return fail


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
async def test_every_status_becomes_one_outcome_and_quotes_nobody(
    code: grpc.StatusCode,
) -> None:
    """The user's text, which services like to put into details, stays out."""
    async with serving(Services(failing(code))) as port, calling(port) as dispatch:
        with pytest.raises(ServiceError) as caught:
            await call(dispatch, TEXT)
    assert caught.value.outcome == OUTCOMES.get(code, Outcome.SERVICE_FAILED)
    assert str(caught.value) == f"text: {code.name}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__  # left out of printed tracebacks


def test_the_statuses_of_grpc_are_all_of_them() -> None:
    """If gRPC grows a status, somebody looks at its outcome."""
    assert len(CODES) == 16


async def test_a_session_that_fails_says_so_under_its_own_name() -> None:
    """The session's errors are told from those of the update's own route."""
    act = failing(grpc.StatusCode.INTERNAL)
    async with serving(Services(act)) as port, calling(port) as dispatch:
        with pytest.raises(ServiceFailed, match=r"^session: INTERNAL$"):
            await dispatch.resolve_user(TEXT)


@pytest.mark.parametrize("code", REPEATED, ids=lambda code: code.name)
async def test_unavailable_or_cancelled_is_tried_once_more_with_the_same_request_id(
    code: grpc.StatusCode,
) -> None:
    """The first attempt fails, the second answers; both are the same request."""
    services = Services(failing(code, times=1))
    async with serving(services) as port, calling(port) as dispatch:
        assert await call(dispatch, TEXT) == "SendMessage"
    first, second = services.seen
    assert first.request == second.request
    assert first.metadata["x-request-id"] == second.metadata["x-request-id"]
    assert first.metadata["traceparent"] == second.metadata["traceparent"]


@pytest.mark.parametrize("code", REPEATED, ids=lambda code: code.name)
async def test_unavailable_or_cancelled_is_never_tried_a_third_time(
    code: grpc.StatusCode,
) -> None:
    """A service in trouble gets two attempts for an update, not more."""
    services = Services(failing(code))
    async with serving(services) as port, calling(port) as dispatch:
        with pytest.raises(ServiceUnavailable):
            await call(dispatch, TEXT)
    assert len(services.seen) == 2


async def test_a_call_that_we_cancel_is_not_repeated() -> None:
    """A repetition would come before that of the call that follows it."""

    async def hang_once_and_fail_once(context: Context) -> None:
        if len(services.seen) == 1:
            await asyncio.Event().wait()
        if len(services.seen) == 2:
            await context.abort(grpc.StatusCode.CANCELLED)

    services = Services(hang_once_and_fail_once)
    async with serving(services) as port, calling(port) as dispatch:
        cancelled = asyncio.create_task(call(dispatch, TEXT))
        await wait_until(lambda: services.seen)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert await call(dispatch, PROFILE) == "GetProfile"
    methods = [seen.method for seen in services.seen]
    assert methods == ["SendMessage", "GetProfile", "GetProfile"]


@pytest.mark.parametrize("code", [code for code in CODES if code not in REPEATED])
async def test_no_other_status_is_tried_again(code: grpc.StatusCode) -> None:
    """Any other status means that the service got the request and judged it."""
    services = Services(failing(code))
    async with serving(services) as port, calling(port) as dispatch:
        with pytest.raises(ServiceError):
            await call(dispatch, TEXT)
    assert len(services.seen) == 1


async def test_a_slow_service_is_given_up_at_its_deadline() -> None:
    """The deadline ends the call here and at the service."""

    async def hang(_: Context) -> None:
        await asyncio.Event().wait()

    services = Services(hang)
    async with serving(services) as port, calling(port, timeout=0.3) as dispatch:
        start = time.monotonic()
        with pytest.raises(ServiceTimeout, match=r"^text: DEADLINE_EXCEEDED$"):
            await call(dispatch, TEXT)
        assert time.monotonic() - start > 0.25
    assert len(services.seen) <= 1  # a busy one may not have seen it in that time


async def test_the_deadline_covers_both_attempts() -> None:
    """A user never waits longer than the service's deadline, however it fails."""

    async def fail_late_once(context: Context) -> None:
        if len(services.seen) == 1:
            await asyncio.sleep(1)
            await context.abort(grpc.StatusCode.UNAVAILABLE)

    services = Services(fail_late_once)
    async with serving(services) as port, calling(port, timeout=30) as dispatch:
        await call(dispatch, TEXT)
    _, second = services.seen
    assert second.seconds_left < 30 - 1 + 0.5  # gRPC rounds what it writes down


Answer = Callable[[bytes, Context], Awaitable[bytes | None]]


async def garbage(_: bytes, __: Context) -> bytes:
    """Answer with what is no message."""
    return b"\xff\xff\xff"


async def invalid_text(_: bytes, __: Context) -> bytes:
    """Answer with a reply whose text is not UTF-8."""
    return b"\x0a\x05\x0a\x03\x0a\x01\xff"


async def huge(_: bytes, __: Context) -> bytes:
    """Answer with 5 MiB of nothing, which is over the limit of 4 MiB."""
    return bytes(5 * 2**20)


@pytest.mark.parametrize("answer", [garbage, invalid_text, huge])
async def test_an_answer_that_cannot_be_read_is_a_failure(answer: Answer) -> None:
    """Nothing that a service answers breaks the gateway."""
    async with serving(RawHandler(answer)) as port, calling(port) as dispatch:
        with pytest.raises(ServiceFailed, match=r"^text: \w"):
            await call(dispatch, TEXT)


async def test_a_large_answer_without_files_is_a_failure() -> None:
    """It is not even decoded: millions of messages would keep everybody waiting."""

    async def messages(_: bytes, __: Context) -> bytes:
        # A reply of 5 MiB, which is 2.6 million messages of two bytes each.
        return b"\x0a\x80\x80\xc0\x02" + b"\x0a\x00" * (5 * 2**19)

    async with serving(RawHandler(messages)) as port, calling(port) as dispatch:
        with pytest.raises(ServiceFailed, match="larger than 4194304 bytes"):
            await call(dispatch, TEXT)


async def test_a_large_answer_with_files_is_an_answer() -> None:
    """What the files weigh does not count; what is around them does."""

    def answering(text: str) -> Answer:
        media = [Media(upload=Upload(content=bytes(5 * 2**20)))] * 2
        message = OutgoingMessage(text=text, media=media)
        response = SendMessageResponse(reply=Reply(messages=[message]))
        whole = response.SerializeToString()

        async def answer(_: bytes, __: Context) -> bytes:
            return whole

        return answer

    handler = RawHandler(answering("x" * 1000))
    async with serving(handler) as port, calling(port) as dispatch:
        assert await call(dispatch, TEXT) == "x" * 1000
    handler = RawHandler(answering("x" * (4 * 2**20)))
    async with serving(handler) as port, calling(port) as dispatch:
        with pytest.raises(ServiceFailed, match="larger than 4194304 bytes"):
            await call(dispatch, TEXT)


@pytest.mark.parametrize("number", [100, 20_000])
async def test_a_reply_is_cut_when_it_is_decoded(number: int) -> None:
    """Whatever is done with it then, one service keeps nobody else waiting."""
    row = InlineKeyboardRow(
        buttons=[InlineKeyboardButton(text="A", callback_data="B")] * number
    )
    message = OutgoingMessage(text="a", inline_keyboard=InlineKeyboard(rows=[row]))
    response = SendMessageResponse(reply=Reply(messages=[message] * 3))
    whole = response.SerializeToString()

    async def answer(_: bytes, __: Context) -> bytes:
        return whole

    async with serving(RawHandler(answer)) as port, calling(port) as dispatch:
        match = dispatch.route(TEXT)
        assert match is not None
        reply = await match.call("u")
    buttons = [len(each.inline_keyboard.rows[0].buttons) for each in reply.messages]
    assert buttons == [min(number, MAX_BUTTONS + 1)] * 3


async def test_an_empty_answer_is_an_empty_reply() -> None:
    """A service that has nothing to say is not at fault."""

    async def nothing(_: bytes, __: Context) -> bytes:
        return b""

    async with serving(RawHandler(nothing)) as port, calling(port) as dispatch:
        assert await call(dispatch, TEXT) == ""


async def test_ok_without_an_answer_is_a_failure() -> None:
    """A status OK with no message behind it is against the protocol of unary calls."""
    async with serving_wordless() as port, calling(port) as dispatch:
        with pytest.raises(ServiceFailed, match=r"^text: OK without a response$"):
            await call(dispatch, TEXT)
