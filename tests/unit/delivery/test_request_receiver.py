import asyncio
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from gateway.delivery.failures import RpcFailure
from gateway.delivery.request_receiver import (
    LARGE_BYTES,
    MAX_RECEIVED,
    MAX_RECEIVED_OF_CALLER,
    RequestReceiver,
)
from tests.support.virtual_time import virtual_time


class FakeContext:
    """An rpc whose request arrives at once, or never."""

    def __init__(self, content: object = b"", *, is_slow: bool = False) -> None:
        self._content = content
        self._is_slow = is_slow

    async def read(self) -> object:
        if self._is_slow:
            await asyncio.Event().wait()
        return self._content


async def receive(receiver: RequestReceiver, caller: str, context: Any) -> bytes:  # noqa: ANN401 - a part of a context
    async with receiver.reserve(caller) as slot:
        return await slot.receive(context)


async def hold(receiver: RequestReceiver, caller: str, stack: AsyncExitStack) -> None:
    """Receive a large request, and handle it until the end of the stack."""
    slot = await stack.enter_async_context(receiver.reserve(caller))
    context: Any = FakeContext(bytes(LARGE_BYTES))
    await slot.receive(context)


async def test_large_requests_of_a_caller_wait_for_each_other_only() -> None:
    receiver = RequestReceiver()
    with virtual_time():
        async with AsyncExitStack() as stack:
            for _ in range(MAX_RECEIVED_OF_CALLER):
                await hold(receiver, "shop", stack)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(600):
                    await receive(receiver, "shop", FakeContext())
            assert await receive(receiver, "news", FakeContext(b"x")) == b"x"
        assert await receive(receiver, "shop", FakeContext(b"x")) == b"x"


async def test_all_callers_share_the_slots_of_the_process() -> None:
    receiver = RequestReceiver()
    with virtual_time():
        async with AsyncExitStack() as stack:
            for number in range(MAX_RECEIVED):
                await hold(receiver, f"caller {number}", stack)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(600):
                    await receive(receiver, "news", FakeContext())
        assert await receive(receiver, "news", FakeContext(b"x")) == b"x"


async def test_small_requests_keep_no_slot_while_they_are_handled() -> None:
    receiver = RequestReceiver()
    context: Any = FakeContext(b"x")
    async with AsyncExitStack() as stack:
        for _ in range(2 * MAX_RECEIVED):
            slot = await stack.enter_async_context(receiver.reserve("shop"))
            assert await slot.receive(context) == b"x"


@pytest.mark.parametrize(
    ("context", "code"),
    [
        (FakeContext(is_slow=True), grpc.StatusCode.DEADLINE_EXCEEDED),
        (FakeContext(grpc.aio.EOF), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_a_request_that_does_not_arrive_fails(
    context: FakeContext, code: grpc.StatusCode
) -> None:
    receiver = RequestReceiver()
    with virtual_time():
        for _ in range(2 * MAX_RECEIVED):
            with pytest.raises(RpcFailure) as caught:
                await receive(receiver, "shop", context)
            assert caught.value.code is code
