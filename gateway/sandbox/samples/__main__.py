"""Runs one gRPC server with the four services, on loopback only."""

import argparse
import asyncio
import os
import signal
import sys

import grpc
from botgateway.conversation.v1.conversation_service_pb2_grpc import (
    add_ConversationServiceServicer_to_server,
)
from botgateway.matching.v1.matching_service_pb2_grpc import (
    add_MatchingServiceServicer_to_server,
)
from botgateway.notification.v1.notification_service_pb2_grpc import (
    add_NotificationServiceServicer_to_server,
)
from botgateway.profile.v1.profile_service_pb2_grpc import (
    add_ProfileServiceServicer_to_server,
)

from gateway.sandbox.samples.conversation import Conversation
from gateway.sandbox.samples.delivery_client import DeliveryClient
from gateway.sandbox.samples.idempotency import IdempotencyInterceptor
from gateway.sandbox.samples.matching import Matching
from gateway.sandbox.samples.notification import Notification
from gateway.sandbox.samples.profile import Profile
from gateway.sandbox.samples.users import Users

GRACE_SECONDS = 5.0
"""Grace period for running calls after the signal to stop."""


def build_server(deliveries: DeliveryClient | None = None) -> grpc.aio.Server:
    """Return a gRPC server with the four services; it has no port and is not started.

    Args:
        deliveries: sends messages to users; None if the gateway serves no deliveries.
    """
    users = Users()
    # Without this option a second process could share the port unnoticed.
    options = [("grpc.so_reuseport", 0)]
    server = grpc.aio.server(interceptors=[IdempotencyInterceptor()], options=options)
    add_ConversationServiceServicer_to_server(Conversation(users), server)
    add_MatchingServiceServicer_to_server(Matching(users, deliveries), server)
    add_ProfileServiceServicer_to_server(Profile(users), server)
    add_NotificationServiceServicer_to_server(Notification(), server)
    return server


async def serve(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then finish the running calls.

    The process exits with 2 if the port cannot be used.

    Args:
        host: the address to listen on.
        port: the port to listen on; 0 for any free one.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    delivery_target = os.environ.get("DELIVERY_TARGET")
    deliveries = DeliveryClient(delivery_target) if delivery_target else None
    server = build_server(deliveries)
    try:
        port = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        sys.stderr.write(f"port {port} cannot be used: choose another with --port\n")
        sys.exit(2)
    await server.start()
    sys.stdout.write(f"sample services on {host}:{port}\n")
    sys.stdout.flush()
    await stop.wait()
    await server.stop(GRACE_SECONDS)
    if deliveries is not None:
        await deliveries.close()


def main() -> None:
    """Parse the command line, and serve until a signal comes."""
    parser = argparse.ArgumentParser(description="Sample services for the gateway.")
    parser.add_argument("--port", type=int, default=50051, help="0: any free port")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 in a container")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
