"""The implementations of `MailboxStore` that the suite runs over.

A new implementation gets a `Store` and a line in `STORES`, and has passed when the
whole suite has.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from gateway.domain.broadcast_store import BroadcastStore
from gateway.domain.delivery_store import DeliveryStore, RecipientIndex
from gateway.domain.ports import MailboxStore
from gateway.domain.update import DeadLetter
from gateway.mailboxes.memory.broadcasts import MemoryBroadcastStore
from gateway.mailboxes.memory.deliveries import MemoryDeliveryStore
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from gateway.mailboxes.memory.recipients import MemoryRecipientIndex
from gateway.mailboxes.redis.keys import RedisKeys
from gateway.mailboxes.serialization import DeadLetterLimits
from gateway.mailboxes.signatures import StoreSignatures
from tests.support.fakes import FakeClock
from tests.support.waiting import LIMIT as LIMIT_OF_WAITING

LIMIT = 4
"""How many updates a mailbox may hold in this suite."""

PREFIX = "tg"
"""The prefix of the keys of a gateway without a setting for it."""

KEYS = RedisKeys(PREFIX)

SIGNATURES = StoreSignatures(["the secret of these tests"])

LETTERS = DeadLetterLimits(
    max_updates=200, max_rejected=60, retention_seconds=400 * 86400
)
"""How many dead letters are kept in this suite, and for how long: longer than any order
of calls that `machine.py` makes up."""

LEASE = 2 * LIMIT_OF_WAITING
PAUSES = (0.1 * LEASE, 0.2 * LEASE, 0.3 * LEASE)
"""The pauses of suspects: so long that none ends while a busy machine is slow."""
"""How many seconds a lease lasts in this suite: longer than any of its tests, since the
time of a real Redis goes on while a busy machine does something else."""


class Store(Protocol):
    """Mailboxes under test, and what only a test may do to them or know of them."""

    @property
    def mailboxes(self) -> MailboxStore:
        """Empty mailboxes with `LIMIT`, `LEASE` and `clock`."""

    @property
    def deliveries(self) -> DeliveryStore:
        """The deliveries in these mailboxes."""

    @property
    def broadcasts(self) -> BroadcastStore:
        """The broadcasts whose deliveries go into these mailboxes."""

    @property
    def recipients(self) -> RecipientIndex:
        """No user is recorded."""

    @property
    def clock(self) -> FakeClock:
        """The worker's clock. Only `pass_time` may move it."""

    @property
    def is_replaying(self) -> bool:
        """Whether no lease is granted: a stalled machine looked like an outage."""

    async def pass_time(self, seconds: float) -> None:
        """Move the worker's clock and the store's own time, by 1 ms at least."""

    async def tell_time(self) -> float:
        """Return the store's own time, in seconds since the epoch."""

    async def in_memory(self) -> int:
        """Count the updates in all mailboxes."""

    async def count_mailboxes(self) -> int:
        """Count the mailboxes of which there is more than a state."""

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """Return the dead letters, oldest first."""


OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


class MemoryStore:
    """Mailboxes in memory."""

    is_replaying = False

    def __init__(
        self, kind: type[MemoryMailboxStore], deliveries: type[MemoryDeliveryStore]
    ) -> None:
        self.clock = FakeClock()
        self.mailboxes = kind(
            self.clock,
            limit=LIMIT,
            max_sessions=1000,
            lease_seconds=LEASE,
            dead_letters=LETTERS,
        )
        self.deliveries = deliveries(self.mailboxes, self.clock, limit=LIMIT)
        self.broadcasts = MemoryBroadcastStore(self.deliveries, self.clock)
        self.recipients = MemoryRecipientIndex(1000)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.move(seconds)

    async def tell_time(self) -> float:
        """Return the time of the clock."""
        return self.clock.now()

    async def in_memory(self) -> int:
        """Count the updates in all mailboxes."""
        return self.mailboxes.in_memory

    async def count_mailboxes(self) -> int:
        """Count the mailboxes of which there is more than a state."""
        return self.mailboxes.mailbox_count

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """Return the dead letters, oldest first."""
        return self.mailboxes.dead_letters.entries


def memory(
    kind: type[MemoryMailboxStore] = MemoryMailboxStore,
    deliveries: type[MemoryDeliveryStore] = MemoryDeliveryStore,
) -> OpenStore:
    """Return a way to open mailboxes in memory.

    Args:
        kind: the class, or a faulty version of it.
        deliveries: the class of the deliveries, or a faulty version of it.
    """

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        yield MemoryStore(kind, deliveries)

    return open_store


STORES = (
    "memory",
    "sqlite",
    "fakeredis",
    "redis",
    "cluster",
    "failed back",
    "failed over",
)
