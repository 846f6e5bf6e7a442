"""Services that speak first, with whole gateways."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.delivery_pb2 import (
    DELIVERY_PRIORITY_BULK,
    DELIVERY_STATE_BLOCKED,
    DELIVERY_STATE_FAILED,
    DELIVERY_STATE_SENDING,
    DELIVERY_STATE_SENT,
    DeliveryState,
)
from botgateway.delivery.v1.delivery_service_pb2 import (
    DeliveryOptions,
    GetRequest,
    Recipient,
    SendRequest,
)
from botgateway.delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from grpc import aio

from tests.support.backend import gate
from tests.support.gateway_harness import SECRET, TOKEN, running_gateway
from tests.support.process import ROOT, Process, run, serving_process, settings_of
from tests.support.redis_servers import RedisServer
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until, wait_until_found

if TYPE_CHECKING:
    from botgateway.delivery.v1.delivery_service_pb2_grpc import (
        DeliveryServiceAsyncStub,
    )

    Client = DeliveryServiceAsyncStub
else:
    Client = DeliveryServiceStub

EXAMPLE = ROOT / "examples" / "speak-first" / "python" / "speak_first.py"


@contextlib.asynccontextmanager
async def connect(port: int) -> AsyncIterator[Client]:
    """Connect to the Delivery service, over a connection of its own."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        await channel.channel_ready()
        yield DeliveryServiceStub(channel)


def make_send(key: str, text: str, internal_user_id: str) -> SendRequest:
    """Make a request to send a text to a user."""
    return SendRequest(
        recipient=Recipient(internal_user_id=internal_user_id),
        messages=[OutgoingMessage(text=text)],
        idempotency_key=key,
    )


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that keeps everything that it confirmed."""
    server = RedisServer(tmp_path, "--appendonly yes --appendfsync always")
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["memory", "redis", "two workers", "two workers, one file"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Return the settings of each kind of gateway."""
    if request.param == "memory":
        return {}
    if request.param == "two workers, one file":
        return {"DATA_DIR": str(tmp_path / "data"), "WORKERS": "2"}
    server: RedisServer = request.getfixturevalue("redis")
    return {
        "REDIS_URL": server.url,
        "WORKERS": "2" if request.param == "two workers" else "1",
    }


@contextlib.asynccontextmanager
async def serving_deliveries(
    settings: dict[str, str],
) -> AsyncIterator[tuple[Process, int]]:
    """Run a gateway with the Delivery service, and give its port."""
    (port,) = free_ports(1)
    async with serving_process({**settings, "DELIVERY_PORT": str(port)}) as gateway:
        yield gateway, port


def texts(gateway: Process) -> list[str]:
    """Return the texts that Telegram got, in order."""
    calls = gateway.simulator.sent
    return [str(it.parameters["text"]) for it in calls if it.method == "sendMessage"]


async def test_messages_of_a_service_come_in_order_with_replies(
    settings: dict[str, str],
) -> None:
    async with serving_deliveries(settings) as (gateway, port):
        await gateway.say(1, user=1001)
        await wait_until(lambda: texts(gateway) == ["echo: hi"])
        user = "u-1001"
        opened = asyncio.Event()
        gate(gateway.backend, opened, {1001})
        await gateway.say(2, user=1001, text="slow")
        await wait_until(lambda: len(gateway.backend.asked("SendMessage")) == 2)
        expected = ["echo: hi", "echo: slow"]
        delivery_ids = []
        for number in range(6):
            # A connection of its own reaches any worker.
            async with connect(port) as client:
                text = f"message {number}"
                sent = await client.Send(make_send(f"k-{number}", text, user))
                assert not sent.is_repeated
                delivery_ids.append(sent.delivery_id)
                expected.append(text)
        assert texts(gateway) == ["echo: hi"]
        opened.set()
        await wait_until(lambda: len(texts(gateway)) >= len(expected))
        async with connect(port) as client:
            again = await client.Send(make_send("k-5", "message 5", user))
            assert again.is_repeated
            assert again.delivery_id == delivery_ids[-1]
            with pytest.raises(aio.AioRpcError) as caught:
                await client.Send(make_send("k-5", "another", user))
            assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS

            async def is_sent() -> bool:
                found = await client.Get(GetRequest(idempotency_key="k-5"))
                return bool(found.status.state == DELIVERY_STATE_SENT)

            await wait_until_found(is_sent)
            found = await client.Get(GetRequest(delivery_id=again.delivery_id))
            assert len(found.status.messages) == 1
            await gateway.say(3, user=1001, text="last")
        await wait_until(lambda: "echo: last" in texts(gateway))
        assert texts(gateway) == [*expected, "echo: last"]


async def test_the_example_sends_once_under_a_key() -> None:
    async with serving_deliveries({}) as (gateway, port):
        await gateway.say(1, user=1001)
        await wait_until(lambda: texts(gateway) == ["echo: hi"])
        for said in ("", " (was stored before)"):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *(EXAMPLE, f"127.0.0.1:{port}", "u-1001", "key", "It was shipped."),
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "generated")},
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await process.communicate()
            stored, end = output.decode().splitlines()
            assert stored.startswith("stored as ")
            assert stored[len("stored as ") + 16 :] == said
            assert end.strip() == "DELIVERY_STATE_SENT"
            assert process.returncode == 0
        await gateway.say(2, user=1001, text="last")
        await wait_until(lambda: "echo: last" in texts(gateway))
        assert texts(gateway) == ["echo: hi", "It was shipped.", "echo: last"]


async def test_bulk_deliveries_are_let_in_by_one_pacer(
    settings: dict[str, str],
) -> None:
    users = range(2001, 2041)
    expected = [f"bulk {user}" for user in users]
    async with (
        serving_deliveries({**settings, "DELIVERY_BULK_RATE": "40"}) as (gateway, port),
        connect(port) as client,
    ):
        for user in users:
            request = SendRequest(
                recipient=Recipient(telegram_user_id=user),
                messages=[OutgoingMessage(text=f"bulk {user}")],
                idempotency_key=str(user),
                options=DeliveryOptions(priority=DELIVERY_PRIORITY_BULK),
            )
            await client.Send(request)

        async def are_sent() -> bool:
            found = await client.Get(GetRequest(idempotency_key="2040"))
            is_sent = found.status.state == DELIVERY_STATE_SENT
            return is_sent and len(texts(gateway)) >= len(expected)

        await wait_until_found(are_sent)
        assert sorted(texts(gateway)) == expected


async def test_a_stranger_is_not_found(settings: dict[str, str]) -> None:
    async with serving_deliveries(settings) as (_, port), connect(port) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.Send(make_send("k", "hello", "nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_killed_gateway_loses_no_delivery_that_was_accepted(
    redis: RedisServer,
) -> None:
    """It is killed between the OK and the sending, while a reply is in front."""
    settings = {"REDIS_URL": redis.url}
    async with serving_deliveries(settings) as (first, port):
        await first.say(1, user=1001)
        await wait_until(lambda: texts(first) == ["echo: hi"])
        gate(first.backend, asyncio.Event(), {1001})
        await first.say(2, user=1001, text="slow")
        await wait_until(lambda: len(first.backend.asked("SendMessage")) == 2)
        async with connect(port) as client:
            sent = await client.Send(make_send("k", "accepted", "u-1001"))
        first.process.kill()
        await first.process.wait()
        assert texts(first) == ["echo: hi"]
    async with serving_deliveries(settings) as (second, port):
        async with connect(port) as client:
            again = await client.Send(make_send("k", "accepted", "u-1001"))
            assert again.is_repeated
            assert again.delivery_id == sent.delivery_id
        await wait_until(lambda: "accepted" in texts(second))
        await second.say(3, user=1001, text="last")
        await wait_until(lambda: "echo: last" in texts(second))
        assert texts(second) == ["echo: slow", "accepted", "echo: last"]


async def test_nothing_private_of_a_delivery_leaves_by_a_side_door(
    tmp_path: Path,
) -> None:
    """No text, key or token in a log, a metric or a page, whatever fails."""
    token = "hush-token-of-the-shop"
    callers = tmp_path / "callers.yaml"
    digest = sha256(token.encode()).hexdigest()
    callers.write_text(f"callers: [{{name: shop, tokens: [{{sha256: {digest}}}]}}]")
    (port,) = free_ports(1)
    metadata = (("authorization", f"Bearer {token}"),)
    wrong = (("authorization", "Bearer hush-another-token"),)
    async with (
        running_gateway(
            delivery_port=port, delivery_callers_file=callers, reply_patience=0
        ) as gateway,
        connect(port) as client,
    ):

        async def end(key: str) -> DeliveryState.ValueType:
            request = make_send(f"hush-{key}", "hush", "u-1001")
            request.recipient.telegram_user_id = 1001
            await client.Send(request, metadata=metadata)
            state: list[DeliveryState.ValueType] = []

            async def ended() -> bool:
                found = GetRequest(idempotency_key=f"hush-{key}")
                status = (await client.Get(found, metadata=metadata)).status
                state[:] = [status.state]
                return status.state > DELIVERY_STATE_SENDING

            await wait_until_found(ended)
            return state[0]

        assert await end("1") == DELIVERY_STATE_SENT
        gateway.simulator.fail("sendMessage", 400, description="Bad Request: hush")
        assert await end("2") == DELIVERY_STATE_FAILED
        gateway.simulator.fail("sendMessage", 403, description="Forbidden: hush")
        assert await end("3") == DELIVERY_STATE_BLOCKED
        for request, credentials in (
            (make_send("hush-4", "hush", "hush"), metadata),
            (make_send("hush-1", "other", "hush"), metadata),
            (make_send("hush-\n", "", ""), metadata),
            (make_send("hush-5", "hush", "hush"), wrong),
        ):
            with pytest.raises(aio.AioRpcError) as caught:
                await client.Send(request, metadata=credentials)
            assert "hush" not in str(caught.value.details())
        pages = [json.dumps(gateway.log())]
        pages += [
            (await gateway.get(path, ops=True))[1]
            for path in ("/metrics", "/ready", "/health")
        ]
        assert "gateway_delivery_rpcs_total" in pages[1]
        for page in pages:
            for private in ("hush", digest, TOKEN.partition(":")[2]):
                assert private not in page


async def test_an_operator_lists_shows_and_cancels_deliveries(
    redis: RedisServer,
) -> None:
    settings = {"REDIS_URL": redis.url}
    async with serving_deliveries(settings) as (gateway, port):
        await gateway.say(1, user=1001)
        await wait_until(lambda: texts(gateway) == ["echo: hi"])
        gate(gateway.backend, asyncio.Event(), {1001})
        await gateway.say(2, user=1001, text="slow")
        await wait_until(lambda: len(gateway.backend.asked("SendMessage")) == 2)
        async with connect(port) as client:
            sent = await client.Send(make_send("hush-key", "hush-text", "u-1001"))
        command = {"REDIS_URL": redis.url, "TELEGRAM_BOT_TOKEN": TOKEN}
        command["TELEGRAM_WEBHOOK_SECRET"] = SECRET
        request = make_send("hush-later", "hush-text", "u-1001")
        request.options.not_before.GetCurrentTime()
        request.options.not_before.seconds += 3600
        async with connect(port) as client:
            later = await client.Send(request)
        code, output, errors = await run("deliveries", "list", settings=command)
        assert (code, errors) == (0, "")
        listed = {line.split()[0]: line for line in output.splitlines()}
        assert "state=accepted" in listed.pop(sent.delivery_id)
        assert "state=scheduled" in listed.pop(later.delivery_id)
        assert listed == {}
        assert "hush" not in output
        code, output, errors = await run(
            *("deliveries", "list", "--limit", "1"), settings=command
        )
        assert (code, len(output.splitlines())) == (0, 1)
        assert errors.startswith("There are more")
        for verb, state in (("show", "accepted"), ("cancel", "cancelled")):
            code, output, errors = await run(
                *("deliveries", verb, sent.delivery_id), settings=command
            )
            assert (code, errors) == (0, "")
            lines = dict(line.split(": ") for line in output.splitlines())
            assert lines["delivery"] == sent.delivery_id
            assert lines["ordering key"] == f"{TOKEN.partition(':')[0]}/1001"
            assert (lines["state"], lines["caller"]) == (state, "local")
            assert "hush" not in output
        code, output, errors = await run(
            *("deliveries", "show", "A" * 16), settings=command
        )
        assert (code, output) == (1, "")
        assert errors == f"{'A' * 16}: there is no such delivery\n"


async def test_all_problems_are_found_before_the_start(tmp_path: Path) -> None:
    callers = tmp_path / "callers.yaml"
    callers.write_text("callers:\n  - name: a\n  - name: b\n    hush: 1\n")
    (port,) = free_ports(1)
    settings = settings_of("localhost:1", "http://localhost:1", *free_ports(2)) | {
        "DELIVERY_PORT": str(port),
        "DELIVERY_CALLERS_FILE": str(callers),
        "DELIVERY_TLS_CERTIFICATE_FILE": str(tmp_path / "missing"),
        "DELIVERY_TLS_KEY_FILE": str(tmp_path / "missing"),
        "DELIVERY_TLS_CLIENT_CA_FILE": str(tmp_path / "missing"),
    }
    code, output, errors = await run("serve", settings=settings)
    assert (code, output) == (2, "")
    assert [line.split(": ")[1:3] for line in errors.splitlines()] == [
        [
            "DELIVERY_TLS_CERTIFICATE_FILE",
            "it and DELIVERY_TLS_KEY_FILE are not a certificate and its key",
        ],
        ["DELIVERY_TLS_CLIENT_CA_FILE", "is not a file of TLS authorities"],
        ["DELIVERY_CALLERS_FILE", "callers.1"],
        ["DELIVERY_CALLERS_FILE", "callers.2"],
    ]
    assert "hush" not in errors


async def test_a_used_port_ends_the_start() -> None:
    settings = settings_of("localhost:1", "http://localhost:1", *free_ports(2))
    (port,) = free_ports(1)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with server:
        for workers in ("1", "2"):
            more = {"DELIVERY_PORT": str(port), "WORKERS": workers}
            more |= {"REDIS_URL": "redis://localhost:1"}
            code, _, errors = await run("serve", settings=settings | more)
            assert code == 2
            assert f"127.0.0.1:{port}: Address already in use" in errors
