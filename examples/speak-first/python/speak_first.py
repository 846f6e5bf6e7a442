"""Sends a message to a user on a service's own initiative, and waits for its end.

    python speak_first.py localhost:50050 u-1 order-4711-shipped "It was shipped."

The token of the caller is DELIVERY_TOKEN in the environment, if the gateway asks for
one. Needs grpcio, googleapis-common-protos, and the stubs of the contract: see
README.md.
"""

import asyncio
import os
import random
import sys

import grpc
from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.delivery_pb2 import DeliveryState, DeliveryStatus
from botgateway.delivery.v1.delivery_service_pb2 import (
    GetRequest,
    Recipient,
    SendRequest,
    SendResponse,
)
from botgateway.delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio

ATTEMPT_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 5.0

# After these it is unknown whether the delivery was stored, or it certainly was not.
# Either way the same request with the same key is safe: it sends nothing twice.
REPEATABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}

OPEN_STATES = {
    DeliveryState.DELIVERY_STATE_ACCEPTED,
    DeliveryState.DELIVERY_STATE_SCHEDULED,
    DeliveryState.DELIVERY_STATE_SENDING,
}


async def send(
    stub: DeliveryServiceStub, request: SendRequest, token: str | None
) -> SendResponse:
    """Send, and repeat with the same key until the outcome is known."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    delay = FIRST_DELAY_SECONDS
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await stub.Send(
                    request, timeout=ATTEMPT_SECONDS, metadata=metadata
                )
            except aio.AioRpcError as error:
                if error.code() not in REPEATABLE:
                    raise
                asked = read_retry_seconds(error)
            await asyncio.sleep(max(asked, delay * random.uniform(0.5, 1)))
            delay = min(2 * delay, MAX_DELAY_SECONDS)


def read_retry_seconds(error: aio.AioRpcError) -> float:
    """Return after how many seconds the gateway wants to be called again."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in Status.FromString(value).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    return info.retry_delay.ToNanoseconds() / 1e9
    return 0


async def wait_for_end(
    stub: DeliveryServiceStub, delivery_id: str, token: str | None
) -> DeliveryStatus:
    """Ask for the state of a delivery until it has ended."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    while True:
        request = GetRequest(delivery_id=delivery_id)
        response = await stub.Get(request, timeout=ATTEMPT_SECONDS, metadata=metadata)
        if response.status.state not in OPEN_STATES:
            return response.status
        await asyncio.sleep(0.2)


async def main(target: str, user_id: str, key: str, text: str) -> int:
    """Send a text to a user, print how it ended, and return the exit code."""
    token = os.environ.get("DELIVERY_TOKEN")
    request = SendRequest(
        recipient=Recipient(internal_user_id=user_id),
        messages=[OutgoingMessage(text=text)],
        idempotency_key=key,
    )
    async with aio.insecure_channel(target) as channel:
        stub = DeliveryServiceStub(channel)
        try:
            sent = await send(stub, request, token)
        except aio.AioRpcError as error:
            print(f"refused: {error.code().name}: {error.details()}", file=sys.stderr)
            return 1
        again = " (was stored before)" if sent.is_repeated else ""
        print(f"stored as {sent.delivery_id}{again}")
        status = await wait_for_end(stub, sent.delivery_id, token)
    print(DeliveryState.Name(status.state), status.reason)
    return 0 if status.state == DeliveryState.DELIVERY_STATE_SENT else 1


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: speak_first.py HOST:PORT INTERNAL_USER_ID KEY TEXT")
    sys.exit(asyncio.run(main(*sys.argv[1:])))
