"""Lists what the pacer puts into mailboxes: bulk deliveries and those of broadcasts.

Concurrency: the pacer calls it, in one task. A worker that has lost the pacer's lease
may call it for another second. Even then the delivery for a recipient is put into a
mailbox only once, and everything else may be repeated.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import TypeVar

from gateway.delivery.bulk_pacer import BulkStore
from gateway.domain.broadcast import (
    Broadcast,
    BroadcastState,
    EnterResult,
    build_recipient_delivery,
)
from gateway.domain.broadcast_store import BroadcastStore
from gateway.domain.delivery import Delivery, DeliveryState
from gateway.domain.delivery_store import WaitingDelivery

MAX_KNOWN = 1000
"""The maximum number of broadcasts whose message and times are kept in memory."""

ItemT = TypeVar("ItemT")


class BulkSource:
    """Lists waiting deliveries for the pacer, and puts them into their mailboxes.

    It also ends broadcasts that have no recipients left.

    Args:
        deliveries: the bulk deliveries.
        broadcasts: the broadcasts and their recipients.
        enter: puts the delivery for a recipient of a broadcast into its mailbox.
        read_ahead: how many recipients of a broadcast to list at once.
        now: returns the seconds since the epoch.

    Attributes:
        open_counts: the number of unfinished broadcasts by state, when this worker last
            listed them.
    """

    def __init__(
        self,
        deliveries: BulkStore,
        broadcasts: BroadcastStore,
        enter: Callable[[Delivery], Awaitable[EnterResult]],
        *,
        read_ahead: int,
        now: Callable[[], float],
    ) -> None:
        self._deliveries = deliveries
        self._broadcasts = broadcasts
        self._enter = enter
        self._read_ahead = read_ahead
        self._now = now
        self._known: dict[str, Broadcast] = {}
        self.open_counts: Counter[str] = Counter()

    async def list_bulk_deliveries(self, limit: int) -> Sequence[WaitingDelivery]:
        """Return waiting deliveries: in turn a bulk delivery and one of each broadcast.

        Before that, the waiting recipients of cancelled and expired broadcasts are
        dropped, and broadcasts whose deliveries have all ended are closed.

        Args:
            limit: the maximum number of deliveries.

        Raises:
            StoreError: the store does not answer.
        """
        queues = [await self._deliveries.list_bulk_deliveries(limit)]
        open_broadcasts = await self._broadcasts.list_open_broadcasts()
        self.open_counts = Counter(it.value for it in open_broadcasts.values())
        for broadcast_id, state in open_broadcasts.items():
            broadcast = await self._find(broadcast_id)
            if broadcast is not None:
                queues.append(await self._advance(broadcast, state))
        return list(_take_turns(queues))[:limit]

    async def enter_bulk_delivery(self, waiting: WaitingDelivery) -> bool:
        """Put a delivery into its mailbox, unless its broadcast is not running.

        Args:
            waiting: a delivery that `list_bulk_deliveries` returned.

        Returns:
            Whether it was put there. It was not if the mailbox is full, or if the
            delivery does not wait any more.

        Raises:
            StoreError: the store does not answer, and the delivery is of a broadcast.
        """
        if waiting.delivery is None:
            return await self._deliveries.enter_bulk_delivery(waiting)
        states = await self._broadcasts.list_open_broadcasts()
        if states.get(waiting.delivery.broadcast_id) is not BroadcastState.RUNNING:
            return False
        return await self._enter(waiting.delivery) is EnterResult.ENTERED

    async def _find(self, broadcast_id: str) -> Broadcast | None:
        broadcast = self._known.get(broadcast_id)
        if broadcast is None:
            record = await self._broadcasts.get_broadcast(broadcast_id)
            if record is None:
                # It expired in a time without a pacer.
                await self._broadcasts.change_state(
                    broadcast_id, BroadcastState.COMPLETED, (), is_open=False
                )
                return None
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            broadcast = self._known[broadcast_id] = record.broadcast
        return broadcast

    async def _advance(
        self, broadcast: Broadcast, state: BroadcastState
    ) -> Sequence[WaitingDelivery]:
        """Return the next recipients of a broadcast; close it if there are none."""
        now = self._now()
        if state is BroadcastState.CANCELLED:
            await self._broadcasts.drop_recipients(broadcast, DeliveryState.CANCELLED)
        elif now >= broadcast.expires_at:
            await self._broadcasts.drop_recipients(broadcast, DeliveryState.EXPIRED)
        elif state is BroadcastState.PAUSED:
            return ()
        else:
            chat_ids = await self._broadcasts.list_recipients(
                broadcast, self._read_ahead
            )
            if chat_ids:
                return [_make_waiting(broadcast, it, now) for it in chat_ids]
        counts = await self._broadcasts.count_recipients(broadcast)
        if not counts.waiting and not counts.in_progress:
            end = BroadcastState.COMPLETED
            if state is BroadcastState.CANCELLED:
                end = state
            await self._broadcasts.change_state(
                broadcast.broadcast_id, end, {state}, is_open=False
            )
        return ()


def _make_waiting(broadcast: Broadcast, chat_id: int, now: float) -> WaitingDelivery:
    delivery = build_recipient_delivery(broadcast, chat_id, now)
    return WaitingDelivery(delivery.delivery_id, delivery.ordering_key, delivery)


def _take_turns(queues: Iterable[Sequence[ItemT]]) -> Iterator[ItemT]:
    """Yield the first of each queue, then the second of each, and so on."""
    rounds = chain.from_iterable(zip_longest(*queues))
    return (item for item in rounds if item is not None)
