"""Who gets a port, and who does not."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from gateway.domain.errors import ConfigurationError
from gateway.http.server import HealthEndpoints, reserve_port, serve_http
from tests.support.tcp_ports import free_ports

HOST = "127.0.0.1"
IN_USE = "Address already in use"


async def test_a_reserved_port_is_open_to_those_who_share_it() -> None:
    """Before anybody listens there, others are refused already."""
    (port,) = free_ports(1)
    async with reserve_port(HOST, port):
        for other in (reserve_port(HOST, port), serve_http({}, HOST, port)):
            with pytest.raises(ConfigurationError, match=f"{HOST}:{port}: {IN_USE}"):
                await other.__aenter__()
        async with (
            serve_http({}, HOST, port, reuse_port=True),
            serve_http({}, HOST, port, reuse_port=True),
        ):
            _, writer = await _connect(port)
            writer.close()
            await writer.wait_closed()
            with pytest.raises(ConfigurationError, match=IN_USE):
                await reserve_port(HOST, port).__aenter__()


async def test_a_port_in_use_cannot_be_reserved() -> None:
    """Whether its owner would share it or not."""
    (port,) = free_ports(1)
    for shared in (False, True):
        async with serve_http({}, HOST, port, reuse_port=shared):
            with pytest.raises(ConfigurationError, match=IN_USE):
                await reserve_port(HOST, port).__aenter__()


async def test_a_port_is_free_again_at_once() -> None:
    """Connections that were closed a moment ago are no obstacle to the next start."""
    (port,) = free_ports(1)
    for _ in range(2):
        async with (
            reserve_port(HOST, port),
            serve_http({}, HOST, port, reuse_port=True),
        ):
            reader, writer = await _connect(port)
            writer.write(b"nonsense\r\n\r\n")
            assert await reader.read()  # the server answers and closes first
            writer.close()
            await writer.wait_closed()


async def test_a_host_that_does_not_exist_is_a_fault() -> None:
    """One clear line, in whatever way it cannot be had."""
    for host in ("no.such.host.invalid", "192.0.2.1", "a" * 64 + ".example"):
        with pytest.raises(ConfigurationError, match="cannot listen on"):
            await reserve_port(host, 8000).__aenter__()


async def test_pages_are_found_by_method_and_path() -> None:
    """Whoever asks for a page's head gets it; all else is refused."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text="the page")

    (port,) = free_ports(1)
    pages = {("GET", "/page"): answer, ("POST", "/form"): answer}
    async with (
        serve_http(pages, HOST, port),
        aiohttp.ClientSession(f"http://{HOST}:{port}") as client,
    ):
        for method, path, status in (
            ("GET", "/page", 200),
            ("GET", "/page?a=1", 200),
            ("GET", "/%70age", 200),
            ("HEAD", "/page", 200),
            ("POST", "/form", 200),
            ("GET", "/form", 405),
            ("HEAD", "/form", 405),
            ("POST", "/page", 405),
            ("GET", "/", 404),
            ("GET", "/page/", 404),
            ("GET", "/page%2F", 404),
        ):
            async with client.request(method, path) as response:
                assert (method, path, response.status) == (method, path, status)
                body = await response.text()
                assert (body == "the page") == (status == 200 and method != "HEAD")
                allowed = {"/page": "GET,HEAD", "/form": "POST"}.get(path)
                assert response.headers.get("Allow") == (
                    allowed if status == 405 else None
                )


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(HOST, port)


async def test_no_answer_tells_which_libraries_made_it() -> None:
    """Neither a page nor an error, and not one for what is no HTTP."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text="page")

    (port,) = free_ports(1)
    async with serve_http({("GET", "/page"): answer}, HOST, port):
        for line in (b"GET /page HTTP/1.1", b"GET /none HTTP/1.1", b"nonsense"):
            reader, writer = await _connect(port)
            writer.write(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
            said = (await reader.read()).lower()
            writer.close()
            await writer.wait_closed()
            assert said.startswith(b"http/1."), line
            assert b"server:" not in said
            assert b"python" not in said


async def test_strangers_learn_the_status_and_operators_the_rest() -> None:
    """What a gateway runs on and how long its queues are is nobody else's business."""
    (port,) = free_ports(1)
    ops = HealthEndpoints(
        health=lambda: {"status": "degraded", "version": "7", "queued_updates": 3},
        ready=lambda: {"ready": True},
        metrics=lambda: b"",
    )
    for pages, said in (
        (ops.public, '{"status":"degraded"}'),
        (ops.internal, '{"status":"degraded","version":"7","queued_updates":3}'),
    ):
        async with (
            serve_http(pages, HOST, port),
            aiohttp.ClientSession() as client,
            client.get(f"http://{HOST}:{port}/health") as response,
        ):
            assert await response.text() == said
