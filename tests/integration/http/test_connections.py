"""A server with a bound on its connections, in the hands of strangers."""

import asyncio
import errno
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.http import connections
from gateway.http.connections import ConnectionCounts
from gateway.http.server import serve_http
from gateway.workers import aggregation
from gateway.workers.aggregation import AggregatedEndpoints
from gateway.workers.file_descriptors import divide_descriptors
from tests.support.floods import is_closed, silent_connections
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT, wait_until

HOST = "127.0.0.1"


class Server:
    """A server with one page, which answers when it may."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.counts = ConnectionCounts()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer."""
        self.asked += 1
        await self.may_answer.wait()
        return web.Response(text="the page")

    async def get(self, client: aiohttp.ClientSession) -> str:
        """Get the page."""
        async with client.get(f"http://{HOST}:{self.port}/page") as response:
            return await response.text()


@asynccontextmanager
async def serving(most_connections: int) -> AsyncIterator[Server]:
    """Serve with a bound."""
    (port,) = free_ports(1)
    server = Server(port)
    pages = {("GET", "/page"): server.answer}
    async with serve_http(
        pages, HOST, port, max_connections=most_connections, counts=server.counts
    ):
        yield server


async def test_silent_connections_make_room_for_one_that_asks() -> None:
    """The oldest are closed first; no more are open than the bound allows."""
    async with (
        serving(10) as server,
        silent_connections(server.port, 50) as silent,
        aiohttp.ClientSession() as client,
    ):
        assert await server.get(client) == "the page"
        await wait_until(lambda: sum(map(is_closed, silent)) >= 41)
        closed = [is_closed(it) for it in silent]
        assert closed == sorted(closed, reverse=True)
        assert server.counts.evicted == sum(closed) < 45


async def test_a_connection_in_use_is_never_closed_for_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Those with a request under way keep the others waiting until they are done."""
    async with serving(3) as server, aiohttp.ClientSession() as client:
        server.may_answer.clear()
        asking = [asyncio.create_task(server.get(client)) for _ in range(3)]
        await wait_until(lambda: server.asked == 3)
        async with aiohttp.ClientSession() as other:
            late = asyncio.create_task(server.get(other))
            await wait_until(lambda: "too_many_connections" in caplog.text)
            assert server.asked == 3
            server.may_answer.set()
            assert await asyncio.gather(*asking, late) == ["the page"] * 4
        assert server.counts.failed_accepts == 0


async def test_strangers_go_before_those_who_asked() -> None:
    """A kept connection, as Telegram has them, outlives a flood of silent ones."""
    async with serving(10) as server, aiohttp.ClientSession() as client:
        await server.get(client)
        async with silent_connections(server.port, 50):
            await wait_until(lambda: server.counts.evicted >= 41)
            before = server.counts.evicted
            assert await server.get(client) == "the page"
            assert server.counts.evicted == before  # over the same connection


async def test_a_connection_that_stays_silent_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether it sends nothing or half of a request; one that asked stays."""
    monkeypatch.setattr(connections, "FIRST_REQUEST_SECONDS", 1)
    async with (
        serving(10) as server,
        aiohttp.ClientSession() as client,
        silent_connections(server.port, 2) as silent,
    ):
        await server.get(client)
        silent[1].send(b"GET /page HTTP/1.1\r\nHost: x\r\n")
        await wait_until(lambda: all(map(is_closed, silent)))
        assert server.counts.evicted == 0
        assert await server.get(client) == "the page"


async def test_a_failing_accept_is_one_line_and_heals(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without descriptors CPython would log thousands of lines a second."""
    fails = True
    accept = socket.socket.accept

    def scarce(listener: socket.socket) -> object:
        if fails:
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", scarce)
    monkeypatch.setattr(connections, "_PAUSE_SECONDS", 0.01)
    async with serving(10) as server, aiohttp.ClientSession() as client:
        getting = asyncio.create_task(server.get(client))
        await wait_until(lambda: server.counts.failed_accepts >= 20)
        assert {it.message for it in caplog.records} == {"connection_not_accepted"}
        assert len(caplog.records) < 15  # one a second
        fails = False
        assert await getting == "the page"


async def test_a_failing_accept_is_not_repeated_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection stays where it is, and would wake the event loop in each turn."""

    def scarce(_: socket.socket) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket.socket, "accept", scarce)
    monkeypatch.setattr(connections, "_PAUSE_SECONDS", 10**6)
    async with serving(10) as server:
        with socket.create_connection((HOST, server.port)):
            await wait_until(lambda: server.counts.failed_accepts)
            for _ in range(100):
                await asyncio.sleep(0)
            assert server.counts.failed_accepts == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,  # TLS
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /\xff\xfe HTTP/9.9\r\n\r\n",
        b"\0" * 100,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_no_error(
    garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted, and one line tells of many."""
    caplog.set_level(logging.INFO)
    async with serving(100) as server, aiohttp.ClientSession() as client:
        for _ in range(20):
            reader, writer = await asyncio.open_connection(HOST, server.port)
            writer.write(garbage)
            await reader.read()
            writer.close()
        assert await server.get(client) == "the page"
        assert [
            it.levelname for it in caplog.records if it.levelno > logging.INFO
        ] == []
        assert len(caplog.records) < 15  # one a second
        assert b"nonsense" not in caplog.text.encode()


async def test_a_fault_of_a_page_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """What we got wrong must not look like a stranger's garbage."""

    async def fail(request: web.BaseRequest) -> web.Response:
        raise KeyError("hush")

    (port,) = free_ports(1)
    async with (
        serve_http({("GET", "/"): fail}, HOST, port),
        aiohttp.ClientSession() as client,
        client.get(f"http://{HOST}:{port}/") as response,
    ):
        assert response.status == 500
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("ERROR", "request_failed")
    assert vars(record)["error"].startswith("KeyError < ")


@pytest.mark.parametrize("limit", [64, 256, 1024, 4096, 65_536, 1_000_000])
def test_all_shares_together_leave_a_reserve(limit: int) -> None:
    """Redis, services and probes find a descriptor whatever strangers do."""
    shares = divide_descriptors(limit)
    assert min(shares) > 0
    assert sum(shares) <= limit - limit // 4 or limit > 65_536


SCARCE = """
import asyncio, resource, sys
from pathlib import Path
from gateway.workers.aggregation import AggregatedEndpoints

async def main():
    whole = AggregatedEndpoints([Path(sys.argv[1])], lambda: [0])
    opened = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            opened.append(open("/dev/null"))
    except OSError:
        pass
    print(await whole.find_unresponsive())
    opened.clear()
    print(await whole.find_unresponsive())

asyncio.run(main())
"""


async def test_who_cannot_ask_blames_nobody(tmp_path: Path) -> None:
    """Without descriptors nothing is known of a worker; it would be killed for it."""
    asking = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCARCE,
        tmp_path / "nobody",
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(asking.communicate(), LIMIT)
    assert output.splitlines() == [b"set()", b"{0}"]


async def test_who_stood_still_blames_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An answer that comes while this process stands still is not late."""
    monkeypatch.setattr(aggregation, "WORKER_TIMEOUT_SECONDS", 0.2)
    path = tmp_path / "0"
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen()  # and nobody accepts
        asking = asyncio.create_task(
            AggregatedEndpoints([path], lambda: [0]).find_unresponsive()
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(0.5)
        assert await asking == set()
