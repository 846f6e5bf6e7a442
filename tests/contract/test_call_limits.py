"""How many calls of a service run at once."""

import asyncio

import pytest

from gateway.domain.errors import ServiceUnavailable
from gateway.services.call_limits import CallLimits, LimitedCall
from gateway.services.channels import ServiceChannels
from gateway.services.router import GrpcServiceRouter
from gateway.services.rpc_call import RpcCall
from tests.factories import build_command, build_message
from tests.support.services.samples import TABLE
from tests.support.services.serving import NEVER, Context, Services, call, serving
from tests.support.waiting import wait_until

PROFILE = build_command("profile")
TEXT = build_message()


async def test_calls_above_the_limit_wait_in_order() -> None:
    """A call that ends, however it ends, gives its place to the next one."""
    running, most = 0, 0
    may_end = asyncio.Event()

    async def act(_: Context) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await may_end.wait()
        running -= 1

    async with serving(Services(act)) as port:
        targets = dict.fromkeys(TABLE.service_names, f"127.0.0.1:{port}")
        limits = dict.fromkeys(targets, CallLimits(NEVER, NEVER))
        limits["PROFILE"] = CallLimits(NEVER, NEVER, max_concurrent_calls=2)
        async with ServiceChannels(targets) as channels:
            router = GrpcServiceRouter(TABLE, channels, limits)
            calls = [asyncio.create_task(call(router, PROFILE)) for _ in range(5)]
            await wait_until(lambda: running == 2)
            # A service without a limit is called meanwhile.
            other = asyncio.create_task(call(router, TEXT))
            await wait_until(lambda: running == 3)
            calls.pop().cancel()  # it has been waiting
            may_end.set()
            assert await asyncio.gather(*calls) == ["GetProfile"] * 4
            assert await other == "SendMessage"
            assert await call(router, PROFILE) == "GetProfile"
    assert most == 3


async def test_a_call_without_a_place_in_its_time_fails() -> None:
    """As if the service was down: the user gets an apology."""
    targets = dict.fromkeys(TABLE.service_names, "127.0.0.1:1")
    limits = dict.fromkeys(targets, CallLimits(0.05, 0.05))
    async with ServiceChannels(targets) as channels:
        rpc_call = GrpcServiceRouter(TABLE, channels, limits).route(PROFILE)
        assert isinstance(rpc_call, RpcCall)
        limited = LimitedCall(rpc_call, asyncio.Semaphore(0))
        assert limited.route_name == "/profile"
        assert (limited.is_streaming, limited.shows_typing) == (False, True)
        with pytest.raises(ServiceUnavailable, match="/profile: too many calls"):
            await limited.call("user-7")
        with pytest.raises(ServiceUnavailable, match="/profile: too many calls"):
            await limited.stream("user-7", print)


async def test_the_wait_is_a_part_of_the_time_of_a_call() -> None:
    services = Services()
    async with serving(services) as port:
        targets = dict.fromkeys(TABLE.service_names, f"127.0.0.1:{port}")
        limits = dict.fromkeys(targets, CallLimits(NEVER, NEVER))
        async with ServiceChannels(targets) as channels:
            rpc_call = GrpcServiceRouter(TABLE, channels, limits).route(PROFILE)
            assert isinstance(rpc_call, RpcCall)
            rpc_call.waited_seconds = NEVER / 2
            await rpc_call.call("user-7")
    assert services.seen[0].seconds_left < NEVER * 0.6
