"""The gRPC server of the Delivery service with a fake store."""

import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.delivery_service_pb2 import Recipient, SendRequest
from botgateway.delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from gateway.delivery.authentication import Access, AnonymousAccess
from gateway.delivery.bots import DeliveryBot
from gateway.delivery.broadcasts.rpcs import BroadcastRpcs
from gateway.delivery.handlers import DeliveryHandlers
from gateway.delivery.quotas import CallerQuotas
from gateway.delivery.rpcs import DeliveryRpcs
from gateway.delivery.server import ServerAddress, serve_deliveries
from gateway.delivery.tls import ServerTls
from gateway.domain.broadcast_store import BroadcastStore
from gateway.domain.message_handles import MessageHandles
from gateway.mailboxes.memory.broadcasts import MemoryBroadcastStore
from gateway.mailboxes.memory.deliveries import MemoryDeliveryStore
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from tests.support.fake_delivery_records import FakeDeliveries
from tests.support.fakes import FakeClock
from tests.support.tcp_ports import free_ports

if TYPE_CHECKING:
    from botgateway.delivery.v1.delivery_service_pb2_grpc import (
        DeliveryServiceAsyncStub,
    )

    Client = DeliveryServiceAsyncStub
else:
    Client = DeliveryServiceStub


@dataclass
class Harness:
    """A server, its store, and a client."""

    store: FakeDeliveries
    clock: FakeClock
    handlers: DeliveryHandlers
    port: int
    broadcasts: BroadcastStore
    rpcs: list[tuple[str, str]] = field(default_factory=list)
    """Method and status of each rpc that ended."""

    @contextlib.asynccontextmanager
    async def client(
        self, credentials: grpc.ChannelCredentials | None = None
    ) -> AsyncIterator[Client]:
        """Connect a client."""
        options = (("grpc.ssl_target_name_override", "localhost"),)
        target = f"127.0.0.1:{self.port}"
        if credentials is None:
            channel = aio.insecure_channel(target)
        else:
            channel = aio.secure_channel(target, credentials, options)
        async with channel:
            yield DeliveryServiceStub(channel)


def make_rpcs(
    store: FakeDeliveries,
    clock: FakeClock,
    bots: Sequence[DeliveryBot] = (DeliveryBot(bot_id=7, name="shop"),),
    workers: int = 1,
    call_methods: Collection[str] = frozenset({"sendPoll"}),
) -> DeliveryRpcs:
    """Make the rpcs."""
    return DeliveryRpcs(
        enqueue=store.enqueue,
        records=store,
        find_recipient=store.find_recipient,
        list_bots=lambda: bots,
        quotas=CallerQuotas(workers, clock.uptime),
        handles=MessageHandles(["a secret"]),
        call_methods=call_methods,
        now=clock.now,
    )


def make_broadcast_store(clock: FakeClock) -> MemoryBroadcastStore:
    """Make a store of broadcasts, in memory."""
    mailboxes = MemoryMailboxStore(clock, limit=9, max_sessions=9)
    return MemoryBroadcastStore(MemoryDeliveryStore(mailboxes, clock, limit=9), clock)


def make_broadcast_rpcs(
    store: BroadcastStore,
    clock: FakeClock,
    bots: Sequence[DeliveryBot],
    workers: int = 1,
) -> BroadcastRpcs:
    """Make the rpcs for broadcasts."""
    return BroadcastRpcs(
        store,
        list_bots=lambda: bots,
        quotas=CallerQuotas(workers, clock.uptime),
        now=clock.now,
    )


@contextlib.asynccontextmanager
async def serve(
    access: Access | None = None,
    *,
    bots: Sequence[DeliveryBot] = (DeliveryBot(bot_id=7, name="shop"),),
    tls: ServerTls | None = None,
    workers: int = 1,
    call_methods: Collection[str] = frozenset({"sendPoll"}),
    drain_seconds: float = 60,
) -> AsyncIterator[Harness]:
    """Serve inside the block."""
    store, clock = FakeDeliveries(), FakeClock()
    broadcasts = make_broadcast_store(clock)
    rpcs: list[tuple[str, str]] = []
    handlers = DeliveryHandlers(
        make_rpcs(store, clock, bots, workers, call_methods),
        make_broadcast_rpcs(broadcasts, clock, bots, workers),
        access or AnonymousAccess(),
        lambda method, status, _: rpcs.append((method, status)),
    )
    (port,) = free_ports(1)
    address = ServerAddress(host="127.0.0.1", port=port, tls=tls)
    async with serve_deliveries(address, handlers, drain_seconds=drain_seconds):
        yield Harness(store, clock, handlers, port, broadcasts, rpcs)


def make_send(
    key: str = "k-1",
    text: str = "hello",
    **recipient: Any,  # noqa: ANN401 - the fields of a recipient
) -> SendRequest:
    """Make a request, to the user "u-1" unless another recipient is named."""
    if not recipient:
        recipient = {"internal_user_id": "u-1"}
    return SendRequest(
        recipient=Recipient(**recipient),
        messages=[OutgoingMessage(text=text)],
        idempotency_key=key,
    )


def read_detail(error: grpc.RpcError, message: Message) -> None:
    """Fill a message with the only detail of an error."""
    assert isinstance(error, aio.AioRpcError)
    metadata = dict(error.trailing_metadata() or ())
    raw = metadata["grpc-status-details-bin"]
    assert isinstance(raw, bytes)
    status = Status.FromString(raw)
    assert status.code == error.code().value[0]
    assert status.details[0].Unpack(message)


def read_violations(error: grpc.RpcError) -> dict[str, str]:
    """Return the description of each wrong field."""
    detail = BadRequest()
    read_detail(error, detail)
    return {it.field: it.description for it in detail.field_violations}


def read_retry_seconds(error: grpc.RpcError) -> float:
    """Return when the caller may try again."""
    detail = RetryInfo()
    read_detail(error, detail)
    return detail.retry_delay.ToNanoseconds() / 1e9
