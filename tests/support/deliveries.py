"""Builders of deliveries with messages, and of what processes them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.delivery_service_pb2 import (
    AmendRequest,
    CallRequest,
    Recipient,
    SendRequest,
)

from gateway.actors.deliveries.delivery_processor import (
    DeliveryProcessor,
    OpenBroadcasts,
)
from gateway.actors.deliveries.delivery_renderer import DeliveryRenderer
from gateway.actors.deliveries.delivery_sender import DeliverySender
from gateway.domain.broadcast import BroadcastState
from gateway.domain.delivery import Delivery, DeliveryKind, DeliveryResult
from gateway.domain.delivery_store import DeliveryStore
from gateway.domain.message_handles import MessageHandle, MessageHandles
from gateway.domain.ports import Clock, Messenger, ServiceRouter
from tests.factories import TIME, USER, build_delivery

HANDLES = MessageHandles(["the secret of these tests"])

PATIENCE = 120
"""REPLY_PATIENCE of deliveries in tests."""


def build_message_delivery(
    *texts: str,
    number: int = 1,
    messages: Sequence[OutgoingMessage] = (),
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
    ).SerializeToString()
    defaults: dict[str, Any] = {
        "request": request,
        "caller": "matching",
        "expires_at": TIME + 3600.0,
    }
    return build_delivery(number, **defaults | fields)


def build_amendment_delivery(
    message_id: int,
    *,
    number: int = 1,
    chat_id: int = USER,
    handle: str = "",
    **amendment: Any,  # noqa: ANN401 - as in AmendRequest
) -> Delivery:
    """Build a delivery that changes a message of a chat.

    Args:
        message_id: the id of the message.
        number: makes the id and the key of the delivery.
        chat_id: the chat.
        handle: the handle of the message; by default a valid one.
        amendment: the amendment in the request.
    """
    encoded = HANDLES.encode(MessageHandle(4711, chat_id, message_id))
    request = AmendRequest(handle=handle or encoded, **amendment)
    return build_delivery(
        number,
        request=request.SerializeToString(),
        kind=DeliveryKind.AMEND,
        chat_id=chat_id,
    )


def build_call_delivery(
    method: str,
    parameters_json: str = "",
    *,
    number: int = 1,
    recipient: Recipient | None = None,
    **fields: Any,  # noqa: ANN401 - each has its own type
) -> Delivery:
    """Build a delivery that calls a method of the Bot API."""
    request = CallRequest(
        recipient=recipient, method=method, parameters_json=parameters_json
    )
    return build_delivery(
        number, request=request.SerializeToString(), kind=DeliveryKind.CALL, **fields
    )


class FakeOpenBroadcasts:
    """The states of broadcasts, as a test sets them."""

    def __init__(self) -> None:
        self.states: dict[str, BroadcastState] = {}

    async def list_open_broadcasts(self) -> Mapping[str, BroadcastState]:
        """Return the states."""
        return self.states


def build_delivery_processor(
    messenger: Messenger,
    services: ServiceRouter,
    store: DeliveryStore,
    clock: Clock,
    observe: Callable[[Delivery, DeliveryResult, float], None] = lambda *_: None,
    broadcasts: OpenBroadcasts | None = None,
) -> DeliveryProcessor:
    """Put together what processes deliveries."""
    return DeliveryProcessor(
        store,
        DeliveryRenderer(messenger, services, HANDLES),
        DeliverySender(messenger, store, clock, patience=PATIENCE),
        broadcasts=broadcasts or FakeOpenBroadcasts(),
        clock=clock,
        observe_delivery=observe,
    )
