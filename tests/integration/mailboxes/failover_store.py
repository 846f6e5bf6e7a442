"""Workers with a Redis that may fail, under test."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf

import pytest

from gateway.background import BackgroundTasks
from gateway.domain.delivery_store import DeliveryStore, RecipientIndex
from gateway.domain.mailbox_lease import LEASE_SECONDS
from gateway.domain.update import DeadLetter
from gateway.mailboxes.failover import FailoverMailboxStore
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from gateway.mailboxes.redis import executor
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.keys import get_shard_number
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from tests.integration.mailboxes.redis_store import RedisStore, opened
from tests.support.fakes import FakeClock
from tests.support.stores import (
    KEYS,
    LEASE,
    LETTERS,
    LIMIT,
    SIGNATURES,
    OpenStore,
    Store,
)
from tests.support.tasks import in_own_task
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT as LIMIT_OF_WAITING
from tests.support.waiting import wait_until

PATIENCE = 0.2
"""For how many seconds a put waits for a Redis that fails in these tests."""


class Worker:
    """The mailboxes of one worker, and what they are made of."""

    def __init__(
        self, url: str, clock: FakeClock, patience: float, background: BackgroundTasks
    ) -> None:
        scripts = load_scripts()
        self.clock = clock
        self.transport = ClusterClient(
            url, scripts.sources, self.clock, background=background
        )
        self.memory = MemoryMailboxStore(
            self.clock,
            limit=LIMIT,
            max_sessions=1000,
            lease_seconds=LEASE,
            dead_letters=LETTERS,
        )
        self.durable = RedisMailboxStore(
            self.transport,
            KEYS,
            scripts,
            self.clock,
            SIGNATURES,
            limit=LIMIT,
            put_timeout=patience,
            lease_seconds=LEASE,
            dead_letters=LETTERS,
        )
        self.mailboxes = FailoverMailboxStore(
            self.durable, self.memory, self.transport, self.clock, background
        )

    async def go_away(self) -> None:
        """Let memory take over for all mailboxes, and serve them."""
        await wait_until(lambda: self.transport.is_failing)
        self.mailboxes._fail_over("")  # noqa: SLF001 - as a put that is given up
        away = self.mailboxes._unavailable  # noqa: SLF001 - as above
        await wait_until(lambda: away[get_shard_number("")] < inf)
        self.clock.move(LEASE_SECONDS + 1)


@asynccontextmanager
async def worker(
    url: str, clock: FakeClock | None = None, patience: float = PATIENCE
) -> AsyncIterator[Worker]:
    """Run a worker's mailboxes."""
    with pytest.MonkeyPatch.context() as patch:
        # A Redis that does not fail is waited for, however busy the machine is.
        patch.setattr(executor, "MAX_TIMEOUT_FACTOR", LIMIT_OF_WAITING / patience)
        async with in_own_task(BackgroundTasks()) as background:
            opened_worker = Worker(url, clock or FakeClock(), patience, background)
            async with opened_worker.transport, opened_worker.mailboxes:
                yield opened_worker


class FailedBackStore:
    """A worker whose Redis never fails."""

    def __init__(self, worker: Worker, store: RedisStore) -> None:
        self.clock = store.clock
        self.mailboxes = worker.mailboxes
        self.durable = worker.durable
        self.deliveries: DeliveryStore = worker.durable.deliveries
        self.broadcasts = worker.durable.broadcasts
        self.recipients: RecipientIndex = worker.durable.recipients
        self.pass_time = store.pass_time
        self.tell_time = store.tell_time
        self.in_memory = store.in_memory
        self.count_mailboxes = store.count_mailboxes
        self.dead_letters = store.dead_letters

    @property
    def is_replaying(self) -> bool:
        """Whether no lease is granted: a stalled machine looked like an outage."""
        return self.durable._replay_buffer.is_paused  # noqa: SLF001 - not public


def failed_back(url: str) -> OpenStore:
    """Return a way to open mailboxes whose Redis works."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        async with (
            opened(make_connection_factory(url)) as store,
            worker(url, store.clock) as one,
        ):
            yield FailedBackStore(one, store)

    return open_store


class FailedOverStore:
    """A worker whose Redis is gone: memory serves."""

    is_replaying = False

    def __init__(self, worker: Worker) -> None:
        self.clock = worker.clock
        self.mailboxes = worker.mailboxes
        self.deliveries: DeliveryStore = worker.durable.deliveries
        self.broadcasts = worker.durable.broadcasts
        self.recipients: RecipientIndex = worker.durable.recipients
        self._memory = worker.memory

    async def tell_time(self) -> float:
        """Return the time of the clock."""
        return self.clock.now()

    async def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.move(seconds)

    async def in_memory(self) -> int:
        """Count the updates in all mailboxes."""
        return self._memory.in_memory

    async def count_mailboxes(self) -> int:
        """Count the mailboxes of which there is more than a state."""
        return self._memory.mailbox_count

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """Return the dead letters, oldest first."""
        return self._memory.dead_letters.entries


def failed_over() -> OpenStore:
    """Return a way to open mailboxes whose Redis is gone."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        (port,) = free_ports(1)
        async with worker(f"redis://127.0.0.1:{port}") as one:
            await one.go_away()
            yield FailedOverStore(one)

    return open_store
