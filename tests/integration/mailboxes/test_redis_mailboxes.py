"""What holds for mailboxes in Redis alone: lost answers, faults, keys, batches."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.background import BackgroundTasks
from gateway.domain.errors import LeaseLost, StoreError, StoreUnavailable
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import PutResult
from gateway.domain.user_state import STATE_TTL, UserState, encode_user_state
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.client.connection import PURGE_THRESHOLD
from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.client.pipeline import MAX_BATCH_BYTES
from gateway.mailboxes.redis.client.server_health import (
    MAX_DELAY_SECONDS,
    MIN_DELAY_SECONDS,
)
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from gateway.mailboxes.redis.replay_buffer import REPLAY_PAUSE_SECONDS
from tests.factories import build_envelope
from tests.integration.mailboxes.proxy import Proxy, proxied
from tests.integration.mailboxes.redis_store import RedisStore, opened
from tests.integration.mailboxes.wire import Wiretap
from tests.support.fakes import FakeClock
from tests.support.redis_servers import RedisServer
from tests.support.stores import KEYS, LEASE, LETTERS, SIGNATURES
from tests.support.tasks import in_own_task
from tests.support.waiting import LIMIT, wait_until

CUTS = ("cut before", "cut after")

LEAST_SECONDS_OF_8_ATTEMPTS = sum(
    min(MIN_DELAY_SECONDS * 2**number, MAX_DELAY_SECONDS) / 2 for number in range(6)
)
"""The first pause is none, and each of the others may be cut by half."""


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    """Open an empty store in the shared server."""
    async with opened(make_connection_factory(redis_server.url)) as store:
        yield store


@pytest.fixture
def tap() -> Wiretap:
    """Count what is written to the store of `tapped`."""
    return Wiretap()


@pytest.fixture
async def tapped(redis_server: RedisServer, tap: Wiretap) -> AsyncIterator[RedisStore]:
    """Open an empty store in the shared server, over wires that count."""
    async with opened(tap.connector(redis_server.url)) as store:
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


async def acquired(
    store: RedisStore, *ids: int, ordering_key: str = "7"
) -> MailboxLease:
    """Put updates into a free mailbox; return the lease."""
    first, *_ = [
        await store.mailboxes.put(build_envelope(number, ordering_key))
        for number in ids
    ]
    assert isinstance(first, MailboxLease)
    return first


async def serve(store: RedisStore, ordering_keys: int, updates: int = 3) -> list[int]:
    """Put and commit updates of many mailboxes at once; return the committed ids."""
    done: list[int] = []

    async def one(ordering_key: int) -> None:
        for n in range(updates):
            placed = await store.mailboxes.put(
                build_envelope(ordering_key * 100 + n, str(ordering_key))
            )
            assert isinstance(placed, MailboxLease)
            await store.mailboxes.commit(placed, ordering_key * 100 + n, b"%d" % n)
            done.append(ordering_key * 100 + n)

    async with asyncio.TaskGroup() as group:
        for ordering_key in range(ordering_keys):
            group.create_task(one(ordering_key))
    return done


class TestLostAnswers:
    """Every command is sent again under its token, and has its effect once."""

    @pytest.mark.parametrize("fault", CUTS)
    async def test_a_put_brings_its_lease(
        self, cut: RedisStore, proxy: Proxy, fault: str
    ) -> None:
        """Also if the answer that brought it first was lost."""
        proxy.faults.append(fault)
        lease = await acquired(cut, 1)
        assert proxy.cuts == 1
        assert await cut.in_memory() == 1
        assert list(await cut.mailboxes.renew([lease])) == []

    @pytest.mark.parametrize("fault", CUTS)
    async def test_a_put_without_a_lease_is_stored_once(
        self, cut: RedisStore, proxy: Proxy, fault: str
    ) -> None:
        """The second answer may be that it was there before."""
        proxy.faults.append(fault)
        placed = await cut.mailboxes.put(build_envelope(1), acquire=False)
        assert placed in (PutResult.STORED, PutResult.DUPLICATE)
        assert await cut.in_memory() == 1

    @pytest.mark.parametrize("fault", CUTS)
    async def test_a_commit_gives_the_next_update(
        self, cut: RedisStore, proxy: Proxy, fault: str
    ) -> None:
        """The work goes on under the same lease."""
        lease = await acquired(cut, 1, 2)
        proxy.faults.append(fault)
        following = await cut.mailboxes.commit(
            lease, 1, b"state", dead_letter_reason="crashed"
        )
        assert following is not None
        assert following.update_id == 2
        assert len(await cut.dead_letters()) == 1

    @pytest.mark.parametrize("fault", CUTS)
    async def test_a_commit_of_the_last_update_is_no_lost_lease(
        self, cut: RedisStore, proxy: Proxy, fault: str
    ) -> None:
        """It took effect: the update was done, and is counted as done."""
        lease = await acquired(cut, 1)
        proxy.faults.append(fault)
        assert await cut.mailboxes.commit(lease, 1, b"state") is None
        assert await cut.count_mailboxes() == 0

    @pytest.mark.parametrize("fault", CUTS)
    async def test_a_lost_lease_stays_lost(
        self, cut: RedisStore, proxy: Proxy, fault: str
    ) -> None:
        """Another worker did the update meanwhile; a repetition does not hide it."""
        old = await acquired(cut, 1)
        await cut.pass_time(LEASE + 1)
        new = await cut.mailboxes.acquire("7")
        assert isinstance(new, MailboxLease)
        await cut.mailboxes.commit(new, 1, b"new")
        proxy.faults.append(fault)
        with pytest.raises(LeaseLost):
            await cut.mailboxes.commit(old, 1, b"old")
        assert proxy.cuts == 1

    @pytest.mark.parametrize("fault", CUTS)
    async def test_giving_up_under_a_lost_lease_is_not_taken_for_done(
        self, cut: RedisStore, proxy: Proxy, fault: str
    ) -> None:
        """What is stored is the state from before: the new owner is still at work."""
        state = UserState()
        first = await acquired(cut, 1)
        await cut.mailboxes.commit(first, 1, encode_user_state(state))
        old = await acquired(cut, 2)
        await cut.pass_time(LEASE + 1)
        assert isinstance(await cut.mailboxes.acquire("7"), MailboxLease)
        state.mark_dead_lettered()
        proxy.faults.append(fault)
        with pytest.raises(LeaseLost):
            await cut.mailboxes.commit(
                old, 2, encode_user_state(state), dead_letter_reason="poison"
            )
        assert proxy.cuts == 1
        assert not await cut.dead_letters()

    @pytest.mark.parametrize("fault", CUTS)
    async def test_a_lease_of_a_waiting_mailbox_comes_through(
        self, cut: RedisStore, proxy: Proxy, fault: str
    ) -> None:
        """And the first attempt is not counted as an owner loss."""
        await cut.mailboxes.put(build_envelope(1), acquire=False)
        proxy.faults.append(fault)
        lease = await cut.mailboxes.acquire("7")
        assert isinstance(lease, MailboxLease)
        assert lease.owner_losses == 0

    @pytest.mark.parametrize("fault", CUTS)
    async def test_renewals_and_releases_come_through(
        self, cut: RedisStore, proxy: Proxy, fault: str
    ) -> None:
        lease = await acquired(cut, 1)
        proxy.faults.append(fault)
        assert list(await cut.mailboxes.renew([lease])) == []
        proxy.faults.append(fault)
        await cut.mailboxes.release(lease)
        assert list(await cut.mailboxes.claimable(1)) == ["7"]

    async def test_a_thousand_updates_come_through_many_cuts(
        self, cut: RedisStore, proxy: Proxy
    ) -> None:
        """Every update is done exactly once, and no mailbox is left behind."""
        choice = random.Random(7)
        proxy.fault = lambda: choice.choice(CUTS) if choice.random() < 0.3 else ""
        done = await serve(cut, 40, updates=25)
        proxy.fault = lambda: ""
        assert proxy.cuts > 10
        assert len(done) == len(set(done)) == 1000
        assert await cut.count_mailboxes() == 0

    async def test_what_is_sent_again_keeps_its_order(
        self, cut: RedisStore, proxy: Proxy
    ) -> None:
        """A release must not overtake the lease that it gives back."""
        proxy.faults.append("cut before")
        words: list[tuple[str, ...]] = [("ECHO", "EVALSHA")]
        words += [("RPUSH", "order", str(number)) for number in range(5)]
        words.append(("LRANGE", "order", "0", "-1"))
        commands = [RedisCommand(0, each) for each in words]
        for command in commands:
            cut.transport.submit(command)
        assert await commands[-1].reply == [b"%d" % number for number in range(5)]
        assert proxy.cuts == 1

    async def test_a_cut_while_nobody_asks_costs_one_connection(
        self, cut: RedisStore, proxy: Proxy
    ) -> None:
        """The server may close an idle connection at any time."""
        await serve(cut, 1)
        before = proxy.connections
        await cut.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
        await serve(cut, 1)
        assert proxy.connections == before + 1


class TestCancelledCallers:
    """Whoever waits for an answer may go away at any moment."""

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancelled_put_leaves_no_lease_behind(
        self, store: RedisStore, turns: int
    ) -> None:
        """The mailbox is released, without an owner loss, or was never stored."""
        task = asyncio.create_task(store.mailboxes.put(build_envelope(1)))
        for _ in range(turns):
            await asyncio.sleep(0)
        if not task.cancel():
            return
        await asyncio.gather(task, return_exceptions=True)
        queued = await store.in_memory()
        assert len(await store.mailboxes.claimable(1)) == queued
        if queued:
            lease = await store.mailboxes.acquire("7")
            assert isinstance(lease, MailboxLease)

    async def test_a_cancelled_lease_gives_the_mailbox_back(
        self, store: RedisStore
    ) -> None:
        """Also if the answer is there already, and only was not read."""
        await store.mailboxes.put(build_envelope(1), acquire=False)
        for turns in range(8):
            task = asyncio.create_task(store.mailboxes.acquire("7"))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not task.cancel():
                return
            await asyncio.gather(task, return_exceptions=True)
            assert list(await store.mailboxes.claimable(1)) == ["7"]

    async def test_the_answer_of_a_cancelled_caller_is_nobody_elses(
        self, store: RedisStore
    ) -> None:
        """Every caller gets the answer to its own question."""
        choice = random.Random(7)

        async def echo(number: int) -> None:
            assert await store.ask("ECHO", str(number)) == b"%d" % number

        tasks = []
        for number in range(2000):
            tasks.append(asyncio.create_task(echo(number)))
            if choice.random() < 0.2:
                await asyncio.sleep(0)
            if choice.random() < 0.5:
                choice.choice(tasks).cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        wrong = [a for a in answers if a and not isinstance(a, asyncio.CancelledError)]
        assert wrong == []


class TestFailingServer:
    """Redis fails in many ways, and each of them passes."""

    async def test_scripts_that_were_flushed_are_loaded_again(
        self, store: RedisStore, redis_server: RedisServer
    ) -> None:
        working = asyncio.create_task(serve(store, 200, updates=5))
        flushes = 0
        while not working.done():
            redis_server.ask("SCRIPT FLUSH")
            flushes += 1
            await asyncio.sleep(0.003)
        assert flushes > 3
        assert len(await working) == 1000
        assert await store.count_mailboxes() == 0

    async def test_a_restart_loses_nothing_and_nobody_notices(
        self, own_server: RedisServer
    ) -> None:
        """Whoever asks meanwhile waits for the answer."""
        async with opened(make_connection_factory(own_server.url)) as store:
            lease = await acquired(store, 1, 2)
            own_server.kill()
            commit = asyncio.create_task(store.mailboxes.commit(lease, 1, b"state"))
            put = asyncio.create_task(store.mailboxes.put(build_envelope(3)))
            await wait_until(lambda: store.transport.is_failing)
            own_server.start()
            assert await commit is None  # what follows is taken a moment later
            assert await put is PutResult.STORED
            assert await store.in_memory() == 2
            assert not store.transport.is_failing
            await store.pass_time(REPLAY_PAUSE_SECONDS + 0.1)
            again = await store.mailboxes.acquire("7")
            assert isinstance(again, MailboxLease)
            assert (again.next_update.update_id, again.state) == (2, b"state")

    async def test_the_patience_of_a_put_is_bounded(
        self, own_server: RedisServer
    ) -> None:
        """Telegram waits for its answer."""
        async with opened(make_connection_factory(own_server.url)) as store:
            store.mailboxes._executor._timeout = 0.2  # noqa: SLF001 - as the app sets it
            own_server.kill()
            with pytest.raises(StoreUnavailable):
                await store.mailboxes.put(build_envelope(1))
            own_server.start()
            await wait_until(lambda: not store.transport.is_failing)
            store.mailboxes._executor._timeout = None  # noqa: SLF001 - a machine may be slow
            assert await store.mailboxes.put(build_envelope(2)) is PutResult.STORED

    async def test_a_server_that_is_silent_is_left_in_time(
        self, own_server: RedisServer
    ) -> None:
        """A stopped server accepts connections all the same, and never answers."""
        async with opened(make_connection_factory(own_server.url)) as store:
            os.kill(own_server.pid, signal.SIGSTOP)
            put = asyncio.create_task(store.mailboxes.put(build_envelope(1)))
            await wait_until(lambda: store.transport.is_failing)
            os.kill(own_server.pid, signal.SIGCONT)
            assert isinstance(await put, MailboxLease)

    async def test_attempts_to_connect_are_few(self) -> None:
        """No storm of connections, however many callers wait."""
        attempts = 0

        async def hang_up(_: object, writer: asyncio.StreamWriter) -> None:
            nonlocal attempts
            attempts += 1
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        clock = FakeClock()
        url = f"redis://127.0.0.1:{port}"
        async with (
            in_own_task(BackgroundTasks()) as background,
            ClusterClient(
                url, load_scripts().sources, clock, background=background
            ) as transport,
        ):
            for _ in range(100):
                transport.submit(RedisCommand(0, ("PING",)))
            began = time.monotonic()
            await wait_until(lambda: attempts >= 8)
        assert time.monotonic() - began >= LEAST_SECONDS_OF_8_ATTEMPTS
        server.close()
        await server.wait_closed()

    async def test_a_replica_takes_nothing_until_it_is_promoted(
        self, own_server: RedisServer
    ) -> None:
        """READONLY passes when a failover is over."""
        async with opened(make_connection_factory(own_server.url)) as store:
            own_server.ask("REPLICAOF 127.0.0.1 1")
            put = asyncio.create_task(store.mailboxes.put(build_envelope(1)))
            await wait_until(lambda: store.transport.is_failing)
            own_server.ask("REPLICAOF NO ONE")
            assert isinstance(await put, MailboxLease)

    async def test_a_server_that_refuses_is_not_stormed(
        self, own_server: RedisServer, tap: Wiretap, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Reads pass meanwhile; they do not make it look well."""
        async with opened(tap.connector(own_server.url)) as store:
            own_server.ask("CONFIG SET min-replicas-to-write 1")
            put = asyncio.create_task(store.mailboxes.put(build_envelope(1)))
            await wait_until(lambda: store.transport.is_failing)
            before, began = len(tap.wires), time.monotonic()
            while len(tap.wires) < before + 8:
                await store.ask("GET", "nothing")
            assert time.monotonic() - began >= LEAST_SECONDS_OF_8_ATTEMPTS
            assert caplog.messages.count("redis_failing") == 1
            assert "redis_recovered" not in caplog.messages
            own_server.ask("CONFIG SET min-replicas-to-write 0")
            assert isinstance(await put, MailboxLease)

    async def test_what_nobody_waits_for_is_not_kept(
        self, own_server: RedisServer
    ) -> None:
        async with opened(make_connection_factory(own_server.url)) as store:
            own_server.kill()
            waited_for = RedisCommand(0, ("PING",))
            store.transport.submit(waited_for)
            await wait_until(lambda: store.transport.is_failing)
            for _ in range(5 * PURGE_THRESHOLD):
                command = RedisCommand(0, ("PING",))
                store.transport.submit(command)
                command.reply.cancel()
            assert len(store.transport._owners[0]._queue) <= 2 * PURGE_THRESHOLD  # noqa: SLF001 - its size
            own_server.start()
            assert await waited_for.reply == b"PONG"

    async def test_a_refused_command_is_an_answer(self, store: RedisStore) -> None:
        """It is not repeated, and the next one is answered as ever."""
        await store.ask("SET", KEYS.get_shard(b"7").mailbox_key(b"7"), "no sorted set")
        with pytest.raises(StoreError) as raised:
            await store.mailboxes.put(build_envelope(1))
        assert not raised.value.retry
        await acquired(store, 1, ordering_key="8")

    async def test_a_full_redis_refuses_puts_and_lets_all_others_pass(
        self, own_server: RedisServer
    ) -> None:
        """Else nothing would ever get less."""
        async with opened(make_connection_factory(own_server.url)) as store:
            leases = [
                await acquired(store, 1, 2, ordering_key=str(n)) for n in range(50)
            ]
            await store.mailboxes.put(build_envelope(1, "waits"), acquire=False)
            await store.ask("CONFIG", "SET", "maxmemory", "100kb")
            with pytest.raises(StoreUnavailable):
                await store.mailboxes.put(build_envelope(3, "0"))
            assert list(await store.mailboxes.renew(leases)) == []
            assert isinstance(await store.mailboxes.acquire("waits"), MailboxLease)
            await store.mailboxes.release(leases.pop())
            for lease in leases:
                assert await store.mailboxes.commit(lease, 1, b"s" * 300)
                assert (
                    await store.mailboxes.commit(lease, 2, b"s", dead_letter_reason="x")
                    is None
                )
            assert await store.count_mailboxes() == 2
            await store.ask("CONFIG", "SET", "maxmemory", "0")
            await acquired(store, 3, ordering_key="0")

    async def test_a_put_whose_answer_was_lost_passes_a_full_redis(
        self, own_server: RedisServer
    ) -> None:
        """It was stored before the last room was taken."""

        def fill() -> str:
            own_server.ask("CONFIG SET maxmemory 100kb")
            return ""

        async with (
            proxied(own_server.port) as proxy,
            opened(make_connection_factory(proxy.url)) as store,
        ):
            await store.mailboxes.claimable(1)
            proxy.faults.append("cut after")
            proxy.fault = fill
            lease = await acquired(store, 1)
            assert proxy.cuts == 1
            with pytest.raises(StoreUnavailable):
                await store.mailboxes.put(build_envelope(2))
            assert list(await store.mailboxes.renew([lease])) == []


class TestKeys:
    """What is in Redis, and for how long."""

    async def test_only_states_and_dead_letters_expire(self, store: RedisStore) -> None:
        """Accepted updates never expire; all but dead letters go with them."""
        lease = await acquired(store, 1, 2)
        await store.mailboxes.commit(lease, 1, b"state", dead_letter_reason="crashed")
        lifetimes = {
            key.split(b":")[2]: await store.ask("TTL", key)
            for key in await store.ask("KEYS", "*")
        }
        assert lifetimes.keys() == {b"m", b"s", b"pending", b"leases", b"dead_letters"}
        assert STATE_TTL - LIMIT <= lifetimes.pop(b"s") <= STATE_TTL
        assert (
            LETTERS.retention_seconds - LIMIT
            <= lifetimes.pop(b"dead_letters")
            <= LETTERS.retention_seconds
        )
        assert set(lifetimes.values()) == {-1}

    async def test_an_idle_user_is_one_key_of_at_most_500_bytes(
        self, store: RedisStore
    ) -> None:
        state = UserState(
            internal_user_id="u-1234567890", bucket_updated_at=1.79e9, tokens=0.5
        )
        for number in range(100):
            state.mark_handled(900_000_000 + number, 1.79e9 + 60 * number)
        ordering_keys = [str(5_000_000_000 + number) for number in range(1000)]
        for ordering_key in ordering_keys:
            lease = await acquired(store, 1, ordering_key=ordering_key)
            await store.mailboxes.commit(lease, 1, encode_user_state(state))
        keys = await store.ask("KEYS", "*")
        assert len(keys) == len(ordering_keys)
        usage = [await store.ask("MEMORY", "USAGE", key) for key in keys]
        assert max(usage) <= 500

    async def test_the_state_goes_as_well_after_its_lifetime(
        self, store: RedisStore
    ) -> None:
        await serve(store, 3)
        await store.pass_time(STATE_TTL + 1)
        assert await store.ask("DBSIZE") == 0


class TestGroupCommit:
    """What is asked at once travels at once."""

    async def test_an_idle_user_costs_two_round_trips(
        self, tapped: RedisStore, tap: Wiretap
    ) -> None:
        await tapped.mailboxes.claimable(1)
        before = len(tap.writes)
        lease = await acquired(tapped, 1)
        await tapped.mailboxes.commit(lease, 1, b"state")
        assert len(tap.writes) == before + 2

    async def test_puts_of_one_turn_are_one_write(
        self, tapped: RedisStore, tap: Wiretap
    ) -> None:
        before = len(tap.writes)
        puts = (
            tapped.mailboxes.put(build_envelope(1, str(ordering_key)))
            for ordering_key in range(300)
        )
        await asyncio.gather(*puts)
        assert len(tap.writes) == before + 1

    async def test_a_scan_is_one_write(self, tapped: RedisStore, tap: Wiretap) -> None:
        before = len(tap.writes)
        await tapped.mailboxes.claimable(10)
        assert len(tap.writes) == before + 1

    async def test_a_flood_of_large_updates_is_sent_in_parts(
        self, tapped: RedisStore, tap: Wiretap
    ) -> None:
        """Each within the deadline; in one it would never get through."""
        large = b"x" * 500_000
        puts = (
            tapped.mailboxes.put(build_envelope(1, str(n), body=large))
            for n in range(60)
        )
        assert len(await asyncio.gather(*puts)) == 60
        assert len(tap.wires) == 1
        assert max(tap.writes[1:]) < MAX_BATCH_BYTES + 2 * len(large)
        assert len(tap.writes) > 10


class TestPlenty:
    """Very many mailboxes wait at once."""

    async def test_all_of_them_are_found(self, store: RedisStore) -> None:
        """In portions, each mailbox once, and acquired by the portion."""
        total = 1500
        for start in range(0, total, 500):
            ordering_keys = range(start, start + 500)
            await asyncio.gather(
                *(
                    store.mailboxes.put(build_envelope(1, str(n)), acquire=False)
                    for n in ordering_keys
                )
            )
        found: set[str] = set()
        while listed := await store.mailboxes.claimable(100):
            leases = await asyncio.gather(*map(store.mailboxes.acquire, listed))
            assert all(isinstance(lease, MailboxLease) for lease in leases)
            found |= set(listed)
        assert len(found) == total

    async def test_leases_are_renewed_in_one_write(
        self, tapped: RedisStore, tap: Wiretap
    ) -> None:
        """All leases of a worker, whatever their shards."""
        puts = (
            tapped.mailboxes.put(build_envelope(1, str(ordering_key)))
            for ordering_key in range(300)
        )
        leases = [c for c in await asyncio.gather(*puts) if isinstance(c, MailboxLease)]
        await tapped.pass_time(LEASE / 2)
        before = len(tap.writes)
        assert list(await tapped.mailboxes.renew(leases)) == []
        assert len(tap.writes) == before + 1
        assert {lease.expires_at for lease in leases} == {tapped.clock.uptime() + LEASE}


class TestRecovery:
    """Redis came back without its last moments."""

    async def test_what_a_restart_lost_is_put_again(
        self, own_server: RedisServer
    ) -> None:
        """In order, and nothing is acquired until every worker has put its own."""
        async with opened(make_connection_factory(own_server.url)) as store:
            lease = await acquired(store, 1, ordering_key="done")
            await store.mailboxes.commit(lease, 1, b"state")
            lost = await acquired(store, 2, 3)
            own_server.ask("FLUSHALL")
            own_server.kill()
            put = asyncio.create_task(store.mailboxes.put(build_envelope(4)))
            await wait_until(lambda: store.transport.is_failing)
            own_server.start()
            assert await put is PutResult.STORED
            assert await store.mailboxes.put(build_envelope(5)) is PutResult.STORED
            assert list(await store.mailboxes.claimable(10)) == []
            assert await store.mailboxes.acquire("7") is None
            with pytest.raises(LeaseLost):
                await store.mailboxes.commit(lost, 2, b"stale")
            await store.pass_time(REPLAY_PAUSE_SECONDS + 0.1)
            assert sorted(await store.mailboxes.claimable(10)) == ["7"]
            again = await store.mailboxes.acquire("7")
            assert isinstance(again, MailboxLease)
            assert again.next_update.update_id == 2
            assert await store.in_memory() == 4

    async def test_only_the_last_seconds_are_put_again(
        self, own_server: RedisServer
    ) -> None:
        """All before is in the file."""
        async with opened(make_connection_factory(own_server.url)) as store:
            await acquired(store, 1, ordering_key="old")
            await store.pass_time(6)
            await acquired(store, 2, ordering_key="new")
            own_server.ask("FLUSHALL")
            own_server.kill()
            own_server.start()
            await store.ask("PING")
            assert await store.in_memory() == 1

    async def test_a_long_outage_makes_nothing_old(
        self, own_server: RedisServer
    ) -> None:
        """What came just before it is put again after any time."""
        async with opened(make_connection_factory(own_server.url)) as store:
            await acquired(store, 1)
            own_server.ask("FLUSHALL")
            own_server.kill()
            put = asyncio.create_task(store.mailboxes.put(build_envelope(2)))
            await wait_until(lambda: store.transport.is_failing)
            store.clock.move(60)
            own_server.start()
            assert await put is PutResult.STORED
            assert await store.in_memory() == 2

    async def test_an_owner_goes_on_when_all_have_put_again(
        self, own_server: RedisServer
    ) -> None:
        """Its lease was not lost, but of what comes next some may be missing yet."""
        async with opened(make_connection_factory(own_server.url)) as store:
            lease = await acquired(store, 1, 3)
            own_server.kill()
            commit = asyncio.create_task(store.mailboxes.commit(lease, 1, b"state"))
            await wait_until(lambda: store.transport.is_failing)
            own_server.start()
            assert await commit is None
            late = RedisMailboxStore(
                store.transport, KEYS, load_scripts(), store.clock, SIGNATURES, limit=64
            )
            await late.put(build_envelope(2), acquire=False)
            await store.pass_time(REPLAY_PAUSE_SECONDS + 0.1)
            again = await store.mailboxes.acquire("7")
            assert isinstance(again, MailboxLease)
            assert (again.next_update.update_id, again.state) == (2, b"state")

    async def test_what_is_lost_twice_is_put_again_twice(
        self, own_server: RedisServer
    ) -> None:
        async with opened(make_connection_factory(own_server.url)) as store:
            await acquired(store, 1)
            for _ in range(2):
                own_server.ask("FLUSHALL")
                own_server.kill()
                queued = asyncio.create_task(store.in_memory())
                await wait_until(lambda: store.transport.is_failing)
                store.clock.move(60)
                own_server.start()
                assert await queued == 1

    async def test_an_emptied_redis_is_noticed_by_every_worker(
        self,
        store: RedisStore,
        redis_server: RedisServer,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Loudly: what they do not remember is lost."""
        other = RedisMailboxStore(
            store.transport, KEYS, load_scripts(), store.clock, SIGNATURES, limit=64
        )
        workers = (store.mailboxes, other)
        for number, worker in enumerate(workers):
            await worker.claimable(1)
            await worker.put(build_envelope(1, str(number)))
        assert "redis_emptied" not in caplog.messages
        redis_server.ask("FLUSHALL")
        for worker in workers:
            assert list(await worker.claimable(10)) == []
        messages = caplog.messages
        assert messages.count("redis_emptied") == 2
        await store.pass_time(REPLAY_PAUSE_SECONDS + 0.1)
        for worker in workers:
            assert sorted(await worker.claimable(10)) == ["0", "1"]

    async def test_a_lost_connection_is_no_restart(
        self, cut: RedisStore, proxy: Proxy, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The same server knows all that it knew."""
        proxy.faults.append("cut before")
        await acquired(cut, 1)
        assert proxy.cuts == 1
        assert "replaying_updates" not in caplog.messages
