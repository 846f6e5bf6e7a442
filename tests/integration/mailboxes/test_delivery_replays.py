"""What workers replay of deliveries to a Redis that lost its last moments.

Nothing is sent twice without a doubt that the next owner learns of.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from gateway.domain.delivery import (
    DeliveryRecord,
    DeliveryResult,
    DeliveryState,
    ReportPolicy,
    SentPart,
)
from gateway.domain.errors import LeaseLost
from gateway.domain.mailbox_lease import MailboxLease
from gateway.mailboxes.redis import delivery_replays
from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.delivery_replays import LARGE_REQUEST_BYTES
from gateway.mailboxes.redis.replay_buffer import REPLAY_PAUSE_SECONDS
from tests.factories import build_delivery, build_envelope
from tests.integration.mailboxes.redis_store import RedisStore, opened
from tests.support.redis_servers import RedisServer
from tests.support.stores import KEYS

SENT = DeliveryResult(
    state=DeliveryState.SENT, sent_parts=[SentPart(7, 70), SentPart(7, 71)]
)
SENT_SO_FAR = [SentPart(7, 70)]
DELIVERY = build_delivery(1, report=ReportPolicy.ALL)
ID = DELIVERY.delivery_id


class Workers(NamedTuple):
    """Two workers with the same Redis."""

    accepting: RedisStore
    """Accepts the delivery."""
    sending: RedisStore
    """Sends it."""


@pytest.fixture
async def workers(redis_server: RedisServer) -> AsyncIterator[Workers]:
    """Open the stores of two workers in the shared server."""
    connect = make_connection_factory(redis_server.url)
    async with opened(connect) as accepting, opened(connect) as sending:
        yield Workers(accepting, sending)


@pytest.fixture(params=["accepting worker first", "sending worker first"])
def order(request: pytest.FixtureRequest, workers: Workers) -> list[RedisStore]:
    """Return the workers in the order in which they replay."""
    stores = list(workers)
    return stores if request.param.startswith("accepting") else stores[::-1]


async def acquire(store: RedisStore) -> MailboxLease:
    """Acquire the mailbox for a worker."""
    lease = await store.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    return lease


async def begin(workers: Workers) -> MailboxLease:
    """Let the delivery be sent up to its second call, whose end nobody knows yet."""
    await workers.accepting.deliveries.put_delivery(DELIVERY, acquire=False)
    deliveries = workers.sending.deliveries
    lease = await acquire(workers.sending)
    await deliveries.begin_part(lease, ID, 0, [])
    await deliveries.begin_part(lease, ID, 1, SENT_SO_FAR)
    return lease


async def replay(stores: list[RedisStore]) -> None:
    """Let the workers replay one after the other, and wait for the end of the pause."""
    for store in stores:
        store.mailboxes._replay_buffer.replay(store.clock.uptime())  # noqa: SLF001 - Redis did not restart
        await store.ask("PING")
    for store in stores:
        store.clock.move(REPLAY_PAUSE_SECONDS + 0.1)


async def get(store: RedisStore) -> DeliveryRecord:
    """Return the record of the delivery."""
    record = await store.deliveries.get_delivery(ID)
    assert record is not None
    return record


async def take_reports(store: RedisStore) -> list[str]:
    """Return the ids of the deliveries with reports."""
    await store.mailboxes.claimable(1)
    return [it.delivery_id for it in await store.deliveries.take_reports(9)]


class TestEverythingWasLost:
    """Neither the delivery nor anything about it is in Redis."""

    async def test_the_begin_of_a_call(
        self, workers: Workers, order: list[RedisStore]
    ) -> None:
        """The next owner learns that this call is in doubt, and of what was sent."""
        await begin(workers)
        await workers.accepting.ask("FLUSHALL")
        await replay(order)
        lease = await acquire(workers.accepting)
        assert lease.next_update.delivery is not None
        before = await workers.accepting.deliveries.begin_part(lease, ID, 0, [])
        assert before.state is DeliveryState.SENDING
        assert (before.next_part, before.is_part_begun) == (1, True)
        assert list(before.sent_parts) == SENT_SO_FAR
        assert before.caller == DELIVERY.caller

    async def test_the_end(self, workers: Workers, order: list[RedisStore]) -> None:
        """It has ended, its report is sent, and its mail is gone."""
        lease = await begin(workers)
        await workers.sending.deliveries.commit_delivery(lease, ID, b"state", SENT)
        await workers.accepting.ask("FLUSHALL")
        await replay(order)
        record = await get(workers.accepting)
        assert (record.state, record.caller) == (DeliveryState.SENT, DELIVERY.caller)
        assert list(record.sent_parts) == list(SENT.sent_parts)
        assert await workers.accepting.in_memory() == 0
        assert await take_reports(workers.accepting) == [ID]

    async def test_a_cancellation(
        self, workers: Workers, order: list[RedisStore]
    ) -> None:
        """What its caller was told stays true."""
        await workers.accepting.deliveries.put_delivery(DELIVERY, acquire=False)
        await workers.sending.deliveries.cancel_delivery(ID)
        await workers.accepting.ask("FLUSHALL")
        await replay(order)
        assert (await get(workers.accepting)).state is DeliveryState.CANCELLED
        assert await workers.accepting.in_memory() == 0


class TestTheLeaseWasLost:
    """The lease of a worker that continues to send is not in Redis any more."""

    async def begin_and_lose(self, workers: Workers) -> MailboxLease:
        """Begin two calls; let Redis forget that, and the lease, after a replay."""
        await workers.accepting.deliveries.put_delivery(DELIVERY, acquire=False)
        ask, shard = workers.accepting.ask, KEYS.get_shard(b"7")
        key = shard.record_prefix + ID.encode()
        accepted = await ask("GET", key)
        lease = await begin(workers)
        await replay([workers.sending])
        await ask("SET", key, accepted)
        await ask("DEL", shard.leases)
        await ask("ZADD", shard.pending, 0, "7")
        return lease

    async def test_an_end_that_was_refused_is_an_end_all_the_same(
        self, workers: Workers
    ) -> None:
        """The next owner of the mailbox sends nothing."""
        lease = await self.begin_and_lose(workers)
        with pytest.raises(LeaseLost):
            await workers.sending.deliveries.commit_delivery(lease, ID, b"state", SENT)
        assert (await get(workers.accepting)).state is DeliveryState.SENT
        assert await workers.accepting.mailboxes.acquire("7") is None

    async def test_it_is_replayed_as_well(self, workers: Workers) -> None:
        """Redis may lose it together with the delivery."""
        lease = await self.begin_and_lose(workers)
        with pytest.raises(LeaseLost):
            await workers.sending.deliveries.commit_delivery(lease, ID, b"state", SENT)
        await workers.accepting.ask("FLUSHALL")
        await replay(list(workers))
        assert (await get(workers.accepting)).state is DeliveryState.SENT
        assert await workers.accepting.in_memory() == 0

    async def test_without_a_replay_it_ends_nothing(self, workers: Workers) -> None:
        """Another worker took the mailbox over, and learns of the doubt."""
        lease = await begin(workers)
        shard = KEYS.get_shard(b"7")
        await workers.accepting.ask("DEL", shard.leases)
        with pytest.raises(LeaseLost):
            await workers.sending.deliveries.commit_delivery(lease, ID, b"state", SENT)
        assert (await get(workers.accepting)).state is DeliveryState.SENDING

    async def test_it_does_not_end_what_another_owner_has_begun(
        self, workers: Workers
    ) -> None:
        """That owner knows whether it repeats the call that was in doubt."""
        lease = await begin(workers)
        await replay([workers.sending])
        deliveries = workers.accepting.deliveries
        shard = KEYS.get_shard(b"7")
        await workers.accepting.ask("DEL", shard.leases)
        await workers.accepting.ask("ZADD", shard.pending, 0, "7")
        other = await acquire(workers.accepting)
        before = await deliveries.begin_part(other, ID, 0, [])
        assert before.is_part_begun
        await deliveries.begin_part(other, ID, 1, SENT_SO_FAR, resolves_doubt=True)
        with pytest.raises(LeaseLost):
            await workers.sending.deliveries.commit_delivery(lease, ID, b"state", SENT)
        assert (await get(workers.accepting)).state is DeliveryState.SENDING


async def test_a_scheduled_delivery_whose_entry_was_lost(
    workers: Workers, order: list[RedisStore]
) -> None:
    """It is in its mailbox again, behind what is there, and its call is in doubt."""
    accepting, sending = workers
    due = await accepting.tell_time() + 0.01
    scheduled = build_delivery(1, not_before=due)
    await accepting.deliveries.put_delivery(scheduled)
    shard = KEYS.get_shard(b"7")
    key = shard.record_prefix + ID.encode()
    before_entry = await accepting.ask("GET", key)
    while not await accepting.deliveries.enter_due_deliveries(9):
        await accepting.mailboxes.claimable(1)
        await asyncio.sleep(0)
    lease = await acquire(sending)
    await sending.deliveries.begin_part(lease, ID, 0, [])
    await accepting.ask("FLUSHALL")
    await accepting.ask("SET", key, before_entry)
    await accepting.ask("ZADD", shard.scheduled, 1, f"{ID} 7")
    await accepting.mailboxes.put(build_envelope(5), acquire=False)
    await replay(order)
    assert await accepting.ask("ZCARD", shard.scheduled) == 0
    assert await accepting.in_memory() == 2
    lease = await acquire(accepting)
    await accepting.mailboxes.commit(lease, 5, b"state")
    before = await accepting.deliveries.begin_part(lease, ID, 0, [])
    assert before.is_part_begun


async def test_a_call_that_took_no_effect_is_not_in_doubt(
    workers: Workers, order: list[RedisStore]
) -> None:
    """Its delivery is sent by the next owner as if nobody had begun it."""
    accepting, sending = workers
    await accepting.deliveries.put_delivery(DELIVERY, acquire=False)
    lease = await acquire(sending)
    await sending.deliveries.begin_part(lease, ID, 0, [])
    await sending.deliveries.retract_part(lease, ID)
    await accepting.ask("FLUSHALL")
    await replay(order)
    before = await accepting.deliveries.begin_part(await acquire(accepting), ID, 0, [])
    assert before.state is DeliveryState.ACCEPTED
    assert not before.is_part_begun


async def test_the_bytes_of_large_requests_are_bounded(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest ones are replayed; an end needs no request."""
    worker = workers.accepting
    monkeypatch.setattr(delivery_replays, "MAX_LARGE_BYTES", 2 * LARGE_REQUEST_BYTES)
    content = bytes(LARGE_REQUEST_BYTES)
    deliveries = [build_delivery(number, request=content) for number in range(4)]
    await worker.deliveries.put_delivery(deliveries[0], acquire=False)
    lease = await acquire(worker)
    ended_id = deliveries[0].delivery_id
    await worker.deliveries.begin_part(lease, ended_id, 0, [])
    await worker.deliveries.commit_delivery(lease, ended_id, b"state", SENT)
    for delivery in deliveries[1:]:
        await worker.deliveries.put_delivery(delivery, acquire=False)
    await worker.ask("FLUSHALL")
    await replay([worker])
    records = [
        await worker.deliveries.get_delivery(it.delivery_id) for it in deliveries
    ]
    assert [record and record.state for record in records] == [
        DeliveryState.SENT,
        None,
        DeliveryState.ACCEPTED,
        DeliveryState.ACCEPTED,
    ]
