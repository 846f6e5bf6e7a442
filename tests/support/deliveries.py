"""Builders of deliveries."""

from typing import Any

from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.delivery_service_pb2 import Recipient, SendRequest

from gateway.domain.delivery import Delivery, DeliveryKind
from tests.factories import TIME, USER


def build_delivery(
    *texts: str,
    number: int = 1,
    messages: tuple[OutgoingMessage, ...] = (),
    recipient: Recipient | None = None,
    **fields: Any,  # noqa: ANN401 - each has its own type
) -> Delivery:
    """Build a delivery of messages to the private chat of a user.

    Args:
        texts: the texts of the messages.
        number: makes the id and the key of the delivery.
        messages: messages in place of those with the texts.
        recipient: the recipient in the request.
        fields: fields of the delivery.
    """
    request = SendRequest(
        recipient=recipient or Recipient(telegram_user_id=USER),
        messages=messages or [OutgoingMessage(text=text) for text in texts],
        idempotency_key=f"key-{number}",
    )
    defaults: dict[str, Any] = {
        "delivery_id": f"delivery-{number:07}",
        "ordering_key": str(USER),
        "bot_id": 4711,
        "caller": "matching",
        "idempotency_key": f"key-{number}",
        "fingerprint": b"fingerprint",
        "kind": DeliveryKind.SEND,
        "request": request.SerializeToString(),
        "chat_id": USER,
        "accepted_at": float(TIME),
        "expires_at": float(TIME + 3600),
    }
    return Delivery(**defaults | fields)
