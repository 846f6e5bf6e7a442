"""Converts broadcasts into the messages that callers get."""

from botgateway.delivery.v1 import broadcast_pb2, delivery_pb2
from botgateway.delivery.v1.broadcast_pb2 import (
    BroadcastCounts,
    BroadcastReason,
    BroadcastStatus,
)
from botgateway.delivery.v1.broadcast_service_pb2 import RecipientFailure
from msgspec import structs

from gateway.delivery.records import build_time
from gateway.domain import broadcast as domain

_STATES = {
    state: broadcast_pb2.BroadcastState.Value(f"BROADCAST_STATE_{state.upper()}")
    for state in domain.BroadcastState
}


def build_status(
    record: domain.BroadcastRecord, counts: domain.BroadcastCounts
) -> BroadcastStatus:
    """Build the status message that callers get of a broadcast.

    Args:
        record: the broadcast and its state.
        counts: the numbers of its recipients by what became of them.
    """
    broadcast = record.broadcast
    numbers = structs.asdict(counts)
    reasons = sorted(numbers.pop("reasons").items(), key=lambda it: (-it[1], it[0]))
    return BroadcastStatus(
        broadcast_id=broadcast.broadcast_id,
        idempotency_key=broadcast.idempotency_key,
        bot_id=broadcast.bot_id,
        state=_STATES[record.state],
        counts=BroadcastCounts(**numbers),
        reasons=[BroadcastReason(reason=name, count=count) for name, count in reasons],
        create_time=build_time(broadcast.created_at),
        update_time=build_time(record.changed_at),
        expire_time=build_time(broadcast.expires_at),
    )


def build_failure(failure: domain.RecipientFailure) -> RecipientFailure:
    """Build the entry of a recipient in the response of ListBroadcastFailures."""
    return RecipientFailure(
        chat_id=failure.chat_id,
        state=delivery_pb2.DeliveryState.Value(
            f"DELIVERY_STATE_{failure.state.upper()}"
        ),
        reason=failure.reason,
    )
