"""Records in the store when a call of a delivery may have an effect.

A call is *begun* from immediately before its request until its outcome is known. If the
owner of the mailbox is lost meanwhile, the call is in doubt. A call that waits for the
end of a cool-down, or for its retry, is not begun: it can be cancelled or expire, and
if the owner is lost, the next one makes the call as if it were the first.
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
        progress: how far the delivery was sent; its `is_begun` is kept up to date here.
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
        """Record that the first call begins, and return the record as it was before.

        Nothing is changed if that record shows that the delivery has ended, or that an
        earlier owner of the mailbox came further: the caller has to look at it.

        Raises:
            LeaseLost: another worker has the mailbox.
            StoreError: the store does not answer.
        """
        progress = self._progress
        record = await self._begin()
        progress.is_begun = not (
            record.state.is_final or record.is_part_begun or record.next_part
        )
        return record

    async def read(self) -> DeliveryRecord:
        """Return the record of the delivery without beginning its first call.

        This is for a first call that has to wait. If the record is missing, the call is
        begun, which makes a new record.

        Raises:
            LeaseLost: another worker has the mailbox, and the record was missing.
            StoreError: the store does not answer.
        """
        record = await self._store.get_delivery(self._delivery.delivery_id)
        # A record that is missing is made again when a call begins.
        return record or await self.begin_first()

    async def begin(self) -> None:
        """Record, immediately before a request, that the present call begins.

        Raises:
            DeliveryStopped: the delivery has expired, or was cancelled.
            LeaseLost: another worker has the mailbox.
            StoreError: the store does not answer.
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
        """Await the pause before a retry of a call that took no effect.

        Before that, record that the call is not begun any more, unless another call of
        this delivery was in doubt.

        Args:
            pause: what to await. Meanwhile the actor does not count against the limit
                of active actors.

        Raises:
            LeaseLost: another worker has the mailbox.
            StoreError: the store does not answer.
        """
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
    """Return the result that the record of a delivery has.

    This is for a delivery that ended, for example was cancelled, before its actor
    processed it.
    """
    return DeliveryResult(
        state=record.state,
        reason=record.reason,
        description=record.description,
        sent_parts=record.sent_parts,
        maybe_repeated=record.maybe_repeated,
    )
