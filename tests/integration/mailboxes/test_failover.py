"""What holds when Redis fails for longer than a put waits, and when it is back."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path

import pytest

from gateway.background import BackgroundTasks
from gateway.domain.errors import StoreError, StoreFull, StoreUnavailable
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import PutResult
from gateway.domain.update import DeadLetter
from gateway.mailboxes.failover import FULL_RETRY_SECONDS
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.keys import get_shard_number
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.replay_buffer import REPLAY_PAUSE_SECONDS
from tests.factories import build_envelope
from tests.integration.mailboxes.failover_store import Worker, worker
from tests.integration.mailboxes.redis_store import RedisStore
from tests.support.fakes import FakeClock
from tests.support.redis_servers import RedisServer
from tests.support.stores import LEASE, LIMIT
from tests.support.tasks import in_own_task
from tests.support.waiting import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a server that the test may do anything to."""
    server = RedisServer(tmp_path, "--appendonly yes --appendfsync always")
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def here(server: RedisServer) -> AsyncIterator[Worker]:
    """Run a worker with that server."""
    async with worker(server.url) as one:
        yield one


@asynccontextmanager
async def looked_at(server: RedisServer) -> AsyncIterator[RedisStore]:
    """Look into a server from beside."""
    clock = FakeClock()
    async with (
        in_own_task(BackgroundTasks()) as background,
        ClusterClient(
            server.url, load_scripts().sources, clock, background=background
        ) as transport,
    ):
        yield RedisStore(transport, [transport], clock)


async def wait_for_failback(worker: Worker) -> None:
    """Wait until a worker has brought back all it has in memory."""
    mailboxes = worker.mailboxes
    await wait_until(lambda: mailboxes.mode == "redis" and not mailboxes.is_degraded)


async def wait_until_acquirable(worker: Worker) -> None:
    """Wait until a worker has brought all back and may acquire again."""
    await wait_for_failback(worker)
    worker.clock.move(REPLAY_PAUSE_SECONDS + 0.1)


async def acquired(worker: Worker, *ids: int, ordering_key: str = "7") -> MailboxLease:
    """Put updates into a free mailbox; return the lease."""
    first, *_ = [
        await worker.mailboxes.put(build_envelope(number, ordering_key))
        for number in ids
    ]
    assert isinstance(first, MailboxLease)
    return first


async def test_a_put_outlives_redis(
    server: RedisServer, here: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits, then memory takes it and what comes after it; that is said once."""
    server.kill()
    for number in range(1, 4):
        assert await here.mailboxes.put(build_envelope(number)) is PutResult.STORED
    assert here.mailboxes.mode == "memory"
    assert here.mailboxes.is_degraded
    assert here.mailboxes.in_memory == 3
    said = [record for record in caplog.records if record.message == "failover_started"]
    assert [record.levelno for record in said] == [logging.ERROR]


async def test_only_the_first_puts_wait(server: RedisServer) -> None:
    """Those that wait as well are answered with the first; the others know already."""
    async with worker(server.url, patience=3600) as here:
        server.kill()
        second = asyncio.create_task(here.mailboxes.put(build_envelope(2, "8")))
        await wait_until(lambda: here.transport.is_failing)
        here.mailboxes._fail_over("7")  # noqa: SLF001 - as the first does
        assert await second is PutResult.STORED
        assert await here.mailboxes.put(build_envelope(3, "9")) is PutResult.STORED


async def test_memory_serves_when_no_lease_can_last(
    server: RedisServer, here: Worker
) -> None:
    """Whoever has the mailbox in Redis may act on it until then."""
    await acquired(here, 1)
    server.kill()
    await here.mailboxes.put(build_envelope(3))
    await here.mailboxes.put(build_envelope(2))
    assert await here.mailboxes.claimable(9) == []
    assert await here.mailboxes.acquire("7") is None
    await here.go_away()
    assert await here.mailboxes.claimable(9) == ["7"]
    lease = await here.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    assert lease.next_update.update_id == 2
    assert isinstance(await here.mailboxes.put(build_envelope(1, "8")), MailboxLease)


async def test_memory_is_bounded_too(server: RedisServer, here: Worker) -> None:
    """I7: not even without Redis does a user fill the memory."""
    server.kill()
    placed = [
        await here.mailboxes.put(build_envelope(number)) for number in range(LIMIT + 1)
    ]
    assert placed[-1] is PutResult.FULL


async def test_what_waits_in_memory_is_brought_to_redis(
    server: RedisServer, here: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes its place in the order, and nothing starts before it is there."""
    first = await acquired(here, 1, 5)
    server.kill()
    for number in (6, 4):
        await here.mailboxes.put(build_envelope(number))
    server.start()
    await wait_for_failback(here)
    assert here.mailboxes.in_memory == 0
    assert not here.mailboxes.is_degraded
    assert "failover_ended" in caplog.messages
    assert await here.mailboxes.put(build_envelope(9, "9")) is PutResult.STORED
    here.clock.move(REPLAY_PAUSE_SECONDS + 0.1)
    order = []
    following = await here.mailboxes.commit(first, 1, b"state")
    while following is not None:
        order.append(following.update_id)
        following = await here.mailboxes.commit(first, order[-1], b"state")
    assert order == [4, 5, 6]


@pytest.mark.parametrize("restart", [True, False])
async def test_all_workers_return_to_redis_after_an_outage(
    server: RedisServer, here: Worker, restart: bool
) -> None:
    """I10, although another worker may have to bring back what comes first."""
    async with worker(server.url) as there:
        lease = await acquired(there, 1, 2)
        if restart:
            server.kill()
        else:
            os.kill(server.pid, signal.SIGSTOP)
        await here.mailboxes.put(build_envelope(1, "8"))
        there.clock.move(2)
        renewal = asyncio.create_task(there.mailboxes.renew([lease]))
        await wait_until(lambda: there.transport.is_failing)
        if restart:
            server.start()
        else:
            os.kill(server.pid, signal.SIGCONT)
        await wait_for_failback(here)
        await wait_until(lambda: not there.transport.is_failing)
        assert await there.mailboxes.put(build_envelope(2, "8")) is PutResult.STORED
        assert await there.mailboxes.claimable(9) == []
        # What runs keeps its mailbox, but waits as well; what follows is taken later.
        assert list(await renewal) == []
        assert lease.expires_at < there.clock.uptime()
        assert list(await there.mailboxes.renew([lease])) == []
        assert lease.expires_at < there.clock.uptime()
        assert await there.mailboxes.commit(lease, 1, b"state") is None
        there.clock.move(REPLAY_PAUSE_SECONDS + 0.1)
        assert sorted(await there.mailboxes.claimable(9)) == ["7", "8"]
        other = await there.mailboxes.acquire("8")
        assert isinstance(other, MailboxLease)
        assert other.next_update.update_id == 1


async def test_what_runs_from_memory_is_finished_first(
    server: RedisServer, here: Worker
) -> None:
    """Then the mailbox goes back, with what came in meanwhile."""
    server.kill()
    await here.mailboxes.put(build_envelope(1))
    await here.go_away()
    lease = await here.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    await here.mailboxes.put(build_envelope(3))
    server.start()
    await wait_until(lambda: not here.mailboxes._unavailable)  # noqa: SLF001 - updates are left
    assert await here.mailboxes.put(build_envelope(2)) is PutResult.STORED
    assert here.mailboxes.in_memory == 3
    assert list(await here.mailboxes.renew([lease])) == []
    assert await here.mailboxes.commit(lease, 1, b"state") is None
    await wait_until_acquirable(here)
    following = await here.mailboxes.acquire("7")
    assert isinstance(following, MailboxLease)
    assert following.next_update.update_id == 2
    async with looked_at(server) as store:
        assert await store.in_memory() == 2


async def test_a_mailbox_is_not_served_from_both(
    server: RedisServer, here: Worker
) -> None:
    """An old lease in Redis is kept, but not acted on before memory is done."""
    old = await acquired(here, 1)
    server.kill()
    await here.mailboxes.put(build_envelope(2))
    await here.go_away()
    lease = await here.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    server.start()
    await wait_until(lambda: not here.mailboxes._unavailable)  # noqa: SLF001 - updates are left
    here.clock.move(REPLAY_PAUSE_SECONDS + 0.1)
    assert list(await here.mailboxes.renew([old, lease])) == []
    assert old.expires_at < here.clock.uptime() < lease.expires_at
    await here.mailboxes.commit(lease, 2, b"state")
    await wait_for_failback(here)
    assert list(await here.mailboxes.renew([old])) == []
    assert old.expires_at > here.clock.uptime()


async def test_a_commit_does_not_go_on_beside_memory(
    server: RedisServer, here: Worker
) -> None:
    """An actor whose commit waited for Redis does not take the next update at once."""
    old = await acquired(here, 1, 2)
    server.kill()
    commit = asyncio.create_task(here.mailboxes.commit(old, 1, b"state"))
    await here.mailboxes.put(build_envelope(3))
    await here.go_away()
    lease = await here.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    here.transport.set_health_callbacks(print, print)  # as if no pause followed
    server.start()
    following = await commit
    assert following is not None
    assert old.expires_at < here.clock.uptime()


async def test_an_update_is_not_served_from_both(
    server: RedisServer, here: Worker
) -> None:
    """A stopped server does in the end what was given up before."""
    await acquired(here, 9, ordering_key="9")
    os.kill(server.pid, signal.SIGSTOP)
    await here.mailboxes.put(build_envelope(1))
    await here.go_away()
    lease = await here.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    await here.mailboxes.commit(lease, 1, b"state")
    os.kill(server.pid, signal.SIGCONT)
    await wait_until_acquirable(here)
    async with looked_at(server) as store:
        assert await store.in_memory() == 1
        await store.pass_time(LEASE + 1)
        assert await here.mailboxes.acquire("7") is None
        assert await store.count_mailboxes() == 1


async def test_a_put_that_was_given_up_leaves_no_lease(
    server: RedisServer, here: Worker
) -> None:
    """A stopped server makes it in the end; it is given back at once."""
    await acquired(here, 9, ordering_key="9")
    os.kill(server.pid, signal.SIGSTOP)
    put = asyncio.create_task(here.mailboxes.put(build_envelope(1)))
    await wait_until(lambda: here.transport.is_failing)
    await put
    os.kill(server.pid, signal.SIGCONT)
    await wait_until_acquirable(here)
    lease = await here.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)


async def test_nothing_is_lost_if_redis_fails_again(
    server: RedisServer, here: Worker
) -> None:
    """Memory lets go of what Redis has, and of nothing else."""
    server.kill()
    for number in range(20):
        await here.mailboxes.put(build_envelope(number, str(number)))
    for _ in range(3):
        server.start()
        await wait_until(lambda: not here.transport.is_failing)
        server.kill()
        await here.mailboxes.put(build_envelope(99, "99"))
    server.start()
    await wait_for_failback(here)
    async with looked_at(server) as store:
        assert await store.in_memory() == 21


async def test_a_full_redis_goes_on(server: RedisServer, here: Worker) -> None:
    """Memory takes what Redis refuses; commits make room, and it goes back."""
    lease = await acquired(here, 1, 2)
    async with looked_at(server) as store:
        await store.ask("CONFIG", "SET", "maxmemory", "1")
        assert await here.mailboxes.put(build_envelope(3)) is PutResult.STORED
        assert here.mailboxes.mode == "memory"
        following = await here.mailboxes.commit(lease, 1, b"state")
        assert following is not None
        assert list(await here.mailboxes.renew([lease])) == []
        await store.ask("CONFIG", "SET", "maxmemory", "0")
        here.clock.move(FULL_RETRY_SECONDS)
        await wait_for_failback(here)
        assert await store.in_memory() == 2
        assert lease.expires_at > here.clock.uptime()


async def test_a_full_redis_serves_what_it_has_first(
    server: RedisServer, here: Worker
) -> None:
    """Its leases last: what came later waits in memory for their end."""
    old = await acquired(here, 1, 2)
    async with looked_at(server) as store:
        await store.ask("CONFIG", "SET", "maxmemory", "1")
        await here.mailboxes.put(build_envelope(3))
        here.clock.move(FULL_RETRY_SECONDS)
        away = here.mailboxes._unavailable  # noqa: SLF001 - asked in vain
        await wait_until(lambda: away[get_shard_number("7")] < inf)
        here.clock.move(LEASE + 1)
        assert list(await here.mailboxes.renew([old])) == []
        assert await here.mailboxes.put(build_envelope(4, "8")) is PutResult.STORED
        assert await here.mailboxes.acquire("7") is None
        await here.mailboxes.commit(old, 1, b"state")
        assert await here.mailboxes.acquire("7") is None
        await here.mailboxes.commit(old, 2, b"state")
        lease = await here.mailboxes.acquire("7")
        assert isinstance(lease, MailboxLease)
        assert lease.next_update.update_id == 3
        assert isinstance(await here.mailboxes.acquire("8"), MailboxLease)


@pytest.mark.parametrize(
    "fault", [StoreUnavailable, StoreFull, StoreError, ZeroDivisionError]
)
async def test_updates_that_cannot_be_brought_back_are_served_here(
    server: RedisServer,
    here: Worker,
    fault: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not left between the two, and is brought when that works."""

    async def refuse(*_: object, **__: object) -> None:
        raise fault

    await acquired(here, 9, ordering_key="9")
    os.kill(server.pid, signal.SIGSTOP)
    await here.mailboxes.put(build_envelope(1))
    with monkeypatch.context() as patch:
        patch.setattr(here.durable, "put", refuse)
        os.kill(server.pid, signal.SIGCONT)
        await wait_until(lambda: not here.transport.is_failing)
        bringing = here.mailboxes._migrate_mailboxes  # noqa: SLF001 - as its task does
        here.mailboxes._mark_available(list(here.mailboxes._unavailable))  # noqa: SLF001 - as above
        with pytest.raises(fault):
            await bringing()
        await wait_until(lambda: here.mailboxes._unavailable)  # noqa: SLF001 - as above
        assert here.mailboxes.in_memory == 1
    here.clock.move(FULL_RETRY_SECONDS)
    await wait_for_failback(here)
    assert here.mailboxes.in_memory == 0


async def test_dead_letters_go_back_too(server: RedisServer, here: Worker) -> None:
    """Those of bodies that never were updates, and those of actors."""
    server.kill()
    dead_letter = DeadLetter(
        update_id=None,
        ordering_key=None,
        reason="malformed",
        dead_lettered_at=1,
        body=b"?",
    )
    await here.mailboxes.add_dead_letter(dead_letter)
    await here.mailboxes.put(build_envelope(1, body=b"!"))
    await here.go_away()
    lease = await here.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    await here.mailboxes.commit(lease, 1, b"state", dead_letter_reason="crashed")
    assert here.mailboxes.dead_letter_count == 2
    server.start()
    await wait_for_failback(here)
    await wait_until(lambda: not here.memory.dead_letters)
    async with looked_at(server) as store:
        bodies = [dead_letter.body for dead_letter in await store.dead_letters()]
        assert bodies == [b"?", b"!"]


async def test_a_short_outage_is_waited_for(server: RedisServer) -> None:
    async with worker(server.url, patience=3600) as here:
        server.kill()
        put = asyncio.create_task(here.mailboxes.put(build_envelope(1)))
        await wait_until(lambda: here.transport.is_failing)
        server.start()
        await put
        assert here.mailboxes.mode == "redis"
        assert here.mailboxes.in_memory == 0


async def test_the_end_brings_back_what_it_can(server: RedisServer) -> None:
    """The process does not end with updates that Redis would take."""
    async with worker(server.url) as here:
        server.kill()
        await here.mailboxes.put(build_envelope(1))
        server.start()
        await wait_until(lambda: not here.transport.is_failing)
    assert here.mailboxes.in_memory == 0
    async with looked_at(server) as store:
        assert await store.in_memory() == 1
