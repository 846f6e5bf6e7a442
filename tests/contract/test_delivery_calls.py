"""The rpcs that serve deliveries, over real gRPC."""

from collections.abc import AsyncIterator

import grpc
import pytest
from botgateway.delivery.v1.delivery_pb2 import DELIVERY_STATE_SENT, DeliveryStatus
from grpc import aio

from gateway.domain.errors import ServiceError
from gateway.services.call_limits import CallLimits
from gateway.services.channels import ServiceChannels
from gateway.services.delivery_calls import DeliveryCalls
from gateway.services.router import GrpcServiceRouter
from gateway.services.routing.route_table import RouteTable, build_route_table
from tests.support.services.delivery_routes import DeliveryRoutes, delivery_routes

STATUS = DeliveryStatus(
    delivery_id="abcdefghijklmno-", state=DELIVERY_STATE_SENT, sequence_number=3
)


@pytest.fixture
def service() -> DeliveryRoutes:
    """Return a service that is not serving yet."""
    return DeliveryRoutes()


@pytest.fixture
async def calls(service: DeliveryRoutes) -> AsyncIterator[DeliveryCalls]:
    """Yield the calls to the service."""
    server = aio.server()
    server.add_generic_rpc_handlers((service,))
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    table = build_route_table([delivery_routes()])
    limits = dict.fromkeys(table.service_names, CallLimits(5.0, 5.0))
    async with ServiceChannels(dict.fromkeys(table.service_names, target)) as channels:
        yield GrpcServiceRouter(table, channels, limits).delivery_calls
    await server.stop(None)


async def test_reports_arrive_in_one_request(
    calls: DeliveryCalls, service: DeliveryRoutes
) -> None:
    """The same reports have the same idempotency key."""
    other = DeliveryStatus(delivery_id="0123456789012345", sequence_number=1)
    assert calls.has_reports
    await calls.report([STATUS, other])
    await calls.report([STATUS, other])
    await calls.report([STATUS])
    assert [list(request.statuses) for _, request in service.asked] == [
        [STATUS, other],
        [STATUS, other],
        [STATUS],
    ]
    first, again, third = (it["x-request-id"] for it in service.metadata)
    assert first == again != third
    assert first.startswith("report-")


async def test_a_recipient_is_found_by_the_internal_id(
    calls: DeliveryCalls, service: DeliveryRoutes
) -> None:
    service.users = {"u-7": 7_000_000_000}
    assert await calls.find_recipient(4711, "u-7") == 7_000_000_000
    assert await calls.find_recipient(4711, "u-8") is None
    (name, request), _ = service.asked
    assert (name, request.internal_user_id) == ("FindRecipient", "u-7")
    assert request.context.bot.id == 4711
    assert request.context.request_id == service.metadata[0]["x-request-id"]


async def test_a_failure_of_the_service_is_one_of_the_call(
    calls: DeliveryCalls, service: DeliveryRoutes
) -> None:
    for name in ("ReceiveReports", "FindRecipient"):
        service.failures[name] = [grpc.StatusCode.INTERNAL]
    with pytest.raises(ServiceError) as report:
        await calls.report([STATUS])
    with pytest.raises(ServiceError) as recipient:
        await calls.find_recipient(4711, "u-7")
    for error in (report.value, recipient.value):
        assert "hush" not in str(error)
        assert "u-7" not in str(error)


async def test_without_the_routes_nothing_is_called() -> None:
    async with ServiceChannels({}) as channels:
        calls = GrpcServiceRouter(RouteTable(()), channels, {}).delivery_calls
    assert not calls.has_reports
    await calls.report([STATUS])
    assert await calls.find_recipient(4711, "u-7") is None
