"""Gateways with different key prefixes share a Redis without noticing each other."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from gateway.background import BackgroundTasks
from gateway.clock import SystemClock
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import MailboxStore
from gateway.domain.update import DeadLetter
from gateway.mailboxes.factory import OpenedMailboxes, open_mailboxes
from gateway.mailboxes.failover import FailoverMailboxStore
from gateway.mailboxes.redis import commands
from gateway.mailboxes.redis.client.shards import SHARD_COUNT, SHARD_SLOTS
from gateway.mailboxes.redis.dead_letters import open_dead_letters
from gateway.mailboxes.redis.keys import RedisKeys
from gateway.mailboxes.stream_cancellation import RedisCancellationBus
from tests.factories import build_envelope
from tests.support.redis_servers import RedisServer
from tests.support.stores import SIGNATURES
from tests.support.tasks import in_own_task
from tests.support.waiting import LIMIT, wait_until

PREFIXES = ("production", "staging")

MALFORMED = DeadLetter(
    update_id=None,
    ordering_key=None,
    reason="malformed",
    dead_lettered_at=0.0,
    body=b"?",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a server whose keys are all of this test."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@asynccontextmanager
async def opened(url: str, prefix: str) -> AsyncIterator[OpenedMailboxes]:
    """Open the mailboxes of a gateway with this prefix."""
    async with (
        in_own_task(BackgroundTasks()) as background,
        open_mailboxes(
            url,
            SystemClock(),
            SIGNATURES,
            key_prefix=prefix,
            limit=1,
            max_sessions=10,
            put_timeout=LIMIT,
            dead_letter_seconds=60,
            background=background,
        ) as store,
    ):
        yield store


@pytest.fixture
async def both(
    server: RedisServer,
) -> AsyncIterator[tuple[OpenedMailboxes, OpenedMailboxes]]:
    """Open the mailboxes of two gateways that differ in nothing but their prefixes."""
    production, staging = (opened(server.url, prefix) for prefix in PREFIXES)
    async with production as one, staging as other:
        yield one, other


async def lease_of(mailboxes: MailboxStore, update_id: int) -> MailboxLease:
    """Put an update of the same user as ever, and return the lease."""
    lease = await mailboxes.put(build_envelope(update_id, "7"))
    assert isinstance(lease, MailboxLease)
    assert lease.next_update.update_id == update_id
    return lease


async def test_updates_and_states_do_not_meet(
    both: tuple[OpenedMailboxes, OpenedMailboxes],
) -> None:
    """Each has the user's mailbox, with a limit, a lease and a state of its own."""
    one, other = (it.mailboxes for it in both)
    lease = await lease_of(one, 1)
    of_other = await lease_of(other, 1)
    assert await one.commit(lease, 1, b"state of one") is None
    assert of_other.expires_at > 0
    assert not await other.renew([of_other])
    assert await other.commit(of_other, 1, b"state of other") is None
    again, of_other = await lease_of(one, 2), await lease_of(other, 2)
    assert (again.state, of_other.state) == (b"state of one", b"state of other")
    await one.release(again)
    assert await other.claimable(10) == []
    assert await other.acquire("7") is None
    assert await one.claimable(10) == ["7"]


async def test_an_emptied_redis_of_the_other_is_no_loss(
    both: tuple[OpenedMailboxes, OpenedMailboxes],
    server: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each has markers of its own by which it notices that it lost something."""
    one, other = (it.mailboxes for it in both)
    for mailboxes in (one, other):
        await mailboxes.claimable(1)
    for shard in RedisKeys(PREFIXES[1]).shards:
        server.ask(f"DEL {shard.generation.decode()}")
    await one.claimable(1)
    assert "redis_emptied" not in caplog.messages
    await other.claimable(1)
    assert "redis_emptied" in caplog.messages


async def test_dead_letters_do_not_meet(
    both: tuple[OpenedMailboxes, OpenedMailboxes], server: RedisServer
) -> None:
    """Neither an operator nor a count sees those of the other."""
    one, other = (it.mailboxes for it in both)
    assert isinstance(one, FailoverMailboxStore)
    assert isinstance(other, FailoverMailboxStore)
    lease = await lease_of(one, 1)
    await one.commit(lease, 1, b"", dead_letter_reason="crashed")
    await one.add_dead_letter(MALFORMED)
    found = {}
    for prefix, mailboxes in zip(PREFIXES, (one, other), strict=True):
        await mailboxes.claimable(1)
        async with open_dead_letters(
            server.url, prefix, SystemClock(), SIGNATURES
        ) as dead_letters:
            listed = await dead_letters.list_summaries()
            found[prefix] = sorted(it.reason for it in listed)
    assert found == {"production": ["crashed", "malformed"], "staging": []}
    assert (one.dead_letter_count, one.rejected_count) == (1, 1)
    assert (other.dead_letter_count, other.rejected_count) == (0, 0)


async def test_cancellations_do_not_meet(server: RedisServer) -> None:
    """They reach the other workers of the same gateway, and no others."""

    @asynccontextmanager
    async def listening(
        prefix: str,
    ) -> AsyncIterator[tuple[RedisCancellationBus, list[int]]]:
        async with opened(server.url, prefix) as store:
            bus = store.cancellation_bus
            assert isinstance(bus, RedisCancellationBus)
            heard: list[int] = []
            bus.subscribe(lambda _, draft_id: heard.append(draft_id))
            await bus.subscribed.wait()
            yield bus, heard

    one, two = PREFIXES
    async with (
        listening(one) as (publisher, _),
        listening(one) as (_, heard),
        listening(two) as (of_other, _),
        listening(two) as (_, heard_by_other),
    ):
        publisher.publish("7", 1)
        await wait_until(lambda: 1 in heard)
        of_other.publish("7", 2)
        await wait_until(lambda: bool(heard_by_other))
        publisher.publish("7", 3)
        await wait_until(lambda: 3 in heard)
        assert (heard, heard_by_other) == ([1, 3], [2])


async def test_every_key_begins_with_the_prefix(
    both: tuple[OpenedMailboxes, OpenedMailboxes],
    server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also those with which a gateway tests Redis after an outage."""
    monkeypatch.setattr(commands, "PROBE_TTL_MS", 600_000)
    one, _ = (it.mailboxes for it in both)
    assert isinstance(one, FailoverMailboxStore)
    await one.claimable(1)
    await one._redis_store.find_writable_shards(range(SHARD_COUNT))  # noqa: SLF001 - as a failback
    await one.add_dead_letter(MALFORMED)
    lease = await lease_of(one, 1)
    await one.commit(lease, 1, b"state", dead_letter_reason="crashed")
    await lease_of(one, 2)
    async with Redis.from_url(server.url, decode_responses=True) as stranger:
        keys: list[Any] = await stranger.keys()
    kinds = {key.split(":")[2] for key in keys}
    assert kinds == {
        "m",
        "s",
        "pending",
        "leases",
        "dead_letters",
        "rejected_letters",
        "generation",
        "write_probe",
    }
    assert all(key.startswith("production:{") for key in keys)


@pytest.mark.parametrize("prefix", ["tg", "a.b-c_D"])
def test_the_keys_of_a_shard_are_in_its_slot(prefix: str) -> None:
    """Whatever the prefix is: otherwise a Cluster would refuse every script."""
    for shard in RedisKeys(prefix).shards:
        number, *keys = shard
        assert isinstance(number, int)
        keys += [shard.mailbox_key(b"{7}"), shard.state_key(b"{7}")]
        assert set(map(key_slot, keys)) == {SHARD_SLOTS[number]}
    assert len(set(SHARD_SLOTS)) == SHARD_COUNT
