"""Channels find their services, and find them again."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from botgateway.chat.v1.message_pb2 import IncomingMessage

from gateway.domain.errors import ConfigurationError, ServiceUnavailable
from gateway.services.call_limits import CallLimits
from gateway.services.channels import ServiceChannels, TlsFiles
from gateway.services.router import GrpcServiceRouter
from tests.factories import build_command, build_message
from tests.support.services.health import NOT_SERVING, SERVING, Health
from tests.support.services.samples import TABLE
from tests.support.services.serving import (
    NEVER,
    Context,
    Services,
    call,
    calling,
    serving,
)
from tests.support.services.tls import CA, CERTIFICATES, server_credentials
from tests.support.tcp_ports import free_ports, reserved_port
from tests.support.waiting import wait_until

TEXT = build_message(message=IncomingMessage(text="hi"))
PROFILE = build_command("profile")

ROOT = Path(__file__).parents[2]
CLIENT = TlsFiles(
    ca_file=CA,
    certificate_file=CERTIFICATES / "client.pem",
    key_file=CERTIFICATES / "client.key",
)


async def test_a_service_that_is_down_is_reported_at_once() -> None:
    """The user gets the apology after the repetition, not after the deadline."""
    with reserved_port() as port:
        async with calling(port, timeout=NEVER) as dispatch:
            for _ in range(2):
                with pytest.raises(
                    ServiceUnavailable,
                    match=r"^text: UNAVAILABLE \(connection_refused\)$",
                ):
                    await call(dispatch, TEXT)


async def test_a_service_that_came_back_is_found_soon() -> None:
    """Reconnecting never waits for the minutes that gRPC's own backoff goes up to."""
    attempts = 0

    async def hang_up(_: object, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    (port,) = free_ports(1)
    async with calling(port, timeout=NEVER) as dispatch:
        began = time.monotonic()
        async with await asyncio.start_server(hang_up, "127.0.0.1", port):
            while attempts < 7:
                with pytest.raises(ServiceUnavailable):
                    await call(dispatch, TEXT)
        # Ours takes 3 s for so many, and gRPC's own more than 20.
        assert time.monotonic() - began < 15
        async with serving(Services(), port=port):
            while True:
                with contextlib.suppress(ServiceUnavailable):
                    await call(dispatch, TEXT)
                    break


async def test_a_proxy_for_the_way_to_telegram_is_not_used_for_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Services are inside; a proxy in the environment leads outside."""
    for name in "no_proxy", "no_grpc_proxy":
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    async with serving(Services()) as port, calling(port) as dispatch:
        assert await call(dispatch, TEXT) == "SendMessage"


async def test_services_at_one_target_share_a_channel() -> None:
    """Four services of one process cost one connection."""
    targets = {"PROFILE": "127.0.0.1:1", "MATCHING": "127.0.0.1:1", "X": "127.0.0.1:2"}
    async with ServiceChannels(targets) as channels:
        assert channels["PROFILE"] is channels["MATCHING"]
        assert channels["PROFILE"] is not channels["X"]


async def test_calls_are_spread_over_all_addresses_of_a_target() -> None:
    """Every instance of a service gets its share."""
    one, other = Services(), Services()
    async with serving(one) as first, serving(other) as second:
        target = f"ipv4:127.0.0.1:{first},127.0.0.1:{second}"
        async with ServiceChannels({"PROFILE": target}) as channels:
            method: Any = channels["PROFILE"].unary_unary(
                "/botgateway.profile.v1.ProfileService/GetProfile"
            )
            while not (one.seen and other.seen):  # until both are connected
                await method(b"", timeout=NEVER)
            one.seen.clear()
            other.seen.clear()
            for _ in range(10):
                await method(b"", timeout=NEVER)
    assert len(one.seen) == len(other.seen) == 5


async def test_slow_calls_beyond_a_servers_limit_do_not_hold_up_others() -> None:
    """A server takes 10 calls on a connection; 60 hang, and the next is answered."""
    release = asyncio.Event()

    async def hang(_: Context) -> None:
        if services.seen[-1].method == "SendMessage":
            await release.wait()

    services = Services(hang)
    limit = (("grpc.max_concurrent_streams", 10),)
    async with (
        serving(services, options=limit) as port,
        calling(port, timeout=NEVER) as dispatch,
    ):
        await call(dispatch, PROFILE)
        async with asyncio.TaskGroup() as group:
            hanging = [group.create_task(call(dispatch, TEXT)) for _ in range(60)]
            await wait_until(lambda: len(services.seen) == 61)
            await call(dispatch, PROFILE)
            release.set()
        assert {task.result() for task in hanging} == {"SendMessage"}


async def test_a_service_that_says_it_is_not_serving_gets_no_call() -> None:
    """An instance that is starting or draining is left alone."""
    services = Services()
    health = Health({"": NOT_SERVING})
    async with serving(services, health) as port, calling(port) as dispatch:
        with pytest.raises(ServiceUnavailable):
            await call(dispatch, TEXT)
    assert services.seen == []


async def test_a_service_that_says_it_is_serving_is_called() -> None:
    """The health check is no hindrance to a healthy service."""
    async with (
        serving(Services(), Health({"": SERVING})) as port,
        calling(port) as dispatch,
    ):
        assert await call(dispatch, TEXT) == "SendMessage"


@pytest.mark.parametrize(
    ("mutual", "tls"),
    [
        pytest.param(False, TlsFiles(ca_file=CA), id="TLS"),
        pytest.param(True, CLIENT, id="mutual TLS"),
    ],
)
async def test_services_are_called_over_tls(mutual: bool, tls: TlsFiles) -> None:
    """The server is known by its authority, and with mutual TLS the gateway too."""
    secure = server_credentials(mutual=mutual)
    async with (
        serving(Services(), credentials=secure) as port,
        calling(port, tls=tls) as dispatch,
    ):
        assert await call(dispatch, TEXT) == "SendMessage"


@pytest.mark.parametrize(
    ("mutual", "tls"),
    [
        pytest.param(
            True, TlsFiles(ca_file=CA), id="no certificate where one is asked for"
        ),
        pytest.param(False, TlsFiles(), id="a server of an unknown authority"),
        pytest.param(False, None, id="no encryption"),
    ],
)
async def test_a_service_that_cannot_be_trusted_is_not_called(
    mutual: bool, tls: TlsFiles | None
) -> None:
    """Neither side talks to somebody it does not know."""
    services = Services()
    secure = server_credentials(mutual=mutual)
    async with (
        serving(services, credentials=secure) as port,
        calling(port, tls=tls) as dispatch,
    ):
        with pytest.raises(ServiceUnavailable):
            await call(dispatch, TEXT)
    assert services.seen == []


def test_all_faulty_files_of_tls_are_named_at_once(tmp_path: Path) -> None:
    """A wrong file stops the start; gRPC itself would fail every call later."""
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("this is no certificate")
    with pytest.raises(ConfigurationError) as caught:
        ServiceChannels(
            {},
            TlsFiles(
                ca_file=garbage, certificate_file=tmp_path / "absent", key_file=garbage
            ),
        )
    authorities, certificate = caught.value.problems
    assert str(garbage) in authorities
    assert str(tmp_path / "absent") in certificate
    assert "No such file" in certificate


@pytest.mark.parametrize(
    "tls",
    [
        pytest.param(TlsFiles(certificate_file=CLIENT.certificate_file), id="no key"),
        pytest.param(TlsFiles(key_file=CLIENT.key_file), id="no certificate"),
        pytest.param(
            TlsFiles(
                certificate_file=CLIENT.certificate_file,
                key_file=CERTIFICATES / "server.key",
            ),
            id="somebody else's key",
        ),
    ],
)
def test_a_certificate_needs_its_own_key(tls: TlsFiles) -> None:
    """Half a pair, or two halves of two pairs, stop the start."""
    with pytest.raises(ConfigurationError, match="certificate and its key"):
        ServiceChannels({}, tls)


def test_grpc_knows_the_poller_that_is_chosen() -> None:
    """A version of gRPC without the choice says so here, and the figures change.

    gRPC reads the variable once, while it is being imported, hence a fresh process.
    """
    program = (
        "import gateway.services, grpc, os;"
        "grpc.insecure_channel('127.0.0.1:1').close();"
        "print(os.environ['GRPC_EXPERIMENTS'])"
    )
    environment = {"PATH": os.environ["PATH"], "GRPC_VERBOSITY": "ERROR"}
    for chosen, known in ((None, True), ("-nobody", False)):
        if chosen:
            environment["GRPC_EXPERIMENTS"] = chosen
        ran = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            check=True,
            text=True,
        )
        assert ran.stdout.strip() == (chosen or "-event_engine_client")
        assert ("Unknown experiment" not in ran.stderr) is known


async def test_a_service_may_have_tls_of_its_own() -> None:
    """Beside one without TLS, which has another channel even at the same target."""
    async with serving(Services(), credentials=server_credentials()) as port:
        targets = dict.fromkeys(TABLE.service_names, f"localhost:{port}")
        limits = dict.fromkeys(targets, CallLimits(NEVER, NEVER))
        own = {"PROFILE": TlsFiles(ca_file=CA)}
        async with ServiceChannels(targets, own_tls=own) as channels:
            router = GrpcServiceRouter(TABLE, channels, limits)
            assert await call(router, build_command("profile")) == "GetProfile"
            assert channels["PROFILE"] is not channels["MATCHING"]
            assert channels.get_credentials("MATCHING") is None
            with pytest.raises(ServiceUnavailable):
                await call(router, TEXT)
