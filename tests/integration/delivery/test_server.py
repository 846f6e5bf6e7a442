import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from botgateway.delivery.v1.delivery_service_pb2 import GetRequest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gateway.delivery.authentication import CertificateAccess
from gateway.delivery.server import ServerAddress, serve_deliveries
from gateway.delivery.tls import ServerTls, load_credentials
from gateway.domain.errors import ConfigurationError
from tests.integration.delivery.harness import make_send, serve
from tests.support.waiting import wait_until

CERTIFICATES = Path(__file__).parents[2] / "support" / "certificates"
SERVICE = "botgateway.delivery.v1.DeliveryService"


def read(name: str) -> bytes:
    return (CERTIFICATES / name).read_bytes()


async def test_health_is_served_and_watchers_learn_of_the_end() -> None:
    stack = AsyncExitStack()
    harness = await stack.enter_async_context(serve())
    async with aio.insecure_channel(f"127.0.0.1:{harness.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICE):
            request = health_pb2.HealthCheckRequest(service=service)
            found = await health.Check(request)
            assert found.status == health_pb2.HealthCheckResponse.SERVING
        watched = aiter(health.Watch(health_pb2.HealthCheckRequest(service=SERVICE)))
        first = await anext(watched)
        assert first.status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.create_task(stack.aclose())
        second = await anext(watched)
        assert second.status == health_pb2.HealthCheckResponse.NOT_SERVING
        await stopping


async def test_reflection_lists_the_service() -> None:
    async with (
        serve() as harness,
        aio.insecure_channel(f"127.0.0.1:{harness.port}") as channel,
    ):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        async for response in stub.ServerReflectionInfo(iter([request])):
            names = [it.name for it in response.list_services_response.service]
            assert SERVICE in names
            break


async def test_the_end_accepts_nothing_and_waits_for_a_running_rpc() -> None:
    stack = AsyncExitStack()
    harness = await stack.enter_async_context(serve())
    async with harness.client() as client, harness.client() as late_client:
        harness.store.gate.clear()
        running = client.Send(make_send())
        await wait_until(lambda: harness.store.waiting)
        stopping = asyncio.create_task(stack.aclose())
        status = None
        while status is not grpc.StatusCode.UNAVAILABLE:
            with pytest.raises(aio.AioRpcError) as caught:
                await late_client.Get(GetRequest(delivery_id="x"))
            status = caught.value.code()
        assert not stopping.done()
        harness.store.gate.set()
        assert (await running).delivery_id in harness.store.deliveries
        await stopping


async def test_a_delivery_of_a_client_that_gave_up_is_stored() -> None:
    """A cancelled put might leave a lease that nobody serves."""
    async with AsyncExitStack() as stack:
        harness = await stack.enter_async_context(serve())
        client = await stack.enter_async_context(harness.client())
        harness.store.gate.clear()
        running = client.Send(make_send())
        await wait_until(lambda: harness.store.waiting)
        running.cancel()
        await wait_until(lambda: harness.rpcs == [("Send", "CANCELLED")])
        stopping = asyncio.create_task(stack.pop_all().aclose())
        harness.store.gate.set()
        await stopping
        assert len(harness.store.deliveries) == 1


async def test_a_used_port_is_named() -> None:
    async with serve() as harness:
        address = ServerAddress(host="127.0.0.1", port=harness.port)
        with pytest.raises(ConfigurationError) as caught:
            async with serve_deliveries(address, harness.handlers, drain_seconds=1):
                pass
    (problem,) = caught.value.problems
    assert (
        problem == f"cannot listen on 127.0.0.1:{harness.port}: Address already in use"
    )


async def test_processes_can_share_a_port() -> None:
    async with serve() as harness:
        pass
    address = ServerAddress(host="127.0.0.1", port=harness.port, shares_port=True)
    async with (
        serve_deliveries(address, harness.handlers, drain_seconds=1),
        serve_deliveries(address, harness.handlers, drain_seconds=1),
        harness.client() as client,
    ):
        await client.Send(make_send())


async def test_a_client_without_a_certificate_is_refused() -> None:
    tls = ServerTls(
        certificate_file=CERTIFICATES / "server.pem",
        key_file=CERTIFICATES / "server.key",
        client_ca_file=CERTIFICATES / "ca.pem",
    )
    async with serve(CertificateAccess(), tls=tls) as harness:
        anonymous = grpc.ssl_channel_credentials(read("ca.pem"))
        async with harness.client(anonymous) as client:
            with pytest.raises(aio.AioRpcError) as caught:
                await client.Send(make_send())
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        known = grpc.ssl_channel_credentials(
            read("ca.pem"), read("client.key"), read("client.pem")
        )
        async with harness.client(known) as client:
            sent = await client.Send(make_send())
        (stored,) = harness.store.deliveries.values()
        assert stored.delivery_id == sent.delivery_id
        assert stored.caller not in {"", "local"}


def test_all_problems_of_the_tls_files_are_found(tmp_path: Path) -> None:
    tls = ServerTls(
        certificate_file=CERTIFICATES / "server.pem",
        key_file=CERTIFICATES / "client.key",
        client_ca_file=tmp_path / "missing",
    )
    with pytest.raises(ConfigurationError) as caught:
        load_credentials(tls)
    assert [it.partition(":")[0] for it in caught.value.problems] == [
        "DELIVERY_TLS_CERTIFICATE_FILE",
        "DELIVERY_TLS_CLIENT_CA_FILE",
    ]
