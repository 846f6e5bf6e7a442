"""Mailboxes in a Redis that Sentinels watch."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from os import kill
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from gateway.background import BackgroundTasks
from gateway.domain.errors import LeaseLost
from gateway.domain.mailbox_lease import MailboxLease
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.client.sentinel import DEFAULT_PORT, parse_sentinel_url
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.replay_buffer import REPLAY_PAUSE_SECONDS
from tests.factories import build_envelope
from tests.integration.mailboxes.redis_store import RedisStore
from tests.support.fakes import FakeClock
from tests.support.redis_servers import WatchedRedis
from tests.support.stores import KEYS
from tests.support.tasks import in_own_task
from tests.support.waiting import LIMIT, wait_until, wait_until_found

ORDERING_KEYS = [str(number) for number in range(20)]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[WatchedRedis]:
    """Run servers that the test may do anything to."""
    servers = WatchedRedis(tmp_path)
    servers.start()
    yield servers
    servers.kill()


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[RedisStore, ClusterClient]]:
    """Open a store and its way to Redis."""
    clock = FakeClock()
    async with (
        in_own_task(BackgroundTasks()) as background,
        ClusterClient(
            url, load_scripts().sources, clock, background=background
        ) as transport,
    ):
        yield RedisStore(transport, [transport], clock), transport


async def put_all(store: RedisStore, update_id: int) -> list[MailboxLease]:
    """Put an update into each mailbox. Gives what was acquired."""
    puts = (
        store.mailboxes.put(build_envelope(update_id, ordering_key))
        for ordering_key in ORDERING_KEYS
    )
    return [
        placed
        for placed in await asyncio.gather(*puts)
        if isinstance(placed, MailboxLease)
    ]


async def test_the_replica_takes_over_and_gets_what_it_missed(
    watched: WatchedRedis,
) -> None:
    """From a master that had accepted more than it sent to the replica."""
    async with opened(watched.url) as (store, transport):
        for lease in await put_all(store, 1):
            await store.mailboxes.commit(lease, 1, b"state")
        await asyncio.to_thread(watched.replica.wait_for, watched.master)
        watched.replica.cut_off(watched.master)
        *leases, done = await put_all(store, 2)
        await store.mailboxes.commit(done, 2, b"done")
        watched.kill_master()
        stale = asyncio.create_task(store.mailboxes.commit(leases[0], 2, b"stale"))
        await wait_until(lambda: transport.is_failing)
        with pytest.raises(LeaseLost):
            await stale
        assert b"role:master" in watched.replica.ask("INFO replication")
        assert list(await store.mailboxes.claimable(100)) == []
        store.clock.move(REPLAY_PAUSE_SECONDS + 0.1)
        assert set(await store.mailboxes.claimable(100)) == {*ORDERING_KEYS} - {
            done.ordering_key
        }
        again = await store.mailboxes.acquire(ORDERING_KEYS[0])
        assert isinstance(again, MailboxLease)
        assert (again.next_update.update_id, again.state) == (2, b"state")


async def test_a_master_is_left_before_it_knows_of_its_successor(
    watched: WatchedRedis,
) -> None:
    """Sentinels tell it 8 s later. What it accepted after its replica is put again.

    Here it refuses to be told, so that the test may take its time.
    """
    async with opened(watched.url) as (store, _):
        leases = await put_all(store, 1)
        await asyncio.to_thread(watched.replica.wait_for, watched.master)
        watched.replica.cut_off(watched.master)
        await put_all(store, 2)
        assert (
            watched.master.ask("ACL SETUSER default -replicaof -slaveof") == b"+OK\r\n"
        )
        assert watched.sentinels[0].ask("SENTINEL FAILOVER mail") == b"+OK\r\n"
        await asyncio.to_thread(watched.replica.wait_until, "role:master")

        mail = (
            KEYS.get_shard(ORDERING_KEYS[0].encode())
            .mailbox_key(ORDERING_KEYS[0].encode())
            .decode()
        )

        async def brought() -> bool:
            await store.mailboxes.renew(leases)
            with contextlib.suppress(OSError):  # broken by a Sentinel
                return watched.replica.ask(f"ZCARD {mail}") == b":2\r\n"
            return False

        await wait_until_found(brought)
        assert list(await store.mailboxes.claimable(100)) == []
        assert b"role:master" in watched.master.ask("INFO replication")


async def test_one_sentinel_that_answers_is_enough(watched: WatchedRedis) -> None:
    """One of the others is gone, and one silent. What it does not know is no Redis."""
    watched.sentinels[0].kill()
    kill(watched.sentinels[1].pid, signal.SIGSTOP)
    async with opened(watched.url) as (store, _):
        assert len(await put_all(store, 1)) == len(ORDERING_KEYS)
    with pytest.raises(RedisError):
        await make_connection_factory(f"{watched.url}s")().connect()  # type: ignore[no-untyped-call]


async def test_a_sentinel_that_refuses_is_passed_over(watched: WatchedRedis) -> None:
    """Such as one whose user may not ask it: the next one may know."""
    watched.sentinels[0].ask("ACL SETUSER default -sentinel")
    async with asyncio.timeout(LIMIT), opened(watched.url) as (store, _):
        assert len(await put_all(store, 1)) == len(ORDERING_KEYS)


def test_all_of_a_url_is_read() -> None:
    """Logins, database and further settings; a Sentinel's port may be left out."""
    found = parse_sentinel_url(
        "rediss+sentinel://user:p%40ss@one:1,two/mail/3"
        "?sentinel_username=su&sentinel_password=sp&ssl_ca_certs=/ca.pem"
    )
    assert found["sentinels"] == (("one", 1), ("two", DEFAULT_PORT))
    assert (found["service"], found["db"]) == ("mail", 3)
    assert (found["username"], found["password"]) == ("user", "p@ss")
    asking = found["sentinel_options"]
    assert (asking["username"], asking["password"]) == ("su", "sp")
    assert asking["ssl_ca_certs"] == found["ssl_ca_certs"] == "/ca.pem"
    assert asking["ssl"] is True
    assert "host" not in found


def test_without_tls_there_is_none() -> None:
    """Neither to the Sentinels nor to the master."""
    found = parse_sentinel_url("redis+sentinel://one/mail")
    assert found["sentinel_options"]["ssl"] is False
    assert "ssl_ca_certs" not in found
    make_connection_factory("redis+sentinel://one/mail")()
