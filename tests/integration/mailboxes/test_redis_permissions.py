"""What the Redis user in `deploy/` may do: all that a gateway needs, and no more."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from gateway.background import BackgroundTasks
from gateway.clock import SystemClock
from gateway.domain.broadcast import (
    BroadcastState,
    build_recipient_delivery,
    get_recipient,
)
from gateway.domain.contract_history import ContractGeneration
from gateway.domain.delivery import DeliveryResult, DeliveryState, ReportPolicy
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import PutResult
from gateway.domain.update import DeadLetter
from gateway.mailboxes.factory import OpenedMailboxes, open_mailboxes
from gateway.mailboxes.failover import FailoverMailboxStore
from gateway.mailboxes.redis.client.connection_factory import is_unprotected
from gateway.mailboxes.redis.client.shards import SHARD_COUNT
from gateway.mailboxes.redis.dead_letters import open_dead_letters
from tests.factories import build_broadcast, build_delivery, build_envelope
from tests.support.deployment import documents, pod
from tests.support.redis_servers import RedisServer
from tests.support.stores import KEYS, PREFIX, SIGNATURES
from tests.support.waiting import LIMIT, wait_until

PASSWORD = "a-password-of-these-tests"


class ShippedRedis(RedisServer):
    """A server that is started as the files in `deploy/` say."""

    def __init__(self, directory: Path, command: list[str]) -> None:
        super().__init__(directory)
        assert command[0] == "redis-server"
        self._command = [re.sub(r"^>\$.*", f">{PASSWORD}", it) for it in command[1:]]

    def arguments(self) -> list[str]:
        """Return its command line."""
        return [*super().arguments(), *self._command]

    @property
    def user_url(self) -> str:
        """The URL of the server for the gateways' user."""
        return f"redis://gateway:{PASSWORD}@127.0.0.1:{self.port}"


def commands() -> dict[str, Any]:
    """Return the command lines of the Redis in compose and in Kubernetes."""
    (compose,) = documents("compose.yaml")
    (container,) = pod("StatefulSet", "redis")["containers"]
    return {
        "compose": compose["services"]["redis"]["command"],
        "kubernetes": container["args"],
    }


@pytest.fixture(params=["compose", "kubernetes"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ShippedRedis]:
    """Run a Redis as it is shipped."""
    server = ShippedRedis(tmp_path, commands()[request.param])
    server.start()
    yield server
    server.kill()


async def test_a_gateway_has_all_the_rights_that_it_needs(server: ShippedRedis) -> None:
    """For mailboxes, dead letters, cancellations and the failback."""
    stopped: list[tuple[str, int]] = []
    async with asyncio.timeout(LIMIT), open_store(server) as store:
        mailboxes = store.mailboxes
        assert isinstance(mailboxes, FailoverMailboxStore)
        store.cancellation_bus.subscribe(
            lambda ordering_key, draft_id: stopped.append((ordering_key, draft_id))
        )
        await serve_updates(mailboxes)
        await reject_forged(server, mailboxes)
        await keep_dead_letters(server, mailboxes)
        await send_deliveries(store)
        await accept_contracts(store)
        await send_broadcast(store)
        durable = mailboxes._redis_store  # noqa: SLF001 - the failback calls it
        assert (
            len(await durable.find_writable_shards(range(SHARD_COUNT))) == SHARD_COUNT
        )
        await durable.remove_update("7", 99)
        assert not await durable.has_updates("7")
        await wait_until(store.cancellation_bus.subscribed.is_set)
        async with open_store(server) as other:
            await wait_until(other.cancellation_bus.subscribed.is_set)
            other.cancellation_bus.publish("7", 5)
            await wait_until(lambda: ("7", 5) in stopped)
            polling, waiting = store.make_polling_lease(7), other.make_polling_lease(7)
            assert await polling.hold()
            await polling.release()
            assert await waiting.hold()
        assert not mailboxes.is_degraded
        assert mailboxes.mode == "redis"


@asynccontextmanager
async def open_store(server: ShippedRedis) -> AsyncIterator[Any]:
    """Open mailboxes as a gateway does."""
    async with (
        BackgroundTasks() as background,
        open_mailboxes(
            server.user_url,
            SystemClock(),
            SIGNATURES,
            key_prefix=PREFIX,
            limit=3,
            max_sessions=10,
            put_timeout=5,
            dead_letter_seconds=60,
            background=background,
        ) as store,
    ):
        yield store


async def serve_updates(mailboxes: FailoverMailboxStore) -> None:
    """Put, acquire, renew, give back and commit."""
    lease = await mailboxes.put(build_envelope(1))
    assert isinstance(lease, MailboxLease)
    assert [await mailboxes.put(build_envelope(n)) for n in (2, 2, 3, 4)] == [
        *(PutResult.STORED, PutResult.DUPLICATE, PutResult.STORED, PutResult.FULL),
    ]
    assert list(await mailboxes.renew([lease])) == []
    assert (
        await mailboxes.commit(lease, 1, b"state", dead_letter_reason="crashed")
        is not None
    )
    await mailboxes.release(lease)
    assert list(await mailboxes.claimable(9)) == ["7"]
    again = await mailboxes.acquire("7")
    assert isinstance(again, MailboxLease)
    assert again.state == b"state"
    assert await mailboxes.commit(again, 2, b"state") is not None
    assert await mailboxes.commit(again, 3, b"state") is None


async def send_deliveries(store: OpenedMailboxes) -> None:
    """Put, replace, enter, begin, commit, cancel and report; find a recipient."""
    deliveries, mailboxes = store.deliveries, store.mailboxes
    soon = time.time() + 0.2
    reported: dict[str, Any] = {"report": ReportPolicy.ALL, "expires_at": soon + 3600}
    lease = await deliveries.put_delivery(build_delivery(1, **reported))
    assert isinstance(lease, MailboxLease)
    await deliveries.begin_part(lease, build_delivery(1).delivery_id, 0, [])
    result = DeliveryResult(state=DeliveryState.SENT)
    await deliveries.commit_delivery(
        lease, build_delivery(1).delivery_id, b"state", result, dead_letter_reason="x"
    )
    scheduled = reported | {"not_before": soon, "collapse_key": "state"}
    for number in (2, 3):
        await deliveries.put_delivery(build_delivery(number, **scheduled))

    async def has_entered() -> bool:
        await mailboxes.claimable(9)
        return await deliveries.enter_due_deliveries(9) == 1

    while not await has_entered():
        await asyncio.sleep(0.02)
    await deliveries.cancel_delivery(build_delivery(3).delivery_id)
    await mailboxes.claimable(9)
    reports = await deliveries.take_reports(9)
    assert len(reports) == 3
    await deliveries.confirm_reports(reports)
    assert list(await deliveries.take_reports(9)) == []
    await store.recipients.record_recipient(1, "ada", 7)
    assert await store.recipients.find_recipient(1, "ada") == 7
    cooldowns = store.make_cooldowns(1)
    cooldowns.record(7, 60)
    assert await cooldowns.find(7) > 0


async def accept_contracts(store: OpenedMailboxes) -> None:
    """Add a generation and read it."""
    history = store.contract_history
    assert history is not None
    generation = ContractGeneration(number=1, accepted_at=1, digest="d", files=())
    assert await history.add_generation(generation)
    assert await history.find_current_number() == 1
    assert await history.get_generation(1) == generation


async def send_broadcast(store: OpenedMailboxes) -> None:
    """Create, add, start, enter, end, let wait again, drop, count, list and close."""
    broadcasts, deliveries = store.broadcasts, store.deliveries
    broadcast = build_broadcast()
    assert await broadcasts.create_broadcast(broadcast)
    assert await broadcasts.add_recipients(broadcast, range(1, 301)) == 300
    running, cancelled = BroadcastState.RUNNING, BroadcastState.CANCELLED
    draft = {BroadcastState.DRAFT}
    await broadcasts.change_state(broadcast.broadcast_id, running, draft)
    assert len(await broadcasts.list_recipients(broadcast, 300)) > 250
    waits = DeliveryResult(state=DeliveryState.SCHEDULED)
    failed = DeliveryResult(state=DeliveryState.FAILED, reason="refused")
    chosen = [(1, waits), *((number, failed) for number in range(2, 261))]
    for chat_id, result in chosen:
        delivery = build_recipient_delivery(broadcast, chat_id, time.time())
        lease = await broadcasts.enter_recipient(delivery, acquire=True)
        assert isinstance(lease, MailboxLease)
        await deliveries.commit_delivery(
            lease,
            delivery.delivery_id,
            b"state",
            result,
            recipient=get_recipient(delivery),
        )
    assert len(await broadcasts.list_failures(broadcast, 999)) == 259
    assert len(await broadcasts.list_broadcasts(9)) == 1
    dropped = await broadcasts.drop_recipients(broadcast, DeliveryState.CANCELLED)
    assert dropped == 41
    await broadcasts.change_state(
        broadcast.broadcast_id, cancelled, {running}, is_open=False
    )
    assert await broadcasts.list_open_broadcasts() == {}
    counts = await broadcasts.count_recipients(broadcast)
    assert (counts.total, counts.failed, counts.cancelled) == (300, 259, 41)


async def reject_forged(server: ShippedRedis, mailboxes: FailoverMailboxStore) -> None:
    """Move an update that somebody else wrote out of the way."""
    async with Redis.from_url(server.user_url) as stranger:
        await stranger.zadd(KEYS.get_shard(b"7").mailbox_key(b"7"), {b"5 0.0 {}": 5})
    lease = await mailboxes.put(build_envelope(6))
    assert isinstance(lease, MailboxLease)
    assert lease.next_update.update_id == 6
    assert await mailboxes.commit(lease, 6, b"state") is None


async def keep_dead_letters(
    server: ShippedRedis, mailboxes: FailoverMailboxStore
) -> None:
    """Add, list, replay and delete."""
    malformed = DeadLetter(
        update_id=None,
        ordering_key=None,
        reason="malformed",
        dead_lettered_at=0,
        body=b"nonsense",
    )
    await mailboxes.add_dead_letter(malformed)
    opening = open_dead_letters(server.user_url, PREFIX, SystemClock(), SIGNATURES)
    async with opening as dead_letters:
        found = {
            it.reason: it.dead_letter_id for it in await dead_letters.list_summaries()
        }
        assert found.keys() == {"crashed", "forged", "malformed"}
        await dead_letters.replay(found["crashed"], build_envelope(1, arrived_at=None))
        assert await dead_letters.delete(found["malformed"])
    lease = await mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    assert await mailboxes.commit(lease, 1, b"state") is None


@pytest.mark.parametrize(
    "command",
    [
        *("FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "CONFIG GET dir", "SHUTDOWN"),
        *("CONFIG SET dir /", "ACL LIST", "MONITOR", "SAVE", "REPLICAOF NO ONE"),
        *("EVAL return(1) 0", "SCRIPT FLUSH", "DEBUG SLEEP 0", "MODULE LIST"),
        *("GET other", "SET other x", "PUBLISH other x", "DEL tg:{0}:m:7"),
        *("GET tg:other", "GET tg-2:{0}:s:7", "PUBLISH tg-2:cancellations x"),
        "CLIENT LIST",
    ],
)
async def test_the_user_may_do_nothing_else(tmp_path: Path, command: str) -> None:
    """Whoever gets the password of a gateway does not get the server."""
    server = ShippedRedis(tmp_path, commands()["compose"])
    server.start()
    try:
        async with Redis.from_url(server.user_url) as client:
            with pytest.raises(NoPermissionError):
                await client.execute_command(*command.split())  # type: ignore[no-untyped-call]  # redis-py
    finally:
        server.kill()


async def test_without_the_password_there_is_no_way_in(server: ShippedRedis) -> None:
    """Redis' own user without a password is off."""
    for url in (server.url, server.user_url.replace(PASSWORD, "wrong")):
        async with Redis.from_url(url) as client:
            with pytest.raises(AuthenticationError):
                await client.get("tg:{0}:s:7")


def test_both_files_give_the_same_rights() -> None:
    """Compose and Kubernetes differ in how the password gets in alone."""
    rights = [
        [it for it in command[command.index("--user") :] if not it.startswith(">")]
        for command in commands().values()
    ]
    assert rights[0] == rights[1]


@pytest.mark.parametrize(
    ("url", "unprotected"),
    [
        ("redis://redis:6379", True),
        ("redis://192.0.2.1", True),
        ("redis://gateway:hush@redis:6379", False),
        ("redis://:hush@redis", False),
        ("redis://redis?password=hush", False),
        ("redis://localhost:6379", False),
        ("redis://127.0.0.1:6379/2", False),
        ("redis://[::1]", False),
        ("rediss://redis", False),
        ("unix:///run/redis.sock", False),
        ("redis+sentinel://one,two/mail", True),
        ("redis+sentinel://localhost,two/mail", True),
        ("redis+sentinel://127.0.0.1:1,127.0.0.1:2/mail", False),
        ("redis+sentinel://:hush@one,two/mail", False),
    ],
)
def test_a_redis_without_a_password_is_noticed(url: str, *, unprotected: bool) -> None:
    """Unless it is on this machine, or TLS says who may talk to it."""
    assert is_unprotected(url) is unprotected


async def test_a_gateway_warns_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """Once, at the start; the address is not told."""
    async with (
        BackgroundTasks() as background,
        open_mailboxes(
            "redis://no-such-host.invalid:1",
            SystemClock(),
            SIGNATURES,
            key_prefix=PREFIX,
            limit=1,
            max_sessions=1,
            put_timeout=0.1,
            dead_letter_seconds=60,
            background=background,
        ) as store,
    ):
        assert isinstance(store, OpenedMailboxes)
    warnings = [it for it in caplog.records if it.message == "redis_unprotected"]
    (reason,) = [it.__dict__["reason"] for it in warnings]
    assert "no password" in reason
    assert "no-such-host" not in reason + caplog.text
