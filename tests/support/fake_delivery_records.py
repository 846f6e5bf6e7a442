"""A store of deliveries in memory, without mailboxes and actors."""

import asyncio

from gateway.domain.delivery import Delivery, DeliveryRecord, DeliveryState
from gateway.domain.delivery_store import DeliveryPutResult
from gateway.domain.errors import IdempotencyKeyReused


class FakeDeliveries:
    """Stores deliveries, and is the index of recipients."""

    def __init__(self) -> None:
        self.deliveries: dict[str, Delivery] = {}
        self.records: dict[str, DeliveryRecord] = {}
        self.users = {(7, "u-1"): 1001}
        self.error: Exception | None = None
        self.full = False
        self.gate = asyncio.Event()
        """Cleared: puts wait for it."""
        self.gate.set()
        self.waiting = 0

    async def enqueue(self, delivery: Delivery) -> DeliveryPutResult:
        """Store a delivery."""
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        if self.error is not None:
            raise self.error
        stored = self.deliveries.get(delivery.delivery_id)
        if stored is not None:
            if stored.fingerprint != delivery.fingerprint:
                raise IdempotencyKeyReused
            return DeliveryPutResult.REPEATED
        if self.full:
            return DeliveryPutResult.FULL
        self.deliveries[delivery.delivery_id] = delivery
        scheduled = delivery.not_before is not None
        state = DeliveryState.SCHEDULED if scheduled else DeliveryState.ACCEPTED
        self.records[delivery.delivery_id] = DeliveryRecord(
            delivery_id=delivery.delivery_id,
            ordering_key=delivery.ordering_key,
            caller=delivery.caller,
            idempotency_key=delivery.idempotency_key,
            state=state,
            sequence_number=1,
            accepted_at=delivery.accepted_at,
            updated_at=delivery.accepted_at,
            fingerprint=delivery.fingerprint,
        )
        return DeliveryPutResult.SCHEDULED if scheduled else DeliveryPutResult.STORED

    async def get_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return the record of a delivery."""
        if self.error is not None:
            raise self.error
        return self.records.get(delivery_id)

    async def cancel_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Cancel a delivery that nobody has begun."""
        record = self.records.get(delivery_id)
        if record is not None and record.state in {
            DeliveryState.ACCEPTED,
            DeliveryState.SCHEDULED,
        }:
            record.state = DeliveryState.CANCELLED
            record.sequence_number += 1
        return record

    async def find_recipient(self, bot_id: int, internal_user_id: str) -> int | None:
        """Return Telegram's id of a user."""
        return self.users.get((bot_id, internal_user_id))
