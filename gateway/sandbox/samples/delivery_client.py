"""Sends messages to users on a service's own initiative, through the gateway.

A call whose outcome is unknown is repeated with the same idempotency key: the gateway
sends nothing twice.
"""

import asyncio

import grpc
from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.delivery_service_pb2 import Recipient, SendRequest
from botgateway.delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub

ATTEMPTS = 5
ATTEMPT_SECONDS = 1.0
PAUSE_SECONDS = 0.2

_REPEATABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


class DeliveryClient:
    """A client of the gateway's Delivery service.

    Args:
        target: the gRPC address of the Delivery service.
    """

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(
            target, (("grpc.enable_http_proxy", 0),)
        )
        self._stub = DeliveryServiceStub(self._channel)

    async def send(
        self, recipient: Recipient, message: OutgoingMessage, key: str
    ) -> bool:
        """Ask the gateway to send a message, with up to five attempts.

        Args:
            recipient: who gets the message.
            message: the message.
            key: the idempotency key: the gateway sends only one message for a key.

        Returns:
            True if the gateway has stored the message and will send it; False if it
            rejected the message, or did not answer any attempt.
        """
        request = SendRequest(
            recipient=recipient, messages=[message], idempotency_key=key
        )
        for _ in range(ATTEMPTS):
            try:
                await self._stub.Send(request, timeout=ATTEMPT_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _REPEATABLE:
                    return False
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return True
        return False

    async def close(self) -> None:
        """Close the connection to the gateway."""
        await self._channel.close()
