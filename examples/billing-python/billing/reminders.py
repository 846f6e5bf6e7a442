"""Reminders: messages that the service sends on its own initiative.

The gateway stores them durably and sends each one when its time has come. A call whose
outcome is unknown is repeated with the same idempotency key: nobody is reminded twice.
"""

import asyncio
from datetime import timedelta

import grpc
from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.delivery_service_pb2 import Recipient, SendRequest
from botgateway.delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub

_ATTEMPTS = 3
_ATTEMPT_SECONDS = 0.8
_PAUSE_SECONDS = 0.1
_REPEATABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Reminders:
    """A client of the gateway's Delivery service.

    Args:
        target: the address of the Delivery service.
        delay: the time between the request of a user and the reminder.
        token: identifies this service to the gateway; None if it asks for none.
    """

    def __init__(self, target: str, delay: timedelta, token: str | None = None) -> None:
        self._delay = delay
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        self._channel = grpc.aio.insecure_channel(target)
        self._stub = DeliveryServiceStub(self._channel)

    async def schedule(self, context: RequestContext, number: int) -> None:
        """Remind the user of an invoice later.

        Raises:
            grpc.aio.AioRpcError: the gateway has not stored the reminder.
        """
        request = SendRequest(
            recipient=Recipient(
                bot=str(context.bot.id), telegram_user_id=context.telegram_user_id
            ),
            messages=[OutgoingMessage(text=f"Remember to pay invoice {number}.")],
            # The same when the gateway repeats the request of the user.
            idempotency_key=f"remind/{context.request_id}",
        )
        # From the time of the request, so that a repeated call has the same content.
        due = context.send_time.ToDatetime() + self._delay
        request.options.not_before.FromDatetime(due)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._stub.Send(
                    request, timeout=_ATTEMPT_SECONDS, metadata=self._metadata
                )
            except grpc.aio.AioRpcError as error:
                if attempt == _ATTEMPTS or error.code() not in _REPEATABLE:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()
