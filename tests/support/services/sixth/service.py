"""The sixth service itself. Prints its target and serves until it is ended."""

import asyncio
import sys
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from grpc import aio

# By name: the stubs are made while the tests run, so mypy cannot see them.
billing: Any = import_module("botgateway.billing.v1.billing_service_pb2")
billing_grpc: Any = import_module("botgateway.billing.v1.billing_service_pb2_grpc")


async def show_invoice(request: Any, _: object) -> object:  # noqa: ANN401 - see above
    """Say which invoice was asked for, by whom and how."""
    who = request.asked_by.internal_user_id
    text = f"invoice {request.number} of {who}, asked as {request.typed.text}"
    return billing.ShowInvoiceResponse(shown=a_reply(text))


async def pay(request: Any, _: object) -> object:  # noqa: ANN401 - see above
    """Say which invoice was paid, by whom and how."""
    who = request.pressed_by.internal_user_id
    method = billing.PaymentMethod.Name(request.method)
    text = f"invoice {request.number} of {who}, paid by {method}"
    return billing.PayResponse(result=a_reply(text))


def a_reply(text: str) -> Reply:
    """Make a reply of one message."""
    return Reply(messages=[OutgoingMessage(text=text)])


async def serve() -> None:
    """Serve until the process is ended."""
    server = aio.server()
    billing_grpc.add_BillingServiceServicer_to_server(
        SimpleNamespace(ShowInvoice=show_invoice, Pay=pay), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"127.0.0.1:{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
