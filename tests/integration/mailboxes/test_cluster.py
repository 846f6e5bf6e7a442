"""What holds for mailboxes in a Redis Cluster alone."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.domain.errors import LeaseLost
from gateway.domain.mailbox_lease import LEASE_SECONDS, MailboxLease
from gateway.domain.ports import PutResult
from gateway.mailboxes.redis.client.shards import SHARD_SLOTS
from gateway.mailboxes.redis.replay_buffer import REPLAY_PAUSE_SECONDS
from tests.factories import build_envelope
from tests.integration.mailboxes.redis_store import RedisStore, opened_cluster
from tests.support.redis_servers import RedisCluster
from tests.support.stores import KEYS
from tests.support.waiting import LIMIT, wait_until


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """Run a Cluster that the test may do anything to."""
    nodes = RedisCluster(tmp_path, node_timeout=1000)
    nodes.start()
    yield nodes
    nodes.kill()


@pytest.fixture
async def store(redis_cluster: RedisCluster) -> AsyncIterator[RedisStore]:
    """Open an empty store in the shared Cluster."""
    async with opened_cluster(redis_cluster) as store:
        yield store


def slot_of_key(ordering_key: str) -> int:
    """Return the slot of a mailbox."""
    return SHARD_SLOTS[KEYS.get_shard(ordering_key.encode()).number]


def keys_of(node: int, count: int = 20) -> list[str]:
    """Return mailboxes whose shards are on a node when a Cluster starts."""
    ordering_keys = (str(number) for number in range(10_000))
    return [
        ordering_key
        for ordering_key in ordering_keys
        if slot_of_key(ordering_key) * 3 // 16384 == node
    ][:count]


async def serve(store: RedisStore, ordering_key: str, update_id: int) -> None:
    """Put and commit one update."""
    lease = await store.mailboxes.put(build_envelope(update_id, ordering_key))
    assert isinstance(lease, MailboxLease), lease
    await store.mailboxes.commit(lease, update_id, b"%d" % update_id)


async def serve_all(
    store: RedisStore, ordering_keys: list[str], update_id: int = 1
) -> None:
    """Put and commit one update of each mailbox."""
    await asyncio.gather(
        *(serve(store, ordering_key, update_id) for ordering_key in ordering_keys)
    )


async def test_every_node_is_found_and_used(store: RedisStore) -> None:
    await serve_all(store, [str(n) for n in range(500)])
    sizes = await store.ask_nodes("DBSIZE")
    assert sum(sizes) == 500
    assert min(sizes) > 50


async def test_a_node_that_fails_keeps_nobody_elses_mailboxes_waiting(
    own_cluster: RedisCluster,
) -> None:
    """The mailboxes of the others are served, renewed and found; its own wait."""
    async with opened_cluster(own_cluster) as store:
        # For this the mailboxes wait for a node. In Redis the leases last as ever.
        store.mailboxes._lease_seconds = LEASE_SECONDS  # noqa: SLF001 - as in production
        store.mailboxes._leases._lease_seconds = LEASE_SECONDS  # noqa: SLF001 - as above
        await fail_a_node(store, own_cluster)


async def fail_a_node(store: RedisStore, own_cluster: RedisCluster) -> None:
    """End a node and start it again, and look what becomes of all mailboxes."""
    here, there = keys_of(0), keys_of(2)
    puts = [
        store.mailboxes.put(build_envelope(1, ordering_key))
        for ordering_key in (*here, *there)
    ]
    leases = [c for c in await asyncio.gather(*puts) if isinstance(c, MailboxLease)]
    await store.mailboxes.release(leases[0])
    own_cluster.nodes[2].kill()
    waiting = asyncio.create_task(store.mailboxes.commit(leases[-1], 1, b"state"))
    store.clock.move(1)
    assert list(await store.mailboxes.renew(leases[1:])) == []
    now = store.clock.uptime()
    renewed = {lease.ordering_key for lease in leases if lease.expires_at > now + 2.5}
    assert renewed == set(here[1:])
    assert list(await store.mailboxes.claimable(5)) == here[:1]
    await serve_all(store, keys_of(1))
    assert not waiting.done()
    own_cluster.nodes[2].start()
    assert await waiting is None


async def test_what_a_replica_missed_is_put_again(
    own_cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes over from a node that had accepted more than it sent to the replica."""
    replica = own_cluster.add_replica(2)
    here, there = keys_of(0), keys_of(2)
    async with opened_cluster(own_cluster) as store:
        await serve_all(store, [*here, *there])
        await asyncio.to_thread(replica.wait_for, own_cluster.nodes[2])
        replica.cut_off(own_cluster.nodes[2])
        puts = [
            store.mailboxes.put(build_envelope(2, ordering_key))
            for ordering_key in (*here, *there)
        ]
        leases = [c for c in await asyncio.gather(*puts) if isinstance(c, MailboxLease)]
        done = leases.pop()
        await store.mailboxes.commit(done, 2, b"done")
        own_cluster.nodes[2].kill()
        stale = asyncio.create_task(store.mailboxes.commit(leases[-1], 2, b"stale"))
        await wait_until(lambda: "redis_failing" in caplog.messages)
        store.clock.move(10)  # for so long the others go on alone
        await store.mailboxes.put(build_envelope(3, here[0]))
        with pytest.raises(LeaseLost):
            await stale
        assert b"role:master" in replica.ask("INFO replication")
        assert list(await store.mailboxes.claimable(100)) == []
        store.clock.move(REPLAY_PAUSE_SECONDS + 0.1)
        assert {*there} - {*await store.mailboxes.claimable(100)} == {done.ordering_key}
        again = await store.mailboxes.acquire(there[0])
        assert isinstance(again, MailboxLease)
        assert (again.next_update.update_id, again.state) == (2, b"1")


async def test_a_replica_of_the_node_in_the_url_is_found(
    own_cluster: RedisCluster,
) -> None:
    """Meanwhile all others refuse: by default a Redis does while slots are away."""
    for node in own_cluster.nodes:
        node.ask("CONFIG SET cluster-require-full-coverage yes")
    own_cluster.add_replica(0).ask("CONFIG SET cluster-require-full-coverage yes")
    async with opened_cluster(own_cluster) as store:
        await serve_all(store, [*keys_of(0), *keys_of(1)])
        own_cluster.nodes[0].kill()
        put = asyncio.create_task(store.mailboxes.put(build_envelope(2, keys_of(0)[0])))
        async with asyncio.timeout(LIMIT):
            while not put.done():
                await store.mailboxes.claimable(1)  # the others' shards are asked, too
                await asyncio.wait([put], timeout=0.05)
        assert await put is PutResult.STORED


async def test_a_node_that_was_started_again_is_noticed_when_all_were_away(
    own_cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Then the URL's node stands for all others, and that one lost nothing."""
    ordering_key = keys_of(2)[0]
    _, other, lost = own_cluster.nodes
    async with opened_cluster(own_cluster) as store:
        assert isinstance(
            await store.mailboxes.put(build_envelope(1, ordering_key)), MailboxLease
        )
        await store.mailboxes.claimable(1)
        stopped = [own_cluster.nodes[0].pid, other.pid]
        lost.ask("FLUSHALL")
        lost.kill()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        put = asyncio.create_task(store.mailboxes.put(build_envelope(2, ordering_key)))
        for _ in range(3):
            await store.mailboxes.claimable(1)
        lost.start()
        restarted = "redis_restarted"
        await wait_until(lambda: restarted in caplog.messages)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        assert await put is PutResult.STORED
        assert "replaying_updates" in caplog.messages


async def test_a_slot_moves_to_another_node_under_load(
    store: RedisStore, redis_cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost, nothing done twice, and nobody notices."""
    source, target, other = redis_cluster.nodes
    slot = slot_of_key(keys_of(0)[0])
    numbers = map(str, range(20_000))
    ordering_keys = [
        ordering_key for ordering_key in numbers if slot_of_key(ordering_key) == slot
    ][:40]
    moving = True
    rounds = 0

    async def work(ordering_key: str) -> None:
        nonlocal rounds
        update_id = 0
        while moving:
            update_id += 1
            await serve(store, ordering_key, update_id)
            rounds += 1
            await asyncio.sleep(0.001)

    working = asyncio.gather(*(work(ordering_key) for ordering_key in ordering_keys))
    await wait_until(lambda: rounds > 100)
    ids = [
        node.ask("CLUSTER MYID").split(b"\r\n")[1].decode() for node in (source, target)
    ]
    target.ask(f"CLUSTER SETSLOT {slot} IMPORTING {ids[0]}")
    source.ask(f"CLUSTER SETSLOT {slot} MIGRATING {ids[1]}")
    await asyncio.sleep(0.05)
    while keys := source.ask(f"CLUSTER GETKEYSINSLOT {slot} 7").split(b"\r\n")[2::2]:
        names = b" ".join(keys).decode()
        answer = source.ask(f'MIGRATE 127.0.0.1 {target.port} "" 0 5000 KEYS {names}')
        assert b"ERR" not in answer, answer
        await asyncio.sleep(0.005)
    for node in (target, source, other):
        assert node.ask(f"CLUSTER SETSLOT {slot} NODE {ids[1]}") == b"+OK\r\n"
    before = rounds
    await wait_until(lambda: rounds > before + 100)
    moving = False
    await working
    assert "redis_failing" not in caplog.messages
    assert await store.count_mailboxes() == 0
    assert (await store.ask_nodes("DBSIZE"))[1] == len(ordering_keys)
