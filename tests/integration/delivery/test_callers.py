from pathlib import Path

import grpc
import pytest
from botgateway.delivery.v1.delivery_service_pb2 import CancelRequest, GetRequest
from grpc import aio

from gateway.config.delivery_callers import load_callers
from gateway.delivery.authentication import ListedAccess
from tests.integration.delivery.harness import (
    Client,
    make_send,
    read_retry_seconds,
    serve,
)

SHOP = (("authorization", "Bearer a-token-of-the-shop"),)
NEWS = (("authorization", "bearer a-token-of-the-news"),)


@pytest.fixture
def access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ListedAccess:
    monkeypatch.setenv("SHOP", "a-token-of-the-shop")
    (tmp_path / "news").write_text("a-token-of-the-news")
    path = tmp_path / "callers.yaml"
    path.write_text(f"""
callers:
  - name: shop
    tokens: [{{env: SHOP}}]
    quota: {{per_second: 0.5, burst: 2}}
  - name: news
    tokens: [{{file: {tmp_path}/news}}]
    bots: [other]
    methods: [Send, Get]
""")
    return ListedAccess(lambda: load_callers(path, accepts_certificates=False))


async def get_status(client: Client, metadata: object) -> grpc.StatusCode:
    with pytest.raises(aio.AioRpcError) as caught:
        await client.Send(make_send(), metadata=metadata)  # type: ignore[arg-type]
    return caught.value.code()


async def test_a_token_names_the_caller(access: ListedAccess) -> None:
    async with serve(access) as harness, harness.client() as client:
        await client.Send(make_send(), metadata=SHOP)
        (stored,) = harness.store.deliveries.values()
        assert stored.caller == "shop"


@pytest.mark.parametrize(
    "value", ["", "Bearer ", "Bearer a-token", "Basic a-token-of-the-shop"]
)
async def test_callers_without_a_known_token_are_refused(
    access: ListedAccess, value: str
) -> None:
    async with serve(access) as harness, harness.client() as client:
        assert await get_status(client, None) is grpc.StatusCode.UNAUTHENTICATED
        metadata = (("authorization", value),)
        assert await get_status(client, metadata) is grpc.StatusCode.UNAUTHENTICATED
        assert harness.store.deliveries == {}


async def test_a_caller_uses_only_its_bots_and_methods(access: ListedAccess) -> None:
    async with serve(access) as harness, harness.client() as client:
        assert await get_status(client, NEWS) is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(aio.AioRpcError) as caught:
            await client.Cancel(CancelRequest(delivery_id="x"), metadata=NEWS)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_caller_sees_only_its_own_deliveries(access: ListedAccess) -> None:
    async with serve(access) as harness, harness.client() as client:
        sent = await client.Send(make_send(), metadata=SHOP)
        request = GetRequest(delivery_id=sent.delivery_id)
        await client.Get(request, metadata=SHOP)
        with pytest.raises(aio.AioRpcError) as caught:
            await client.Get(request, metadata=NEWS)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_used_up_quota_says_when_to_try_again(access: ListedAccess) -> None:
    async with serve(access) as harness, harness.client() as client:
        for key in ("a", "b"):
            await client.Send(make_send(key), metadata=SHOP)
        with pytest.raises(aio.AioRpcError) as caught:
            await client.Send(make_send("c"), metadata=SHOP)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert read_retry_seconds(caught.value) == 2
        harness.clock.move(2)
        await client.Send(make_send("c"), metadata=SHOP)


async def test_a_changed_file_is_loaded_again(
    access: ListedAccess, tmp_path: Path
) -> None:
    async with serve(access) as harness, harness.client() as client:
        (tmp_path / "news").write_text("another-token-of-the-news")
        access.reload_if_changed()
        assert await get_status(client, NEWS) is grpc.StatusCode.UNAUTHENTICATED
        metadata = (("authorization", "Bearer another-token-of-the-news"),)
        assert await get_status(client, metadata) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_token_file_that_appears_later_is_found(
    access: ListedAccess, tmp_path: Path
) -> None:
    """The callers' file that names it was refused before."""
    async with serve(access) as harness, harness.client() as client:
        path = tmp_path / "callers.yaml"
        path.write_text(path.read_text().replace("env: SHOP", f"file: {tmp_path}/late"))
        access.reload_if_changed()
        await client.Send(make_send(), metadata=SHOP)
        (tmp_path / "late").write_text("a-token-of-the-shop-2")
        access.reload_if_changed()
        assert await get_status(client, SHOP) is grpc.StatusCode.UNAUTHENTICATED


async def test_an_invalid_file_changes_nothing(
    access: ListedAccess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(access) as harness, harness.client() as client:
        path = tmp_path / "callers.yaml"
        text = path.read_text()
        path.write_text("callers: []")
        access.reload_if_changed()
        access.reload_if_changed()
        assert [it.message for it in caplog.records] == ["delivery_callers_rejected"]
        await client.Send(make_send(), metadata=SHOP)
        path.write_text(text.replace("env: SHOP", f"file: {tmp_path}/news2"))
        (tmp_path / "news2").write_text("a-token-of-the-shop-2")
        access.reload_if_changed()
        assert await get_status(client, SHOP) is grpc.StatusCode.UNAUTHENTICATED
