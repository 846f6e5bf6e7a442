"""Broadcasts in memory, which are lost when the process ends.

Implements `BroadcastStore` of `domain/broadcast_store.py`.

Concurrency: all calls come from one event loop, and no method awaits anything. That
makes every method atomic.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import islice

from msgspec import Struct, field

from gateway.domain.broadcast import (
    RETENTION_SECONDS,
    Broadcast,
    BroadcastCounts,
    BroadcastRecipient,
    BroadcastRecord,
    BroadcastState,
    EnterResult,
    RecipientFailure,
)
from gateway.domain.delivery import Delivery, DeliveryResult, DeliveryState
from gateway.domain.delivery_store import DeliveryPutResult
from gateway.domain.errors import IdempotencyKeyReused
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import Clock
from gateway.mailboxes.memory.deliveries import MemoryDeliveryStore

MAX_FAILURES = 10_000
"""The number of failures of a broadcast that are kept."""

_LISTED_STATES = frozenset(
    {DeliveryState.BLOCKED, DeliveryState.FAILED, DeliveryState.DOUBTFUL}
)
"""The states of the deliveries that are listed as failures."""


class _Entry(Struct, eq=False):
    """A broadcast and its recipients."""

    broadcast: Broadcast
    changed_at: float
    state: BroadcastState = BroadcastState.DRAFT
    waiting: set[int] = field(default_factory=set)
    entered: set[int] = field(default_factory=set)
    """Those who stopped waiting."""
    ended: Counter[DeliveryState] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[RecipientFailure] = field(default_factory=list)


class MemoryBroadcastStore:
    """The `BroadcastStore` of one process, in its memory.

    Expired broadcasts are removed `RETENTION_SECONDS` after they expired. No method
    raises StoreUnavailable.

    Args:
        deliveries: the delivery store of the same process; its callback for recipients
            is set here.
        clock: the clock of the delivery store.
    """

    def __init__(self, deliveries: MemoryDeliveryStore, clock: Clock) -> None:
        self._deliveries = deliveries
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._open: dict[str, BroadcastState] = {}
        deliveries.set_recipient_callback(self._end_recipient)

    async def create_broadcast(self, broadcast: Broadcast) -> bool:
        """Store a new broadcast as a draft. See `BroadcastStore.create_broadcast`."""
        self._remove_expired()
        entry = self._entries.get(broadcast.broadcast_id)
        if entry is None:
            self._entries[broadcast.broadcast_id] = _Entry(broadcast, self._clock.now())
            return True
        if entry.broadcast.fingerprint != broadcast.fingerprint:
            raise IdempotencyKeyReused("the key was used with another request")
        return False

    async def get_broadcast(self, broadcast_id: str) -> BroadcastRecord | None:
        """Return a broadcast, or None. See `BroadcastStore.get_broadcast`."""
        self._remove_expired()
        entry = self._entries.get(broadcast_id)
        return None if entry is None else _make_record(entry)

    async def list_broadcasts(self, limit: int) -> Sequence[BroadcastRecord]:
        """Return up to `limit` broadcasts, newest first. See `BroadcastStore`."""
        self._remove_expired()
        newest = reversed(self._entries.values())
        return [_make_record(entry) for entry in islice(newest, limit)]

    async def change_state(
        self,
        broadcast_id: str,
        state: BroadcastState,
        allowed: Collection[BroadcastState],
        *,
        is_open: bool = True,
    ) -> BroadcastState | None:
        """Change a broadcast's state if it may. See `BroadcastStore.change_state`."""
        entry = self._entries.get(broadcast_id)
        if entry is None:
            self._open.pop(broadcast_id, None)
            return None
        before = entry.state
        if before in allowed:
            if before is not state:
                entry.state, entry.changed_at = state, self._clock.now()
            if is_open:
                self._open[broadcast_id] = state
            else:
                self._open.pop(broadcast_id, None)
        return before

    async def list_open_broadcasts(self) -> Mapping[str, BroadcastState]:
        """Return broadcasts that are not finished.

        See `BroadcastStore.list_open_broadcasts`.
        """
        return dict(self._open)

    async def add_recipients(
        self, broadcast: Broadcast, chat_ids: Collection[int]
    ) -> int:
        """Add waiting recipients to a draft. See `BroadcastStore.add_recipients`.

        Raises:
            KeyError: there is no such broadcast.
        """
        entry = self._entries[broadcast.broadcast_id]
        new = {*chat_ids} - entry.waiting
        entry.waiting |= new
        return len(new)

    async def list_recipients(self, broadcast: Broadcast, limit: int) -> Sequence[int]:
        """Return up to `limit` waiting recipients. See `BroadcastStore`."""
        entry = self._entries.get(broadcast.broadcast_id)
        return () if entry is None else tuple(islice(entry.waiting, limit))

    async def enter_recipient(
        self, delivery: Delivery, *, acquire: bool
    ) -> MailboxLease | EnterResult:
        """Put the delivery for a waiting recipient into its mailbox.

        See `BroadcastStore.enter_recipient`.
        """
        entry = self._entries.get(delivery.broadcast_id)
        if entry is None or delivery.chat_id not in entry.waiting:
            return EnterResult.NOT_WAITING
        result = self._deliveries.enter_recipient(delivery, acquire=acquire)
        if result is DeliveryPutResult.FULL:
            return EnterResult.FULL
        entry.waiting.remove(delivery.chat_id)
        entry.entered.add(delivery.chat_id)
        return EnterResult.ENTERED if isinstance(result, DeliveryPutResult) else result

    async def drop_recipients(self, broadcast: Broadcast, state: DeliveryState) -> int:
        """Remove all waiting recipients. See `BroadcastStore.drop_recipients`."""
        entry = self._entries.get(broadcast.broadcast_id)
        if entry is None:
            return 0
        dropped = len(entry.waiting)
        entry.entered |= entry.waiting
        entry.waiting.clear()
        if dropped:
            entry.ended[state] += dropped
            entry.reasons[state.value] += dropped
        return dropped

    async def count_recipients(self, broadcast: Broadcast) -> BroadcastCounts:
        """Count recipients by what became of them. See `BroadcastStore`."""
        entry = self._entries.get(broadcast.broadcast_id)
        if entry is None:
            return BroadcastCounts()
        ended = {state.value: count for state, count in entry.ended.items()}
        return BroadcastCounts(
            total=len(entry.waiting) + len(entry.entered),
            waiting=len(entry.waiting),
            in_progress=len(entry.entered) - sum(ended.values()),
            **ended,
            reasons=dict(entry.reasons),
        )

    async def list_failures(
        self, broadcast: Broadcast, limit: int
    ) -> Sequence[RecipientFailure]:
        """Return up to `limit` failed recipients. See `BroadcastStore.list_failures`.

        Only the first `MAX_FAILURES` of a broadcast are kept.
        """
        entry = self._entries.get(broadcast.broadcast_id)
        return () if entry is None else tuple(entry.failures[:limit])

    def _end_recipient(
        self, recipient: BroadcastRecipient, result: DeliveryResult, is_begun: bool
    ) -> None:
        """Count the end of the delivery for a recipient, or let it wait again."""
        entry = self._entries.get(recipient.broadcast_id)
        if entry is None:
            return
        state = result.state
        if state is DeliveryState.SCHEDULED:
            if not is_begun:
                entry.entered.discard(recipient.chat_id)
                entry.waiting.add(recipient.chat_id)
                return
            state = DeliveryState.DOUBTFUL
        entry.ended[state] += 1
        if state is not DeliveryState.SENT and result.reason:
            entry.reasons[result.reason] += 1
        if state in _LISTED_STATES and len(entry.failures) < MAX_FAILURES:
            failure = RecipientFailure(recipient.chat_id, state, result.reason)
            entry.failures.append(failure)

    def _remove_expired(self) -> None:
        """Remove the broadcasts that have been kept long enough."""
        oldest = self._clock.now() - RETENTION_SECONDS
        for broadcast_id, entry in list(self._entries.items()):
            if entry.broadcast.expires_at <= oldest:
                del self._entries[broadcast_id]
                self._open.pop(broadcast_id, None)


def _make_record(entry: _Entry) -> BroadcastRecord:
    return BroadcastRecord(entry.broadcast, entry.state, entry.changed_at)
