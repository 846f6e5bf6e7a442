"""Broadcasts, with whole gateways."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.broadcast_pb2 import (
    BROADCAST_STATE_CANCELLED,
    BROADCAST_STATE_COMPLETED,
    BROADCAST_STATE_PAUSED,
    BroadcastStatus,
)
from botgateway.delivery.v1.broadcast_service_pb2 import (
    AddRecipientsRequest,
    CancelBroadcastRequest,
    CreateBroadcastRequest,
    GetBroadcastRequest,
    ListBroadcastFailuresRequest,
    PauseBroadcastRequest,
    ResumeBroadcastRequest,
    StartBroadcastRequest,
)
from botgateway.delivery.v1.broadcast_service_pb2_grpc import BroadcastServiceStub
from grpc import aio

from tests.support.gateway_harness import SECRET, TOKEN, running_gateway
from tests.support.process import Process, run, serving_process
from tests.support.redis_servers import RedisServer
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until, wait_until_found

if TYPE_CHECKING:
    from botgateway.delivery.v1.broadcast_service_pb2_grpc import (
        BroadcastServiceAsyncStub,
    )

    Client = BroadcastServiceAsyncStub
else:
    Client = BroadcastServiceStub

TEXT = "the news of today"


@contextlib.asynccontextmanager
async def connect(port: int) -> AsyncIterator[Client]:
    """Connect to the Broadcast service, over a connection of its own."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        await channel.channel_ready()
        yield BroadcastServiceStub(channel)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that keeps everything that it confirmed."""
    server = RedisServer(tmp_path, "--appendonly yes --appendfsync always")
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["memory", "redis", "two workers"])
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the settings of each kind of gateway."""
    settings = {"DELIVERY_BULK_RATE": "50"}
    if request.param == "memory":
        return settings
    server: RedisServer = request.getfixturevalue("redis")
    workers = "2" if request.param == "two workers" else "1"
    return {**settings, "REDIS_URL": server.url, "WORKERS": workers}


@contextlib.asynccontextmanager
async def serving_broadcasts(
    settings: dict[str, str],
) -> AsyncIterator[tuple[Process, Client]]:
    """Run a gateway with the Broadcast service, and connect to it."""
    (port,) = free_ports(1)
    async with (
        serving_process({**settings, "DELIVERY_PORT": str(port)}) as gateway,
        connect(port) as client,
    ):
        yield gateway, client


async def create(client: Client, users: Sequence[int], key: str = "news") -> str:
    """Create a broadcast, and add its recipients in two messages."""
    created = await client.CreateBroadcast(
        CreateBroadcastRequest(message=OutgoingMessage(text=TEXT), idempotency_key=key)
    )

    async def requests() -> AsyncIterator[AddRecipientsRequest]:
        middle = len(users) // 2
        yield AddRecipientsRequest(
            broadcast_id=created.broadcast_id, telegram_user_ids=users[:middle]
        )
        yield AddRecipientsRequest(telegram_user_ids=users[middle:])

    added = await client.AddRecipients(requests())
    assert added.total == len(set(users))
    return created.broadcast_id


async def get(client: Client, broadcast_id: str) -> BroadcastStatus:
    """Return the status of a broadcast, whose counts add up."""
    response = await client.GetBroadcast(GetBroadcastRequest(broadcast_id=broadcast_id))
    status: BroadcastStatus = response.status
    counts = [number for field, number in status.counts.ListFields()]
    assert sum(counts) == 2 * status.counts.total
    return status


async def wait_for_state(client: Client, broadcast_id: str, state: int) -> None:
    """Wait until a broadcast is in a state."""

    async def is_reached() -> bool:
        return (await get(client, broadcast_id)).state == state

    await wait_until_found(is_reached)


async def wait_until_closed(client: Client, broadcast_id: str) -> None:
    """Wait until all deliveries of a broadcast have ended."""

    async def is_closed() -> bool:
        counts = (await get(client, broadcast_id)).counts
        return not counts.waiting and not counts.in_progress

    await wait_until_found(is_closed)


def receivers(gateway: Process) -> Counter[int]:
    """Return how often each chat got the message."""
    return Counter(
        int(str(call.parameters["chat_id"]))
        for call in gateway.simulator.sent
        if call.method == "sendMessage" and call.parameters["text"] == TEXT
    )


async def test_every_recipient_gets_the_message_once(settings: dict[str, str]) -> None:
    users = range(3001, 3061)
    async with serving_broadcasts(settings) as (gateway, client):
        broadcast_id = await create(client, [*users, *users])
        assert not receivers(gateway)
        started = await client.StartBroadcast(
            StartBroadcastRequest(broadcast_id=broadcast_id)
        )
        assert started.status.counts.total == len(users)
        await wait_for_state(client, broadcast_id, BROADCAST_STATE_COMPLETED)
        status = await get(client, broadcast_id)
        assert status.counts.sent == status.counts.total == len(users)
        assert receivers(gateway) == Counter(users)
        again = await client.CreateBroadcast(
            CreateBroadcastRequest(
                message=OutgoingMessage(text=TEXT), idempotency_key="news"
            )
        )
        assert again.is_repeated
        with pytest.raises(aio.AioRpcError) as caught:
            await create(client, [1], key="news")
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_paused_broadcast_sends_nothing_until_it_is_resumed(
    settings: dict[str, str],
) -> None:
    users = range(3001, 3201)
    async with serving_broadcasts(settings) as (gateway, client):
        broadcast_id = await create(client, users)
        await client.StartBroadcast(StartBroadcastRequest(broadcast_id=broadcast_id))
        await wait_until(lambda: len(receivers(gateway)) > 10)
        await client.PauseBroadcast(PauseBroadcastRequest(broadcast_id=broadcast_id))

        async def stands_still() -> bool:
            before = await get(client, broadcast_id)
            await asyncio.sleep(0.6)  # longer than workers remember the state
            after = await get(client, broadcast_id)
            return (
                before.counts.sent == after.counts.sent and not after.counts.in_progress
            )

        await wait_until_found(stands_still)
        status = await get(client, broadcast_id)
        assert status.state == BROADCAST_STATE_PAUSED
        assert status.counts.waiting + status.counts.sent == len(users)
        assert len(receivers(gateway)) == status.counts.sent < len(users)
        await client.ResumeBroadcast(ResumeBroadcastRequest(broadcast_id=broadcast_id))
        await wait_for_state(client, broadcast_id, BROADCAST_STATE_COMPLETED)
        assert receivers(gateway) == Counter(users)


async def test_a_cancelled_broadcast_counts_those_who_get_nothing(
    settings: dict[str, str],
) -> None:
    users = range(3001, 3201)
    async with serving_broadcasts(settings) as (gateway, client):
        broadcast_id = await create(client, users)
        await client.StartBroadcast(StartBroadcastRequest(broadcast_id=broadcast_id))
        await wait_until(lambda: len(receivers(gateway)) > 10)
        cancelled = await client.CancelBroadcast(
            CancelBroadcastRequest(broadcast_id=broadcast_id)
        )
        assert cancelled.status.state == BROADCAST_STATE_CANCELLED
        assert not cancelled.status.counts.waiting
        await wait_until_closed(client, broadcast_id)
        counts = (await get(client, broadcast_id)).counts
        assert counts.sent == len(receivers(gateway))
        assert counts.sent + counts.cancelled == len(users)


async def test_recipients_who_blocked_the_bot_are_listed(
    settings: dict[str, str],
) -> None:
    users = range(3001, 3011)
    async with serving_broadcasts(settings) as (gateway, client):
        for _ in range(2):
            gateway.simulator.fail(
                "sendMessage", 403, description="Forbidden: bot was blocked by the user"
            )
        broadcast_id = await create(client, users)
        await client.StartBroadcast(StartBroadcastRequest(broadcast_id=broadcast_id))
        await wait_for_state(client, broadcast_id, BROADCAST_STATE_COMPLETED)
        status = await get(client, broadcast_id)
        assert (status.counts.sent, status.counts.blocked) == (8, 2)
        assert sum(it.count for it in status.reasons) == 2
        listed = await client.ListBroadcastFailures(
            ListBroadcastFailuresRequest(broadcast_id=broadcast_id)
        )
        failed = {it.chat_id for it in listed.failures}
        assert len(failed) == 2
        assert failed <= {*users}


async def test_a_broadcast_goes_on_after_a_kill(redis: RedisServer) -> None:
    """Nobody gets the message twice, and what is doubtful is counted."""
    settings = {"REDIS_URL": redis.url, "DELIVERY_BULK_RATE": "100"}
    users = range(3001, 3151)
    async with serving_broadcasts(settings) as (first, client):
        broadcast_id = await create(client, users)
        await client.StartBroadcast(StartBroadcastRequest(broadcast_id=broadcast_id))
        await wait_until(lambda: len(receivers(first)) > 20)
        first.process.kill()
        await wait_until(lambda: first.process.returncode is not None)
        async with serving_broadcasts(settings) as (second, other):
            await wait_for_state(other, broadcast_id, BROADCAST_STATE_COMPLETED)
            counts = (await get(other, broadcast_id)).counts
            received = receivers(first) + receivers(second)
            assert max(received.values()) == 1
            assert counts.sent + counts.doubtful == len(users)
            assert counts.sent <= len(received) <= counts.sent + counts.doubtful


async def test_nothing_private_of_a_broadcast_leaves_by_a_side_door() -> None:
    """No text or key in a log, a metric, a page or a failure."""
    (port,) = free_ports(1)
    async with (
        running_gateway(delivery_port=port, reply_patience=0) as gateway,
        connect(port) as client,
    ):
        gateway.simulator.fail("sendMessage", 400, description="Bad Request: hush")
        gateway.simulator.fail("sendMessage", 403, description="Forbidden: hush")
        request = CreateBroadcastRequest(
            message=OutgoingMessage(text="hush"), idempotency_key="hush-1"
        )
        broadcast_id = (await client.CreateBroadcast(request)).broadcast_id
        recipients = AddRecipientsRequest(
            broadcast_id=broadcast_id, telegram_user_ids=[1001, 1002, 1003]
        )
        await client.AddRecipients(iter([recipients]))
        await client.StartBroadcast(StartBroadcastRequest(broadcast_id=broadcast_id))
        await wait_for_state(client, broadcast_id, BROADCAST_STATE_COMPLETED)
        counts = (await get(client, broadcast_id)).counts
        assert (counts.sent, counts.failed, counts.blocked) == (1, 1, 1)
        request.message.text = "hush, other"
        for call in (
            client.CreateBroadcast(request),
            client.CreateBroadcast(CreateBroadcastRequest(idempotency_key="hush\n")),
            client.AddRecipients(iter([AddRecipientsRequest(broadcast_id="hush")])),
        ):
            with pytest.raises(aio.AioRpcError) as caught:
                await call
            assert "hush" not in str(caught.value.details())
        listed = await client.ListBroadcastFailures(
            ListBroadcastFailuresRequest(broadcast_id=broadcast_id)
        )
        pages = [json.dumps(gateway.log()), str(listed)]
        pages += [
            (await gateway.get(path, ops=True))[1]
            for path in ("/metrics", "/ready", "/health")
        ]
        assert "gateway_open_broadcasts" in pages[2]
        for page in pages:
            assert "hush" not in page


async def test_an_operator_lists_shows_and_stops_broadcasts(redis: RedisServer) -> None:
    settings = {"REDIS_URL": redis.url, "DELIVERY_BULK_RATE": "5"}
    command = {"REDIS_URL": redis.url, "TELEGRAM_BOT_TOKEN": TOKEN}
    command["TELEGRAM_WEBHOOK_SECRET"] = SECRET
    users = range(3001, 3101)
    async with serving_broadcasts(settings) as (_, client):
        broadcast_id = await create(client, users, key="hush")
        await client.StartBroadcast(StartBroadcastRequest(broadcast_id=broadcast_id))
        for verb, state in (
            ("pause", "paused"),
            ("show", "paused"),
            ("resume", "running"),
            ("cancel", "cancelled"),
        ):
            code, output, errors = await run(
                *("broadcasts", verb, broadcast_id), settings=command
            )
            assert (code, errors) == (0, "")
            assert TEXT not in output
            assert "hush" not in output
            lines = dict(line.split(": ") for line in output.splitlines())
            assert (lines["broadcast"], lines["state"]) == (broadcast_id, state)
            assert lines["total"] == "100"
            assert lines["progress"].endswith("% of 100")
        code, output, errors = await run(
            *("broadcasts", "resume", broadcast_id), settings=command
        )
        assert (code, errors) == (1, f"{broadcast_id}: it is cancelled\n")
        code, output, errors = await run("broadcasts", "list", settings=command)
        assert (code, errors) == (0, "")
        assert output.startswith(broadcast_id)
        assert "state=cancelled" in output
        await wait_until_closed(client, broadcast_id)
        code, output, errors = await run(
            *("broadcasts", "show", "--watch", broadcast_id), settings=command
        )
        assert (code, errors) == (0, "")
        assert "100 % of 100" in output
        code, output, errors = await run(
            *("broadcasts", "show", "A" * 16), settings=command
        )
        assert (code, output) == (1, "")
        assert errors == f"{'A' * 16}: there is no such broadcast\n"
