"""Who gets a port, and who does not."""

import asyncio

import pytest
from aiohttp import web

from gateway.domain.errors import Faults
from gateway.ops import listening, reserved
from tests.ports import free_ports

HOST = "127.0.0.1"
IN_USE = "Address already in use"


def nothing(app: web.Application) -> None:
    """Add no routes."""


async def test_a_reserved_port_is_open_to_those_who_share_it() -> None:
    """Before anybody listens there, others are refused already."""
    (port,) = free_ports(1)
    async with reserved(HOST, port):
        for other in (reserved(HOST, port), listening([nothing], HOST, port)):
            with pytest.raises(Faults, match=f"{HOST}:{port}: {IN_USE}"):
                await other.__aenter__()
        async with (
            listening([nothing], HOST, port, shared=True),
            listening([nothing], HOST, port, shared=True),
        ):
            _, writer = await _connect(port)
            writer.close()
            await writer.wait_closed()
            with pytest.raises(Faults, match=IN_USE):
                await reserved(HOST, port).__aenter__()


async def test_a_port_in_use_cannot_be_reserved() -> None:
    """Whether its owner would share it or not."""
    (port,) = free_ports(1)
    for shared in (False, True):
        async with listening([nothing], HOST, port, shared=shared):
            with pytest.raises(Faults, match=IN_USE):
                await reserved(HOST, port).__aenter__()


async def test_a_port_is_free_again_at_once() -> None:
    """Connections that were closed a moment ago are no obstacle to the next start."""
    (port,) = free_ports(1)
    for _ in range(2):
        async with reserved(HOST, port), listening([nothing], HOST, port, shared=True):
            reader, writer = await _connect(port)
            writer.write(b"nonsense\r\n\r\n")
            assert await reader.read()  # the server answers and closes first
            writer.close()
            await writer.wait_closed()


async def test_a_host_that_does_not_exist_is_a_fault() -> None:
    """One clear line, in whatever way it cannot be had."""
    for host in ("no.such.host.invalid", "192.0.2.1", "a" * 64 + ".example"):
        with pytest.raises(Faults, match="cannot listen on"):
            await reserved(host, 8000).__aenter__()


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(HOST, port)
