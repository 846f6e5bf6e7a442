"""The monitor reports each change of a service's state once."""

import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from grpc import StatusCode

from gateway.domain.errors import ServiceError
from gateway.services.call_limits import CallLimits
from gateway.services.channels import ServiceChannels
from gateway.services.diagnosis.monitor import (
    PROBE_INTERVAL_SECONDS,
    ServiceMonitor,
    list_rpc_services,
)
from gateway.services.diagnosis.problems import ServiceProblem
from gateway.services.router import GrpcServiceRouter
from tests.factories import build_command
from tests.support.services.health import NOT_SERVING, SERVING, Health
from tests.support.services.samples import TABLE
from tests.support.services.serving import (
    NEVER,
    Context,
    RawHandler,
    Services,
    call,
    serving,
)
from tests.support.services.tls import server_credentials
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until_found

PROFILE = build_command("profile")


class Watched:
    """A monitor of PROFILE, on a clock that jumps far at every look."""

    def __init__(self, channels: ServiceChannels) -> None:
        self._now = 0.0
        self.monitor = ServiceMonitor(
            channels, list_rpc_services(TABLE), lambda: self._now
        )

    async def look_until(self, condition: Callable[[], object]) -> None:
        """Let the monitor check until a condition holds."""

        async def check() -> object:
            self._now += PROBE_INTERVAL_SECONDS
            await self.monitor.check()
            return condition()

        await wait_until_found(check)


@contextlib.asynccontextmanager
async def watching(port: int) -> AsyncIterator[Watched]:
    """Watch one service at a port."""
    async with ServiceChannels({"PROFILE": f"127.0.0.1:{port}"}) as channels:
        yield Watched(channels)


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return the gateway's events and their problems, all of which are warnings."""
    ours = [it for it in caplog.records if it.name.startswith("gateway.")]
    assert all(it.levelno == logging.WARNING for it in ours)
    return [(it.msg, vars(it).get("problem", "")) for it in ours]


async def test_every_change_is_reported_once_without_any_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A service is away, comes with TLS, then without, and goes."""
    (port,) = free_ports(1)
    async with watching(port) as watched:
        monitor = watched.monitor

        def shows(text: str) -> Callable[[], object]:
            return lambda: any(text in it for it in monitor.problems)

        assert monitor.up == {"PROFILE": 1}
        await watched.look_until(shows("nothing listens"))
        assert monitor.up == {"PROFILE": 0}
        for _ in range(5):
            await watched.look_until(lambda: True)
        async with serving(Services(), port=port, credentials=server_credentials()):
            await watched.look_until(shows("expects TLS"))
        await watched.look_until(shows("nothing listens"))
        async with serving(Services(), port=port):
            await watched.look_until(lambda: monitor.up["PROFILE"])
            assert monitor.problems == []
        await watched.look_until(lambda: not monitor.up["PROFILE"])
    assert events(caplog) == [
        ("service_down", "connection_refused"),
        ("service_down", "tls_expected"),
        ("service_down", "connection_refused"),
        ("service_recovered", ""),
        ("service_down", "connection_refused"),
    ]


async def test_a_service_that_reports_its_health_is_believed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    health = Health({"": SERVING})
    async with serving(Services(), health) as port, watching(port) as watched:
        await watched.look_until(lambda: True)
        health.report(NOT_SERVING)
        await watched.look_until(lambda: not watched.monitor.up["PROFILE"])
        health.report(SERVING)
        await watched.look_until(lambda: watched.monitor.up["PROFILE"])
    assert events(caplog) == [
        ("service_down", "not_serving"),
        ("service_recovered", ""),
    ]


async def _return_too_much(_: bytes, __: Context) -> bytes:
    return b"x" * (52 * 2**20)


def _abort(code: StatusCode) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def answer(_: bytes, context: Context) -> bytes:
        await context.abort(code, "details with a hush text")
        raise AssertionError

    return answer


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(_abort(StatusCode.UNIMPLEMENTED), "unimplemented", id="no rpc"),
        pytest.param(_return_too_much, "reply_too_large", id="52 MB"),
        pytest.param(
            _abort(StatusCode.UNAVAILABLE), "says_unavailable", id="UNAVAILABLE"
        ),
        pytest.param(
            _abort(StatusCode.DEADLINE_EXCEEDED), "deadline_exceeded", id="deadline"
        ),
        pytest.param(_abort(StatusCode.INTERNAL), None, id="INTERNAL"),
        pytest.param(_abort(StatusCode.RESOURCE_EXHAUSTED), None, id="exhausted"),
    ],
)
async def test_failing_calls_of_a_reached_service_are_reported_once(
    answer: Callable[[bytes, Context], Awaitable[bytes]],
    problem: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = (("grpc.max_send_message_length", -1),)
    async with serving(RawHandler(answer), options=options) as port:
        targets = dict.fromkeys(TABLE.service_names, f"127.0.0.1:{port}")
        limits = dict.fromkeys(TABLE.service_names, CallLimits(NEVER, NEVER))
        async with ServiceChannels(targets) as channels:
            monitor = ServiceMonitor(channels, list_rpc_services(TABLE), lambda: 0.0)
            router = GrpcServiceRouter(
                TABLE,
                channels,
                limits,
                record_failure=monitor.record_failure,
            )
            for _ in range(5):
                with pytest.raises(ServiceError):
                    await call(router, PROFILE)
    expected = [("service_calls_failing", problem)] if problem else []
    assert events(caplog) == expected
    assert len(monitor.problems) == len(expected)
    assert "hush" not in repr(monitor.problems) + repr(
        [vars(it) for it in caplog.records if it.name.startswith("gateway.")]
    )
    assert set(monitor.up.values()) == {1}


async def test_a_request_beyond_the_limit_of_a_service_is_explained() -> None:
    """Each library has its own limit and its own words, here those of grpcio."""
    options = (("grpc.max_receive_message_length", 10),)
    async with serving(Services(), options=options) as port:
        targets = dict.fromkeys(TABLE.service_names, f"127.0.0.1:{port}")
        limits = dict.fromkeys(TABLE.service_names, CallLimits(NEVER, NEVER))
        async with ServiceChannels(targets) as channels:
            monitor = ServiceMonitor(channels, list_rpc_services(TABLE), lambda: 0.0)
            router = GrpcServiceRouter(
                TABLE, channels, limits, record_failure=monitor.record_failure
            )
            with pytest.raises(ServiceError, match="request_too_large"):
                await call(router, PROFILE)
            [problem] = monitor.problems
            assert "raise the limit of its server" in problem


async def test_a_service_that_is_gone_leaves_no_problem() -> None:
    """Nor does a turn that still calls it by the routes with which it began."""
    async with ServiceChannels({"PROFILE": "127.0.0.1:1"}) as channels:
        monitor = ServiceMonitor(channels, {}, lambda: 0.0)
        fail = functools.partial(
            monitor.record_failure, "PROFILE", "/profile", ServiceProblem.UNIMPLEMENTED
        )
        fail()
        assert len(monitor.problems) == 1
        channels.replace({}, {})
        monitor.replace_services({})
        fail()
        assert monitor.problems == []
