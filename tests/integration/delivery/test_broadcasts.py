"""The rpcs of the Broadcast service, over gRPC."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
import pytest
from botgateway.chat.v1.reply_pb2 import Media, OutgoingMessage, Upload
from botgateway.delivery.v1.broadcast_pb2 import (
    BROADCAST_STATE_CANCELLED,
    BROADCAST_STATE_DRAFT,
    BROADCAST_STATE_PAUSED,
    BROADCAST_STATE_RUNNING,
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
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from gateway.delivery.broadcasts import rpcs
from tests.integration.delivery.harness import Harness, read_violations, serve
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from botgateway.delivery.v1.broadcast_service_pb2_grpc import (
        BroadcastServiceAsyncStub,
    )

    Client = BroadcastServiceAsyncStub
else:
    Client = BroadcastServiceStub


def make_create(key: str = "k-1", text: str = "hello") -> CreateBroadcastRequest:
    """Make a request for a broadcast."""
    return CreateBroadcastRequest(
        message=OutgoingMessage(text=text), idempotency_key=key
    )


async def stream(
    *requests: AddRecipientsRequest,
) -> AsyncIterator[AddRecipientsRequest]:
    """Yield the requests of a stream."""
    for request in requests:
        yield request


@contextlib.asynccontextmanager
async def connect() -> AsyncIterator[tuple[Harness, Client]]:
    """Serve, and connect to the Broadcast service."""
    async with (
        serve() as harness,
        aio.insecure_channel(f"127.0.0.1:{harness.port}") as channel,
    ):
        yield harness, BroadcastServiceStub(channel)


async def test_a_broadcast_from_its_creation_to_its_end() -> None:
    async with connect() as (harness, client):
        created = await client.CreateBroadcast(make_create())
        broadcast_id = created.broadcast_id
        assert not created.is_repeated
        added = await client.AddRecipients(
            stream(
                AddRecipientsRequest(
                    broadcast_id=broadcast_id, telegram_user_ids=[1, 2, 2]
                ),
                AddRecipientsRequest(telegram_user_ids=[2], chat_ids=[-3]),
            )
        )
        assert (added.added, added.total) == (3, 3)
        found = await client.GetBroadcast(GetBroadcastRequest(idempotency_key="k-1"))
        assert found.status.broadcast_id == broadcast_id
        assert found.status.state == BROADCAST_STATE_DRAFT
        steps = [
            (await client.StartBroadcast(StartBroadcastRequest(broadcast_id=it))).status
            for it in 2 * [broadcast_id]
        ]
        steps += [
            (await client.PauseBroadcast(PauseBroadcastRequest(broadcast_id=it))).status
            for it in 2 * [broadcast_id]
        ]
        resume = ResumeBroadcastRequest(broadcast_id=broadcast_id)
        steps.append((await client.ResumeBroadcast(resume)).status)
        cancel = CancelBroadcastRequest(broadcast_id=broadcast_id)
        steps.append((await client.CancelBroadcast(cancel)).status)
        assert [it.state for it in steps] == [
            *(BROADCAST_STATE_RUNNING, BROADCAST_STATE_RUNNING),
            *(BROADCAST_STATE_PAUSED, BROADCAST_STATE_PAUSED),
            *(BROADCAST_STATE_RUNNING, BROADCAST_STATE_CANCELLED),
        ]
        assert (steps[0].counts.total, steps[0].counts.waiting) == (3, 3)
        assert (steps[-1].counts.total, steps[-1].counts.cancelled) == (3, 3)
        with pytest.raises(aio.AioRpcError) as caught:
            await client.ResumeBroadcast(resume)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        # The caller may get the status before the server has recorded it.
        ended = ("ResumeBroadcast", "FAILED_PRECONDITION")
        await wait_until(lambda: ended in harness.rpcs)


async def test_the_same_request_creates_one_broadcast() -> None:
    async with connect() as (harness, client):
        request = make_create()
        request.expire_time.CopyFrom(Timestamp(seconds=int(harness.clock.now()) + 60))
        first = await client.CreateBroadcast(request)
        harness.clock.move(120)
        again = await client.CreateBroadcast(request)
        assert again.is_repeated
        assert again.broadcast_id == first.broadcast_id
        with pytest.raises(aio.AioRpcError) as caught:
            await client.CreateBroadcast(make_create(text="another"))
        assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_all_wrong_fields_are_named() -> None:
    async with connect() as (harness, client):
        request = CreateBroadcastRequest(
            bot="unknown",
            message=OutgoingMessage(
                edit=True, media=[Media(upload=Upload(content=b"x"))]
            ),
            expire_time=Timestamp(seconds=int(harness.clock.now()) - 1),
            on_doubt=9,  # type: ignore[arg-type]
        )
        with pytest.raises(aio.AioRpcError) as caught:
            await client.CreateBroadcast(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert {*read_violations(caught.value)} == {
            *("bot", "message.edit", "message.media", "idempotency_key"),
            *("expire_time", "on_doubt"),
        }


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({}, "broadcast_id"),
        ({"telegram_user_ids": [0]}, "telegram_user_ids"),
        ({"telegram_user_ids": range(1, 10_002)}, "telegram_user_ids"),
        ({"chat_ids": [5]}, "chat_ids"),
    ],
)
async def test_wrong_recipients_are_refused(
    request_fields: dict[str, list[int]], field: str
) -> None:
    async with connect() as (_, client):
        created = await client.CreateBroadcast(make_create())
        broadcast_id = created.broadcast_id if request_fields else ""
        request = AddRecipientsRequest(broadcast_id=broadcast_id, **request_fields)
        with pytest.raises(aio.AioRpcError) as caught:
            await client.AddRecipients(stream(request))
        assert {*read_violations(caught.value)} == {field}


async def test_a_stream_is_for_one_broadcast() -> None:
    async with connect() as (_, client):
        ids = [
            (await client.CreateBroadcast(make_create(key))).broadcast_id
            for key in ("k-1", "k-2")
        ]
        with pytest.raises(aio.AioRpcError) as caught:
            await client.AddRecipients(
                stream(*(AddRecipientsRequest(broadcast_id=it) for it in ids))
            )
        assert {*read_violations(caught.value)} == {"broadcast_id"}


async def test_recipients_are_added_before_the_start_only() -> None:
    async with connect() as (_, client):
        created = await client.CreateBroadcast(make_create())
        broadcast_id = created.broadcast_id
        await client.StartBroadcast(StartBroadcastRequest(broadcast_id=broadcast_id))
        request = AddRecipientsRequest(broadcast_id=broadcast_id, telegram_user_ids=[1])
        with pytest.raises(aio.AioRpcError) as caught:
            await client.AddRecipients(stream(request))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_there_is_a_limit_of_recipients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpcs, "MAX_RECIPIENTS", 3)
    async with connect() as (_, client):
        created = await client.CreateBroadcast(make_create())
        request = AddRecipientsRequest(
            broadcast_id=created.broadcast_id, telegram_user_ids=[1, 2]
        )
        await client.AddRecipients(stream(request))
        request = AddRecipientsRequest(
            broadcast_id=created.broadcast_id, telegram_user_ids=[3, 4]
        )
        with pytest.raises(aio.AioRpcError) as caught:
            await client.AddRecipients(stream(request))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_unknown_broadcast_is_not_found() -> None:
    async with connect() as (_, client):
        for call in (
            client.GetBroadcast(GetBroadcastRequest(broadcast_id="unknown")),
            client.StartBroadcast(StartBroadcastRequest(broadcast_id="unknown")),
            client.ListBroadcastFailures(
                ListBroadcastFailuresRequest(broadcast_id="unknown")
            ),
        ):
            with pytest.raises(aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
