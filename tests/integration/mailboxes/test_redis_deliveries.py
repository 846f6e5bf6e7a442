"""What holds for deliveries in Redis alone: lost replies, losses, forgeries, cost."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.domain.delivery import (
    RECORD_SECONDS,
    DeliveryRecord,
    DeliveryResult,
    DeliveryState,
    ReportPolicy,
    SentPart,
)
from gateway.domain.delivery_store import DeliveryPutResult
from gateway.domain.errors import StoreFull, StoreUnavailable
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import PutResult
from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.replay_buffer import REPLAY_PAUSE_SECONDS
from tests.factories import build_delivery, build_envelope
from tests.integration.mailboxes.failover_store import worker
from tests.integration.mailboxes.proxy import Proxy, proxied
from tests.integration.mailboxes.redis_store import RedisStore, opened
from tests.integration.mailboxes.wire import Wiretap
from tests.support.redis_servers import RedisServer
from tests.support.stores import KEYS, LEASE
from tests.support.waiting import wait_until

SENT = DeliveryResult(state=DeliveryState.SENT, sent_parts=[SentPart(7, 70)])


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    """Open an empty store in the shared server."""
    async with opened(make_connection_factory(redis_server.url)) as store:
        yield store


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[Proxy]:
    """Run a proxy in front of the shared server."""
    async with proxied(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
async def cut(proxy: Proxy) -> AsyncIterator[RedisStore]:
    """Open an empty store behind the proxy."""
    async with opened(make_connection_factory(proxy.url)) as store:
        yield store


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a server that the test may do anything to."""
    server = RedisServer(tmp_path, "--appendonly yes --appendfsync always")
    server.start()
    yield server
    server.kill()


def id_of(number: int) -> str:
    """Return the id of the delivery with this number."""
    return build_delivery(number).delivery_id


async def acquired(store: RedisStore, number: int = 1) -> MailboxLease:
    """Put a delivery into a free mailbox; return the lease."""
    lease = await store.deliveries.put_delivery(build_delivery(number))
    assert isinstance(lease, MailboxLease)
    return lease


async def get(store: RedisStore, number: int = 1) -> DeliveryRecord:
    """Return the record of the delivery with this number."""
    record = await store.deliveries.get_delivery(id_of(number))
    assert record is not None
    return record


class TestLostReplies:
    """The connection breaks before a command is sent, or after Redis did it."""

    @pytest.mark.parametrize("fault", ["cut before", "cut after"])
    async def test_every_command_may_be_repeated(
        self, cut: RedisStore, proxy: Proxy, fault: str
    ) -> None:
        """The caller does not notice, and nothing is in doubt by it."""
        proxy.faults.extend([fault, "pass", fault])
        lease = await cut.deliveries.put_delivery(build_delivery(1))
        assert isinstance(lease, MailboxLease)
        proxy.faults.append(fault)
        before = await cut.deliveries.begin_part(lease, id_of(1), 0, [])
        assert not before.is_part_begun
        proxy.faults.append(fault)
        assert (
            await cut.deliveries.commit_delivery(lease, id_of(1), b"state", SENT)
            is None
        )
        record = await get(cut)
        assert (record.state, record.sequence_number) == (DeliveryState.SENT, 3)
        await cut.deliveries.put_delivery(build_delivery(2), acquire=False)
        proxy.faults.extend(["pass", fault])
        cancelled = await cut.deliveries.cancel_delivery(id_of(2))
        assert cancelled is not None
        assert cancelled.sequence_number == 2
        assert await cut.count_mailboxes() == 0

    async def test_a_put_that_stopped_half_way_is_completed_by_its_repetition(
        self, store: RedisStore
    ) -> None:
        """Until then nobody finds the delivery, and nobody else can use its key."""
        await store.deliveries.put_delivery(build_delivery(1))
        shard = KEYS.get_shard(b"7")
        await store.ask("DEL", shard.record_prefix + id_of(1).encode())
        await store.ask("DEL", shard.mailbox_key(b"7"), shard.pending, shard.leases)
        assert await store.deliveries.get_delivery(id_of(1)) is None
        moved = build_delivery(1, "8")
        assert isinstance(await store.deliveries.put_delivery(moved), MailboxLease)
        again = await store.deliveries.put_delivery(build_delivery(1))
        assert again is DeliveryPutResult.REPEATED


class TestBegunPuts:
    """A put may record that the first call begins: that saves a command."""

    async def begun(self, store: RedisStore, number: int = 1) -> MailboxLease:
        """Put a delivery whose first call begins."""
        delivery = build_delivery(number)
        lease = await store.deliveries.put_delivery(delivery, begins=True)
        assert isinstance(lease, MailboxLease)
        return lease

    async def test_the_first_call_is_begun(self, store: RedisStore) -> None:
        lease = await self.begun(store)
        assert lease.begun_delivery_id == id_of(1)
        record = await get(store)
        assert (record.state, record.sequence_number) == (DeliveryState.SENDING, 2)
        assert record.is_part_begun
        before = await store.deliveries.begin_part(lease, id_of(1), 1, [])
        assert not before.is_part_begun
        await store.deliveries.commit_delivery(lease, id_of(1), b"state", SENT)
        assert (await get(store)).state is DeliveryState.SENT

    async def test_a_new_owner_doubts_it(self, store: RedisStore) -> None:
        await self.begun(store)
        await store.pass_time(LEASE + 1)
        lease = await store.mailboxes.acquire("7")
        assert lease is not None
        before = await store.deliveries.begin_part(lease, id_of(1), 0, [])
        assert (before.next_part, before.is_part_begun) == (0, True)

    async def test_none_is_begun_that_has_to_wait(self, store: RedisStore) -> None:
        """Behind other mail, in a cool-down, or until its time."""
        await store.deliveries.put_delivery(build_delivery(1), acquire=False)
        behind = await store.deliveries.put_delivery(build_delivery(2), begins=True)
        assert behind is DeliveryPutResult.STORED
        _, cooldown = KEYS.get_cooldown(7, 8)
        await store.ask("SET", cooldown, "1", "PX", "60000")
        cooling = build_delivery(3, "7/8")
        lease = await store.deliveries.put_delivery(cooling, begins=True)
        assert isinstance(lease, MailboxLease)
        assert not lease.begun_delivery_id
        at = await store.tell_time() + 3600
        await store.deliveries.put_delivery(
            build_delivery(4, "9", not_before=at), begins=True
        )
        states = [(await get(store, number)).state for number in (1, 2, 3, 4)]
        assert states == [DeliveryState.ACCEPTED] * 3 + [DeliveryState.SCHEDULED]

    async def test_a_put_that_is_given_up_leaves_no_doubt(
        self, cut: RedisStore, proxy: Proxy
    ) -> None:
        """Nobody makes the call: the next owner must not believe so."""
        putting = asyncio.create_task(self.begun(cut))

        def give_up() -> str:
            putting.cancel()
            return ""

        proxy.fault = give_up
        await asyncio.wait([putting])
        assert putting.cancelled()
        lease = await cut.mailboxes.acquire("7")
        assert lease is not None
        before = await cut.deliveries.begin_part(lease, id_of(1), 0, [])
        assert before.state is DeliveryState.ACCEPTED
        assert not before.is_part_begun

    @pytest.mark.parametrize("fault", ["cut before", "cut after"])
    async def test_it_may_be_repeated(
        self, cut: RedisStore, proxy: Proxy, fault: str
    ) -> None:
        proxy.faults.append(fault)
        lease = await self.begun(cut)
        assert lease.begun_delivery_id == id_of(1)
        record = await get(cut)
        assert (record.state, record.sequence_number) == (DeliveryState.SENDING, 2)


class TestRecovery:
    """Redis came back without its last moments."""

    async def test_deliveries_are_put_again_as_updates_are(
        self, own_server: RedisServer
    ) -> None:
        """Scheduled ones as well, and what has ended has still ended."""
        async with opened(make_connection_factory(own_server.url)) as store:
            lease = await acquired(store, 1)
            await store.deliveries.begin_part(lease, id_of(1), 0, [])
            await store.deliveries.commit_delivery(lease, id_of(1), b"state", SENT)
            await store.mailboxes.put(build_envelope(5), acquire=False)
            await store.deliveries.put_delivery(build_delivery(2), acquire=False)
            at = await store.tell_time() + 3600
            await store.deliveries.put_delivery(build_delivery(3, not_before=at))
            await store.deliveries.put_delivery(build_delivery(4), acquire=False)
            await store.deliveries.cancel_delivery(id_of(4))
            own_server.ask("FLUSHALL")
            own_server.kill()
            put = asyncio.create_task(store.mailboxes.put(build_envelope(6)))
            await wait_until(lambda: store.transport.is_failing)
            own_server.start()
            assert await put is PutResult.STORED
            states = [(await get(store, number)).state for number in (1, 2, 3, 4)]
            assert states == [
                *(DeliveryState.SENT, DeliveryState.ACCEPTED),
                *(DeliveryState.SCHEDULED, DeliveryState.CANCELLED),
            ]
            assert list((await get(store)).sent_parts) == [SentPart(7, 70)]
            again = await store.deliveries.put_delivery(build_delivery(1))
            assert again is DeliveryPutResult.REPEATED
            await store.pass_time(REPLAY_PAUSE_SECONDS + 0.1)
            found = await store.mailboxes.acquire("7")
            assert isinstance(found, MailboxLease)
            assert found.next_update.update_id == 5
            assert await store.in_memory() == 3

    async def test_only_the_end_was_lost(self, own_server: RedisServer) -> None:
        """What Telegram has accepted is not sent again."""
        async with opened(make_connection_factory(own_server.url)) as store:
            lease = await acquired(store, 1)
            key = KEYS.get_shard(b"7").record_prefix + id_of(1).encode()
            accepted = await store.ask("GET", key)
            mailbox = KEYS.get_shard(b"7").mailbox_key(b"7")
            (mail, score) = await store.ask("ZRANGE", mailbox, 0, 0, "WITHSCORES")
            await store.deliveries.commit_delivery(lease, id_of(1), b"state", SENT)
            await store.ask("SET", key, accepted)
            await store.ask("ZADD", mailbox, score, mail)
            own_server.kill()
            own_server.start()
            await store.ask("PING")
            assert (await get(store)).state is DeliveryState.SENT
            assert await store.in_memory() == 0

    async def test_a_cancellation_that_came_too_late_ends_nothing(
        self, own_server: RedisServer
    ) -> None:
        """A delivery that a replacement did not stop goes on after a restart."""
        async with opened(make_connection_factory(own_server.url)) as store:
            first = build_delivery(1, collapse_key="state")
            lease = await store.deliveries.put_delivery(first)
            assert isinstance(lease, MailboxLease)
            await store.deliveries.begin_part(lease, id_of(1), 0, [])
            second = build_delivery(2, collapse_key="state")
            await store.deliveries.put_delivery(second)
            own_server.kill()
            own_server.start()
            await store.ask("PING")
            assert (await get(store, 1)).state is DeliveryState.SENDING


class TestOutage:
    """Redis fails, is full, or does not have all updates."""

    async def test_nothing_is_stored_in_memory_while_redis_is_gone(
        self, own_server: RedisServer
    ) -> None:
        """The caller is told, and may repeat its request until it works."""
        async with worker(own_server.url) as here:
            deliveries = here.durable.deliveries
            own_server.kill()
            with pytest.raises(StoreUnavailable):
                await deliveries.put_delivery(build_delivery(1))
            await here.go_away()
            with pytest.raises(StoreUnavailable):
                await deliveries.put_delivery(build_delivery(1))
            assert here.mailboxes.in_memory == 0
            assert isinstance(await here.mailboxes.put(build_envelope(5)), MailboxLease)

    async def test_no_delivery_overtakes_an_update_in_memory(
        self, redis_server: RedisServer
    ) -> None:
        """Until the updates have been moved to Redis."""
        redis_server.ask("FLUSHALL")
        async with worker(redis_server.url) as here:
            deliveries = here.durable.deliveries
            await here.memory.put(build_envelope(5), acquire=False)
            with pytest.raises(StoreUnavailable):
                await deliveries.put_delivery(build_delivery(1))
            other = build_delivery(2, "8")
            assert isinstance(await deliveries.put_delivery(other), MailboxLease)

    async def test_a_full_redis_refuses_puts_and_lets_deliveries_end(
        self, own_server: RedisServer
    ) -> None:
        async with opened(make_connection_factory(own_server.url)) as store:
            lease = await acquired(store, 1)
            await store.deliveries.put_delivery(build_delivery(2))
            own_server.ask("CONFIG SET maxmemory 1")
            with pytest.raises(StoreFull):
                await store.deliveries.put_delivery(build_delivery(3))
            await store.deliveries.begin_part(lease, id_of(1), 0, [])
            cancelled = await store.deliveries.cancel_delivery(id_of(2))
            assert cancelled is not None
            assert cancelled.state is DeliveryState.CANCELLED
            await store.deliveries.commit_delivery(lease, id_of(1), b"state", SENT)
            assert (await get(store)).state is DeliveryState.SENT


class TestForgeries:
    """Somebody else can write to Redis."""

    async def test_of_a_delivery_with_a_forged_record_nothing_is_sent(
        self, store: RedisStore
    ) -> None:
        lease = await acquired(store, 1)
        key = KEYS.get_shard(b"7").record_prefix + id_of(1).encode()
        record = await store.ask("GET", key)
        await store.ask("SET", key, record[:-1] + b"x")
        found = await store.deliveries.begin_part(lease, id_of(1), 0, [])
        assert found.state is DeliveryState.FAILED
        assert await store.deliveries.get_delivery(id_of(1)) is None

    async def test_a_result_is_not_believed_for_another_state_or_delivery(
        self, store: RedisStore
    ) -> None:
        lease = await acquired(store, 1)
        await store.deliveries.commit_delivery(lease, id_of(1), b"state", SENT)
        prefix = KEYS.get_shard(b"7").record_prefix
        sent = await store.ask("GET", prefix + id_of(1).encode())
        await store.ask("SET", prefix + id_of(2).encode(), sent)
        failed = sent.replace(b"sent", b"failed", 1)
        await store.ask("SET", prefix + id_of(1).encode(), failed)
        assert await store.deliveries.get_delivery(id_of(1)) is None
        await store.deliveries.put_delivery(build_delivery(2), acquire=False)
        assert await store.deliveries.get_delivery(id_of(2)) is None

    async def test_a_forged_delivery_is_never_processed(
        self, store: RedisStore
    ) -> None:
        """Nor does it stand in the way of others."""
        await store.deliveries.put_delivery(build_delivery(1), acquire=False)
        mailbox = KEYS.get_shard(b"7").mailbox_key(b"7")
        (mail,) = await store.ask("ZRANGE", mailbox, 0, 0)
        await store.ask("ZADD", mailbox, "1e-9", mail[:-1] + b"x")
        lease = await store.mailboxes.acquire("7")
        assert isinstance(lease, MailboxLease)
        assert lease.next_update.delivery is not None
        assert await store.in_memory() == 1
        (dead_letter,) = await store.dead_letters()
        assert dead_letter.reason == "forged"

    async def test_a_delivery_is_not_valid_for_another_user(
        self, store: RedisStore
    ) -> None:
        await store.deliveries.put_delivery(build_delivery(1), acquire=False)
        mailbox = KEYS.get_shard(b"7").mailbox_key(b"7")
        (mail,) = await store.ask("ZRANGE", mailbox, 0, 0)
        other = KEYS.get_shard(b"8").mailbox_key(b"8")
        await store.ask("ZADD", other, "1e-9", mail)
        lease = await store.mailboxes.put(build_envelope(5, "8"))
        assert isinstance(lease, MailboxLease)
        assert lease.next_update.update_id == 5

    async def test_a_forged_recipient_is_unknown(self, store: RedisStore) -> None:
        await store.recipients.record_recipient(1, "ada", 7)
        await store.recipients.record_recipient(1, "grace", 8)
        _, ada = KEYS.get_recipients(1, "ada")
        _, grace = KEYS.get_recipients(1, "grace")
        await store.ask("HSET", grace, "grace", await store.ask("HGET", ada, "ada"))
        assert await store.recipients.find_recipient(1, "ada") == 7
        assert await store.recipients.find_recipient(1, "grace") is None


class TestReports:
    """What a look for reports costs."""

    async def test_no_more_records_are_read_than_are_wanted(
        self, store: RedisStore
    ) -> None:
        """However many shards have reports; the oldest ones are taken."""
        for number in range(20):
            delivery = build_delivery(
                number, str(number + 100), report=ReportPolicy.ALL
            )
            await store.deliveries.put_delivery(delivery, acquire=False)
            await store.deliveries.cancel_delivery(delivery.delivery_id)
        await store.mailboxes.claimable(1)
        await store.ask("CONFIG", "RESETSTAT")
        reports = await store.deliveries.take_reports(3)
        assert len(reports) == 3
        statistics = await store.ask("INFO", "commandstats")
        assert b"cmdstat_get:calls=3," in statistics


class TestKeys:
    """What a delivery leaves in Redis."""

    async def test_all_of_an_ended_delivery_expires(self, store: RedisStore) -> None:
        """A day after its end, whatever it was."""
        await store.deliveries.put_delivery(
            build_delivery(1, collapse_key="state", report=ReportPolicy.ALL)
        )
        await store.deliveries.put_delivery(
            build_delivery(2, collapse_key="state", report=ReportPolicy.ALL)
        )
        await store.deliveries.cancel_delivery(id_of(2))
        await store.pass_time(LEASE + 1)
        assert await store.mailboxes.acquire("7") is None
        await store.ask("PING")
        left = await store.ask("KEYS", "*")
        lifetimes = {key: await store.ask("TTL", key) for key in left}
        assert all(0 < it <= RECORD_SECONDS + 60 for it in lifetimes.values())

    async def test_a_delivery_costs_five_writes_to_the_connection(
        self, redis_server: RedisServer
    ) -> None:
        """Two for the put, and one each for the part and the end; the end refreshes
        the key without a wait."""
        tap = Wiretap()
        async with opened(tap.connector(redis_server.url)) as store:
            before = len(tap.writes)
            lease = await acquired(store, 1)
            await store.deliveries.begin_part(lease, id_of(1), 0, [])
            await store.deliveries.commit_delivery(lease, id_of(1), b"state", SENT)
            await store.ask("PING")
            assert len(tap.writes) == before + 5
