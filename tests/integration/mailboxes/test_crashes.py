"""Crash at every await: each call of a store goes wrong once, in every way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from hashlib import sha1

import pytest
from msgspec import structs

from gateway.domain.errors import LeaseLost
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.user_state import UserState, encode_user_state
from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.client.pipeline import CommandPipeline
from gateway.mailboxes.redis.lua.scripts import Script, Scripts, load_scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from tests.factories import build_envelope
from tests.integration.mailboxes.crashes import (
    CUTS,
    ENDS,
    CrashHarness,
    Fault,
    Worker,
    message,
)
from tests.integration.mailboxes.moments import (
    MOMENTS,
    Call,
    WatchedTransport,
    cancel_at,
)
from tests.integration.mailboxes.redis_store import RedisStore, opened
from tests.integration.mailboxes.wire import Wire
from tests.support.redis_servers import RedisServer
from tests.support.stores import KEYS, LEASE, LIMIT, SIGNATURES
from tests.support.waiting import wait_until

SCRIPTS = load_scripts()


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scan often; renew whatever is older than no time at all."""
    monkeypatch.setattr("gateway.actors.scheduler.SCAN_SECONDS", 0.01)
    monkeypatch.setattr("gateway.actors.leases.RENEW_INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr("gateway.actors.leases.LEASE_SECONDS", LEASE)


async def live(
    server: RedisServer, fault: Fault | None = None, scripts: Scripts = SCRIPTS
) -> CrashHarness:
    """Live through a day in an empty Redis."""
    async with opened(make_connection_factory(server.url)) as store:
        harness = CrashHarness(store, server.url, scripts, fault)
        await harness.live()
        return harness


async def faults(server: RedisServer, way: str) -> list[Fault]:
    """List what may go wrong in this way: once at each call of the first two workers.

    Of the many calls that scan, once at the first.
    """
    harness = await live(server)
    assert {
        call.kind for worker in harness.workers for call in worker.transport.calls
    } == {
        "put",
        "commit",
        "acquire",
        "renew",
        "release",
        "list_claimable",
    }
    found = [
        Fault(worker.number, call, way)
        for worker in harness.workers[:2]
        for call in worker.transport.calls
        if call.kind != "list_claimable" or call.number == 0
    ]
    assert len(found) >= 18
    return found


def wires_of(harness: CrashHarness) -> list[Wire]:
    """List the connections of all workers, which production's class has to read."""
    return [wire for worker in harness.workers for wire in worker.transport.tap.wires]


class TestEveryCall:
    """Nothing is lost, doubled or out of order, whichever call goes wrong."""

    @pytest.mark.parametrize("way", CUTS)
    async def test_a_connection_that_breaks(
        self, redis_server: RedisServer, way: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The worker goes on, and loses no lease by it."""
        for fault in await faults(redis_server, way):
            harness = await live(redis_server, fault)
            assert harness.workers[fault.worker].struck, fault
            assert {
                type(wire.protocol) for wire in wires_of(harness) if wire.protocol
            } == {CommandPipeline}
        assert "lease_lost" not in caplog.messages
        assert "redis_recovered" in caplog.messages

    @pytest.mark.parametrize("way", ENDS)
    async def test_a_worker_that_ends(
        self, redis_server: RedisServer, way: str
    ) -> None:
        """Another one takes its mailboxes when the leases have run out."""
        for fault in await faults(redis_server, way):
            harness = await live(redis_server, fault)
            assert harness.workers[fault.worker].struck, fault
            assert harness.workers[fault.worker].died.is_set()
            assert {
                type(wire.protocol) for wire in wires_of(harness) if wire.protocol
            } == {CommandPipeline}

    @pytest.mark.parametrize(
        ("script", "line", "half"),
        [
            ("commit", b"redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5])", b""),
            ("acquire", b"redis.call('GET', KEYS[2])", b"false"),
        ],
    )
    async def test_it_is_seen_when_a_script_does_half(
        self, redis_server: RedisServer, script: str, line: bytes, half: bytes
    ) -> None:
        """The control: without any crash, these tests can fail."""
        source = getattr(SCRIPTS, script).source
        assert line in source
        faulty = _script(source.replace(line, half))
        with pytest.raises(AssertionError):
            await live(redis_server, None, structs.replace(SCRIPTS, **{script: faulty}))


def _script(source: bytes) -> Script:
    return Script(source, sha1(source, usedforsecurity=False).hexdigest().encode())


class StoreHarness:
    """Mailboxes on a watched way to Redis, beside a store that looks on."""

    def __init__(self, store: RedisStore, transport: WatchedTransport) -> None:
        self.store = store
        self.transport = transport
        self.mailboxes = RedisMailboxStore(
            transport,
            KEYS,
            SCRIPTS,
            store.clock,
            SIGNATURES,
            limit=LIMIT,
            lease_seconds=LEASE,
        )

    async def acquired(self) -> MailboxLease:
        """Put two updates into mailbox 7, which has a state; return the lease."""
        before = await self.mailboxes.put(build_envelope(1))
        assert isinstance(before, MailboxLease)
        await self.mailboxes.commit(before, 1, _state(1))
        lease = await self.mailboxes.put(build_envelope(2))
        await self.mailboxes.put(build_envelope(3))
        assert isinstance(lease, MailboxLease)
        return lease

    async def cancel(self, work: Awaitable[object], kind: str, moment: str) -> None:
        """Begin a call, and cancel its caller at a moment of it.

        A neighbour asks at the same time, and has to get its own answer.
        """
        task = cancel_at(self.transport, kind, moment, work)
        neighbour = asyncio.create_task(
            self.mailboxes.put(build_envelope(1, "neighbour"))
        )
        await asyncio.gather(task, neighbour, return_exceptions=True)
        assert task.cancelled()
        lease = neighbour.result()
        assert isinstance(lease, MailboxLease)
        assert lease.state == b"neighbour"
        assert list(await self.mailboxes.renew([lease])) == []

    async def serve(self) -> list[int]:
        """Serve mailbox 7 from a scan on, in no time; give what there was to do."""
        assert list(await self.mailboxes.claimable(9)) == ["7"]
        lease = await self.mailboxes.acquire("7")
        assert isinstance(lease, MailboxLease)
        assert lease.state == _state(1)
        return await self.go_on(lease, lease.next_update.update_id)

    async def go_on(self, lease: MailboxLease, head: int) -> list[int]:
        """Serve the rest of a mailbox under its lease."""
        served = []
        following: int | None = head
        while following is not None:
            served.append(following)
            left = await self.mailboxes.commit(lease, following, _state(following))
            following = left.update_id if left else None
        return served


def _state(number: int) -> bytes:
    return encode_user_state(UserState(recent_ids=[number]))


@pytest.fixture
async def store_harness(redis_server: RedisServer) -> AsyncIterator[StoreHarness]:
    """Yield mailboxes on a watched way to an empty Redis."""
    async with opened(make_connection_factory(redis_server.url)) as store:
        state = SIGNATURES.sign_state(b"neighbour", b"neighbour")
        await store.ask(
            "SET", KEYS.get_shard(b"neighbour").state_key(b"neighbour"), state
        )
        transport = WatchedTransport(redis_server.url, SCRIPTS, store.clock)
        async with transport:
            yield StoreHarness(store, transport)


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[CrashHarness]:
    """Yield workers in front of an empty Redis, none of them at work."""
    async with opened(make_connection_factory(redis_server.url)) as store:
        yield CrashHarness(store, redis_server.url, SCRIPTS)


@pytest.fixture
async def worker(harness: CrashHarness) -> AsyncIterator[Worker]:
    """Yield a worker at work."""
    worker = harness.workers[0]
    async with worker.transport:
        worker.system.start()
        yield worker
        await worker.system.drain(1)


@pytest.mark.parametrize("moment", MOMENTS)
class TestCancelledCallers:
    """Whoever waits for an answer may go away at any moment, and harms nobody."""

    async def test_a_put_leaves_no_lease_behind(
        self, store_harness: StoreHarness, moment: str
    ) -> None:
        """What it stored waits for the next scan, and saw no owner loss."""
        lease = await store_harness.acquired()
        assert await store_harness.go_on(lease, 2) == [2, 3]
        state = SIGNATURES.sign_state(b"7", _state(1))
        await store_harness.store.ask(
            "SET", KEYS.get_shard(b"7").state_key(b"7"), state
        )
        await store_harness.cancel(
            store_harness.mailboxes.put(build_envelope(4)), "put", moment
        )
        if await store_harness.store.in_memory() == 1:  # the neighbour's
            assert moment == "submitted"
        else:
            assert await store_harness.serve() == [4]

    async def test_a_lease_gives_the_mailbox_back(
        self, store_harness: StoreHarness, moment: str
    ) -> None:
        """At once, and no owner loss is counted."""
        await store_harness.mailboxes.release(await store_harness.acquired())
        await store_harness.cancel(
            store_harness.mailboxes.acquire("7"), "acquire", moment
        )
        assert await store_harness.serve() == [2, 3]

    async def test_a_commit_takes_effect_whole_or_not_at_all(
        self, store_harness: StoreHarness, moment: str
    ) -> None:
        """The lease stays, and can be given back."""
        lease = await store_harness.acquired()
        await store_harness.cancel(
            store_harness.mailboxes.commit(lease, 2, _state(1)), "commit", moment
        )
        assert list(await store_harness.mailboxes.renew([lease])) == []
        await store_harness.mailboxes.release(lease)
        took_effect = await store_harness.serve() == [3]
        assert took_effect == (moment != "submitted")

    async def test_a_renewal_does_no_harm(
        self, store_harness: StoreHarness, moment: str
    ) -> None:
        lease = await store_harness.acquired()
        await store_harness.cancel(
            store_harness.mailboxes.renew([lease]), "renew", moment
        )
        assert await store_harness.go_on(lease, 2) == [2, 3]

    async def test_a_release_takes_effect_or_the_lease_runs_out(
        self, store_harness: StoreHarness, moment: str
    ) -> None:
        """One way or the other the mailbox is free again."""
        lease = await store_harness.acquired()
        await store_harness.cancel(
            store_harness.mailboxes.release(lease), "release", moment
        )
        if moment == "submitted":
            assert await store_harness.go_on(lease, 2) == [2, 3]
        else:
            with pytest.raises(LeaseLost):
                await store_harness.mailboxes.commit(lease, 2, _state(2))
            assert await store_harness.serve() == [2, 3]

    async def test_a_request_orphans_no_lease(
        self, worker: Worker, moment: str
    ) -> None:
        """Its update is served at once: a lease outlasts the limit of any waiting."""
        accept = worker.system.enqueue(message(11))
        request = cancel_at(worker.transport, "put", moment, accept)
        await asyncio.gather(request, return_exceptions=True)
        assert request.cancelled()
        await worker.system.enqueue(message(11))  # as Telegram does
        await wait_until(lambda: worker.turns)
        await wait_until(lambda: not worker.system.active_actors)
        assert worker.started == [11]


class TestRenewals:
    """A commit that frees its mailbox, and a renewal of it, are under way at once."""

    async def test_an_actor_whose_commit_took_effect_is_not_cut_short(
        self, worker: Worker, harness: CrashHarness, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Redis does both, and their answers are lost.

        The renewal is repeated first, and finds the mailbox free. The answer to the
        commit comes after that.
        """
        worker.held[11] = asyncio.Event()
        batches = 0

        async def cut_then_delay(moment: str) -> None:
            nonlocal batches
            batches += moment == "sending"
            if moment == "received" and batches == 1:
                raise ConnectionError
            for _ in range(10):
                await asyncio.sleep(0)

        worker.transport.watch = Call("renew", 0)
        worker.transport.on_submit = worker.held[11].set
        worker.transport.at = cut_then_delay
        await worker.system.enqueue(message(11))
        await wait_until(lambda: worker.started)
        harness.store.clock.move(1)
        await wait_until(lambda: not worker.system.active_actors)
        assert worker.transport.calls.index(Call("commit", 0)) > 0
        assert batches >= 2
        assert [record.outcome for record in worker.turns] == ["done"]
        assert "lease_lost" not in caplog.messages
