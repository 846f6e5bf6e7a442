"""How much of a request the server takes from callers that it does not know."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from botgateway.chat.v1.reply_pb2 import Upload
from botgateway.delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from grpc import aio

from gateway.background import cancel_and_wait
from gateway.config.delivery_callers import load_callers
from gateway.delivery.authentication import ListedAccess
from tests.integration.delivery.harness import make_send, serve

REQUEST_BYTES = 50 * 10**6

MAX_TAKEN_BYTES = 10 * 10**6
"""What HTTP/2 and the buffers of the sockets may let a client send unasked."""


class CountingProxy:
    """Passes bytes on, and counts those that a client sends."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._serving: set[asyncio.Task[None]] = set()
        self.sent_bytes = 0

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[int]:
        """Listen inside the block, at the port that is returned."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]
        await cancel_and_wait(*self._serving)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        target, to_target = await asyncio.open_connection("127.0.0.1", self._target)
        answering = asyncio.create_task(_pass(target, writer, lambda _: None))
        try:
            await _pass(reader, to_target, self._count)
        finally:
            await cancel_and_wait(answering)
            for connection in (writer, to_target):
                connection.transport.abort()
                with contextlib.suppress(OSError):
                    await connection.wait_closed()
            self._serving.discard(task)

    def _count(self, number: int) -> None:
        self.sent_bytes += number


async def _pass(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    count: Callable[[int], None],
) -> None:
    with contextlib.suppress(OSError):
        while content := await reader.read(2**16):
            count(len(content))
            writer.write(content)
            await writer.drain()


async def send_large_request(tmp_path: Path, token: str) -> tuple[str, int]:
    """Send a large request. Return the status and the bytes that the server took."""
    (tmp_path / "token").write_text("a-token-of-the-shop")
    path = tmp_path / "callers.yaml"
    path.write_text(f"callers: [{{name: shop, tokens: [{{file: {tmp_path}/token}}]}}]")
    access = ListedAccess(lambda: load_callers(path, accepts_certificates=False))
    request = make_send()
    request.messages[0].media.add(upload=Upload(content=bytes(REQUEST_BYTES)))
    async with serve(access) as harness:
        proxy = CountingProxy(harness.port)
        async with (
            proxy.listen() as port,
            aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            client = DeliveryServiceStub(channel)
            try:
                await client.Send(
                    request, metadata=(("authorization", f"Bearer {token}"),)
                )
            except aio.AioRpcError as error:
                return error.code().name, proxy.sent_bytes
            return grpc.StatusCode.OK.name, proxy.sent_bytes


@pytest.mark.parametrize("token", ["", "another-token"])
async def test_the_request_of_an_unknown_caller_is_not_received(
    tmp_path: Path, token: str
) -> None:
    status, sent_bytes = await send_large_request(tmp_path, token)
    assert status == "UNAUTHENTICATED"
    assert sent_bytes < MAX_TAKEN_BYTES


async def test_that_of_a_known_caller_is(tmp_path: Path) -> None:
    """The control: the proxy counts."""
    status, sent_bytes = await send_large_request(tmp_path, "a-token-of-the-shop")
    assert status == "OK"
    assert sent_bytes > REQUEST_BYTES
