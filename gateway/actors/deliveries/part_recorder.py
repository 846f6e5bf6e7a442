"""Records in the store when a call of a delivery may have an effect.

A call is *begun* from immediately before its request until its outcome is known. If the
owner of the mailbox is lost meanwhile, the call is in doubt. While it waits, for the
end of a cool-down or before a retry, it is not begun: it can be cancelled or expire,
and another owner makes it without a doubt.
"""

import asyncio
from collections.abc import Awaitable

from gateway.actors.deliveries.delivery_progress import DeliveryProgress
from gateway.actors.leases import ActorLease
from gateway.domain.delivery import (
    Delivery,
    DeliveryRecord,
    DeliveryResult,
)
from gateway.domain.delivery_store import DeliveryStore
from gateway.domain.ports import Clock


class DeliveryStopped(Exception):
    """The next call must not be made, because the delivery has ended.

    Attributes:
        result: the result of the delivery.
    """

    def __init__(self, result: DeliveryResult) -> None:
        self.result = result


class PartRecorder:
    """Records the calls of one delivery under one lease.

    Args:
        store: stores the records.
        clock: the time.
        delivery: the delivery.
        progress: how far the delivery was sent.
        lease: the lease of the mailbox.
    """

    __slots__ = ("_clock", "_delivery", "_lease", "_progress", "_store")

    def __init__(
        self,
        store: DeliveryStore,
        clock: Clock,
        delivery: Delivery,
        progress: DeliveryProgress,
        lease: ActorLease,
    ) -> None:
        self._store = store
        self._clock = clock
        self._delivery = delivery
        self._progress = progress
        self._lease = lease

    async def begin_first(self) -> DeliveryRecord:
        """Record that the first call begins, unless there is more to know first.

        Returns the record as it was before: see `DeliveryStore.begin_part`.
        """
        progress = self._progress
        record = await self._begin()
        progress.is_begun = not (
            record.state.is_final or record.is_part_begun or record.next_part
        )
        return record

    async def read(self) -> DeliveryRecord:
        """Return the record. The first call is not begun, because it has to wait."""
        record = await self._store.get_delivery(self._delivery.delivery_id)
        # A record that is missing is made again when a call begins.
        return record or await self.begin_first()

    async def begin(self) -> None:
        """Record, immediately before a request, that the present call begins.

        Raises:
            DeliveryStopped: the delivery has expired, or was cancelled.
        """
        progress = self._progress
        if self._clock.now() >= self._delivery.expires_at:
            raise DeliveryStopped(progress.end_expired())
        if progress.is_begun:
            return
        record = await self._begin()
        if record.state.is_final:
            raise DeliveryStopped(get_result(record))
        progress.is_begun = True

    async def await_pause(self, pause: Awaitable[None]) -> None:
        """Await the pause before a call is made again that took no effect."""
        progress = self._progress
        try:
            # Otherwise a later owner would not learn of an earlier doubt.
            if progress.is_begun and not progress.had_doubt:
                await self._store.retract_part(
                    self._lease.mailbox_lease, self._delivery.delivery_id
                )
                progress.is_begun = False
        except BaseException:
            if asyncio.iscoroutine(pause):
                pause.close()
            raise
        await self._lease.await_pause(pause)

    async def _begin(self) -> DeliveryRecord:
        progress = self._progress
        return await self._store.begin_part(
            self._lease.mailbox_lease,
            self._delivery.delivery_id,
            progress.part,
            progress.sent_parts,
            resolves_doubt=progress.resolves_doubt,
        )


def get_result(record: DeliveryRecord) -> DeliveryResult:
    """Return the result of a delivery that ended before its mail was processed."""
    return DeliveryResult(
        state=record.state,
        reason=record.reason,
        description=record.description,
        sent_parts=record.sent_parts,
        maybe_repeated=record.maybe_repeated,
    )
