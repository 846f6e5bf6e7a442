"""Serves the rpcs and gRPC's health until SIGTERM or SIGINT.

PORT is the port, DELIVERY_TARGET the address of the gateway's Delivery service, and
DELIVERY_TOKEN the token of this service there, if the gateway asks for one.
REMINDER_SECONDS is the delay of reminders.
"""

import asyncio
import os
import signal
from datetime import timedelta

import grpc
from acme.billing.v1.billing_service_pb2_grpc import (
    add_BillingServiceServicer_to_server,
)
from grpc_health.v1.health import aio as health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from billing.ledger import Ledger
from billing.reminders import Reminders
from billing.service import BillingService

_GRACE_SECONDS = 10.0
"""How long running calls may take after the signal to stop."""


def _open_reminders() -> Reminders | None:
    target = os.environ.get("DELIVERY_TARGET")
    if not target:
        return None
    delay = timedelta(seconds=float(os.environ.get("REMINDER_SECONDS", "86400")))
    return Reminders(target, delay, os.environ.get("DELIVERY_TOKEN"))


async def serve(address: str) -> None:
    """Serve at an address until a signal comes."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    reminders = _open_reminders()
    server = grpc.aio.server()
    add_BillingServiceServicer_to_server(BillingService(Ledger(), reminders), server)
    status = health.HealthServicer()
    add_HealthServicer_to_server(status, server)
    # The gateway watches the empty name and calls only while it is SERVING.
    await status.set("", HealthCheckResponse.SERVING)
    server.add_insecure_port(address)
    await server.start()
    print(f"billing listens on {address}", flush=True)
    await stop.wait()
    await status.enter_graceful_shutdown()
    await server.stop(_GRACE_SECONDS)
    if reminders is not None:
        await reminders.close()


if __name__ == "__main__":
    host = os.environ.get("HOST", "127.0.0.1")
    asyncio.run(serve(f"{host}:{os.environ.get('PORT', '50051')}"))
