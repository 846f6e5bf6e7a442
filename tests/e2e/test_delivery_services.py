"""What services learn of deliveries, with a whole gateway."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from botgateway.chat.v1.reply_pb2 import (
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    OutgoingMessage,
)
from botgateway.delivery.v1.delivery_pb2 import (
    DELIVERY_STATE_BLOCKED,
    DELIVERY_STATE_SENT,
    REPORT_POLICY_ALL,
    DeliveryStatus,
)
from botgateway.delivery.v1.delivery_service_pb2 import (
    DeliveryOptions,
    Recipient,
    SendRequest,
)
from botgateway.delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from grpc import aio

from tests.support.gateway_harness import GatewayHarness, running_gateway
from tests.support.services.delivery_routes import DeliveryRoutes, delivery_routes
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from botgateway.delivery.v1.delivery_service_pb2_grpc import (
        DeliveryServiceAsyncStub,
    )

    Client = DeliveryServiceAsyncStub
else:
    Client = DeliveryServiceStub


@asynccontextmanager
async def running(
    service: DeliveryRoutes,
) -> AsyncIterator[tuple[GatewayHarness, Client]]:
    """Start a gateway that serves deliveries, and connect to it."""
    (port,) = free_ports(1)
    further = {delivery_routes(): service}
    async with (
        running_gateway(further=further, delivery_port=port) as gateway,
        aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield gateway, Client(channel)


def build_request(
    key: str,
    recipient: Recipient,
    **message: Any,  # noqa: ANN401 - any field of a message
) -> SendRequest:
    """Build a request whose end is reported."""
    return SendRequest(
        recipient=recipient,
        messages=[OutgoingMessage(text=f"text of {key}", **message)],
        idempotency_key=key,
        options=DeliveryOptions(report=REPORT_POLICY_ALL),
    )


def reports_of(service: DeliveryRoutes) -> list[DeliveryStatus]:
    """Return the reports that the service received."""
    return [
        status
        for name, request in service.asked
        if name == "ReceiveReports"
        for status in request.statuses
    ]


async def test_the_end_of_a_delivery_is_reported() -> None:
    """To a user whom only a service knows, and again after a failure."""
    service = DeliveryRoutes()
    service.users = {"u-9": 9}
    async with running(service) as (gateway, client):
        recipient = Recipient(internal_user_id="u-9")
        service.failures["ReceiveReports"] = [grpc.StatusCode.INTERNAL]
        sent = await client.Send(build_request("key-1", recipient))
        await wait_until(lambda: len(reports_of(service)) == 2)
        await client.Send(build_request("key-2", recipient))
        await wait_until(lambda: len(reports_of(service)) == 3)
        texts = [message["text"] for message in gateway.simulator.messages(9)]
        assert texts == ["text of key-1", "text of key-2"]
        assert "key-1" not in str(gateway.log())
        with pytest.raises(aio.AioRpcError) as unknown:
            await client.Send(build_request("key-3", Recipient(internal_user_id="x")))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    first, again, other = reports_of(service)
    assert first == again != other
    assert (first.delivery_id, first.idempotency_key) == (sent.delivery_id, "key-1")
    assert first.state == other.state == DELIVERY_STATE_SENT
    assert len(first.messages) == 1
    # Once found, the user is known.
    assert [name for name, _ in service.asked].count("FindRecipient") == 2


async def test_a_pressed_button_names_its_delivery() -> None:
    service = DeliveryRoutes()
    button = InlineKeyboardButton(text="Yes", callback_data="CONNECT:user-9")
    keyboard = InlineKeyboard(rows=[InlineKeyboardRow(buttons=[button])])
    async with running(service) as (gateway, client):
        recipient = Recipient(telegram_user_id=7)
        request = build_request("key-1", recipient, inline_keyboard=keyboard)
        sent = await client.Send(request)
        await wait_until(lambda: gateway.simulator.messages(7))
        [message] = gateway.simulator.messages(7)
        [[shown]] = message["reply_markup"]["inline_keyboard"]
        await gateway.press(shown["callback_data"])
        await gateway.ended(1)
        (connect,) = gateway.backend.asked("Connect")
        assert connect.target_user_id == "user-9"
        assert connect.context.delivery_id == sent.delivery_id


async def test_a_user_who_blocked_the_bot_costs_one_call() -> None:
    """Until the user writes again."""
    service = DeliveryRoutes()
    async with running(service) as (gateway, client):
        recipient = Recipient(telegram_user_id=7)
        forbidden = "Forbidden: bot was blocked by the user"
        gateway.simulator.fail("sendMessage", 403, description=forbidden)
        for number, reason in enumerate(("blocked_by_user", "known_as_blocked"), 1):
            await client.Send(build_request(f"key-{number}", recipient))
            await wait_until(lambda n=number: len(reports_of(service)) == n)  # type: ignore[misc]
            status = reports_of(service)[-1]
            assert (status.state, status.reason) == (DELIVERY_STATE_BLOCKED, reason)
        assert gateway.simulator.messages(7) == []
        await gateway.say("hello")
        await gateway.ended(1)
        await client.Send(build_request("key-3", recipient))
        await wait_until(lambda: len(reports_of(service)) == 3)
        assert reports_of(service)[-1].state == DELIVERY_STATE_SENT
