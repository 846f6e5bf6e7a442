"""Converts the record of a delivery into the status that callers get."""

from botgateway.delivery.v1 import delivery_pb2
from botgateway.delivery.v1.delivery_pb2 import DeliveryStatus, SentMessage
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.domain.delivery import DeliveryRecord, DeliveryState, SentPart
from gateway.domain.message_handles import MessageHandle, MessageHandles

_STATES = {
    state: delivery_pb2.DeliveryState.Value(f"DELIVERY_STATE_{state.upper()}")
    for state in DeliveryState
}


def get_bot_id(record: DeliveryRecord) -> int:
    """Return the id of the bot of a delivery, with which its ordering key begins."""
    return int(record.ordering_key.partition("/")[0])


def build_status(record: DeliveryRecord, handles: MessageHandles) -> DeliveryStatus:
    """Build the status message that callers get of a delivery.

    Args:
        record: the record of the delivery.
        handles: makes the signed handles by which callers can change sent messages.
    """
    bot_id = get_bot_id(record)
    return DeliveryStatus(
        delivery_id=record.delivery_id,
        idempotency_key=record.idempotency_key,
        state=_STATES[record.state],
        sequence_number=record.sequence_number,
        reason=record.reason,
        description=record.description,
        messages=[_build_message(bot_id, it, handles) for it in record.sent_parts],
        accept_time=build_time(record.accepted_at),
        update_time=build_time(record.updated_at),
        maybe_repeated=record.maybe_repeated,
    )


def _build_message(bot_id: int, part: SentPart, handles: MessageHandles) -> SentMessage:
    handle = MessageHandle(bot_id, part.chat_id, part.message_id)
    return SentMessage(handle=handles.encode(handle), message_id=part.message_id)


def build_time(seconds: float) -> Timestamp:
    """Return the protobuf Timestamp of a time in seconds since the epoch."""
    time = Timestamp()
    time.FromNanoseconds(int(seconds * 1e6) * 1000)
    return time
