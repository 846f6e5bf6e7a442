"""The network between a worker and Redis does what it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from tests.chaos.network import Network
from tests.support.waiting import wait_until


@asynccontextmanager
async def connected() -> AsyncIterator[
    tuple[Network, bytearray, asyncio.StreamReader, asyncio.StreamWriter]
]:
    """Connect through a network to a server that notes and echoes what it gets."""
    received = bytearray()
    serving: set[asyncio.Task[None] | None] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                received.extend(data)
                writer.write(data)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        serving.discard(asyncio.current_task())

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    network = Network(server.sockets[0].getsockname()[1])
    await network.start()
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", urlsplit(network.url).port
    )
    try:
        yield network, received, reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await network.stop()
        server.close()
        await wait_until(lambda: not serving)


async def test_held_requests_arrive_later_although_their_sender_has_gone() -> None:
    """That is what a worker has to fear that was cut off: its old commits arrive."""
    async with connected() as (network, received, reader, writer):
        writer.write(b"first")
        assert await reader.readexactly(5) == b"first"
        network.holding_requests = True
        writer.write(b" second")
        await writer.drain()
        writer.close()
        await asyncio.sleep(0.05)
        assert received == b"first"
        network.heal()
        await wait_until(lambda: received == b"first second")


async def test_held_answers_leave_the_request_done() -> None:
    """Redis did it; only the answer is missing."""
    async with connected() as (network, received, reader, writer):
        network.holding_answers = True
        writer.write(b"commit")
        await wait_until(lambda: received == b"commit")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
        network.heal()
        assert await reader.readexactly(6) == b"commit"


async def test_a_delay_that_ends_keeps_the_order() -> None:
    """What is sent without delay does not overtake what was sent with it."""
    async with connected() as (network, _, reader, writer):
        network.delay = 0.1
        writer.write(b"slow ")
        await asyncio.sleep(0.02)
        network.heal()
        writer.write(b"fast")
        assert await reader.readexactly(9) == b"slow fast"


async def test_a_reset_breaks_the_connection() -> None:
    async with connected() as (network, _, reader, writer):
        writer.write(b"x")
        await reader.readexactly(1)
        network.reset()
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)
