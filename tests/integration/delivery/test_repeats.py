"""A repeated request gets its delivery, although it would be refused if it were new."""

from pathlib import Path

import grpc
import pytest
from botgateway.delivery.v1.delivery_service_pb2 import (
    AmendRequest,
    CallRequest,
    Recipient,
)
from grpc import aio

from gateway.config.delivery_callers import load_callers
from gateway.delivery.authentication import ListedAccess
from gateway.delivery.bots import DeliveryBot
from gateway.domain.errors import StoreUnavailable
from gateway.domain.message_handles import MessageHandle, MessageHandles
from tests.integration.delivery.harness import make_send, serve

METADATA = (("authorization", "Bearer a-token-of-the-shop"),)


@pytest.fixture
def access(tmp_path: Path) -> ListedAccess:
    """Let in a caller who may ask for one delivery in a hundred seconds."""
    (tmp_path / "token").write_text("a-token-of-the-shop")
    path = tmp_path / "callers.yaml"
    path.write_text(f"""
callers:
  - name: shop
    tokens: [{{file: {tmp_path}/token}}]
    quota: {{per_second: 0.01, burst: 1}}
""")
    return ListedAccess(lambda: load_callers(path, accepts_certificates=False))


async def test_over_the_quota(access: ListedAccess) -> None:
    async with serve(access) as harness, harness.client() as client:
        first = await client.Send(make_send("a"), metadata=METADATA)
        again = await client.Send(make_send("a"), metadata=METADATA)
        assert again.is_repeated
        assert again.delivery_id == first.delivery_id
        for other in (make_send("a", "another text"), make_send("b")):
            with pytest.raises(aio.AioRpcError) as caught:
                await client.Send(other, metadata=METADATA)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("name", ["", "7", "shop"])
async def test_of_a_bot_that_is_gone(name: str) -> None:
    bots = [DeliveryBot(bot_id=7, name="shop")]
    request = make_send("a", telegram_user_id=5, bot=name)
    async with serve(bots=bots) as harness, harness.client() as client:
        first = await client.Send(request)
        bots.clear()
        again = await client.Send(request)
        assert (again.is_repeated, again.delivery_id) == (True, first.delivery_id)
        if name:  # the only bot needs no name
            bots.append(DeliveryBot(bot_id=8, name="other"))
            assert (await client.Send(request)).delivery_id == first.delivery_id


async def test_after_a_restart_a_bot_that_is_gone_is_known_by_its_id() -> None:
    bots = [DeliveryBot(bot_id=7, name="shop")]
    requests = [make_send(it, telegram_user_id=5, bot=it) for it in ("7", "shop")]
    async with serve(bots=bots) as harness, harness.client() as client:
        for request in requests:
            await client.Send(request)
        store = harness.store
    async with serve(bots=[]) as harness, harness.client() as client:
        harness.store.records = store.records
        assert (await client.Send(requests[0])).is_repeated
        with pytest.raises(aio.AioRpcError) as caught:
            await client.Send(requests[1])
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_an_amendment_by_a_bot_that_is_gone() -> None:
    bots = [DeliveryBot(bot_id=7)]
    handle = MessageHandles(["a secret"]).encode(MessageHandle(7, -1005, 55))
    request = AmendRequest(handle=handle, pin=True, idempotency_key="a")
    async with serve(bots=bots) as harness, harness.client() as client:
        await client.Amend(request)
        bots.clear()
        assert (await client.Amend(request)).is_repeated


async def test_a_method_that_is_not_allowed_any_more() -> None:
    methods = {"sendPoll"}
    request = CallRequest(
        recipient=Recipient(internal_user_id="u-1"),
        method="sendPoll",
        idempotency_key="a",
    )
    async with serve(call_methods=methods) as harness, harness.client() as client:
        await client.Call(request)
        methods.clear()
        assert (await client.Call(request)).is_repeated
        request.idempotency_key = "b"
        with pytest.raises(aio.AioRpcError) as caught:
            await client.Call(request)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_while_the_store_is_gone_it_is_not_refused(access: ListedAccess) -> None:
    """It is unknown whether it is a repetition."""
    async with serve(access) as harness, harness.client() as client:
        await client.Send(make_send("a"), metadata=METADATA)
        harness.store.error = StoreUnavailable("gone")
        with pytest.raises(aio.AioRpcError) as caught:
            await client.Send(make_send("a"), metadata=METADATA)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
