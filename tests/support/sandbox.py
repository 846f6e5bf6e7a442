"""The sandbox as a process, and what its users do without a browser."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.support.process import ROOT, SOURCES
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT, wait_until_found

TOKEN = "123456:token-of-a-bot-that-does-not-exist"


class Sandbox:
    """A running sandbox.

    Attributes:
        url: where its page is.
    """

    def __init__(self, url: str, client: aiohttp.ClientSession) -> None:
        self.url = url
        self._client = client

    async def do(self, name: str, **body: object) -> Any:  # noqa: ANN401 - any JSON
        """Do something as a user."""
        async with self._client.post(f"{self.url}/do/{name}", json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def call(self, method: str, **parameters: object) -> None:
        """Call the Bot API, as the bot itself does."""
        url = f"{self.url}/bot{TOKEN}/{method}"
        async with self._client.post(url, json=parameters) as response:
            assert response.status == 200, await response.text()

    async def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON
        """Get JSON."""
        async with self._client.get(self.url + path) as response:
            assert response.status == 200, await response.text()
            return await response.json()


@asynccontextmanager
async def running_sandbox(*arguments: str) -> AsyncIterator[Sandbox]:
    """Run `telegram-gateway sandbox` on free ports inside of the block.

    Args:
        arguments: more of the command line.
    """
    gateway, ops, simulator, samples = map(str, free_ports(4))
    ports = (
        ("--port", gateway),
        ("--ops-port", ops),
        ("--simulator-port", simulator),
        ("--samples-port", samples),
    )
    options = [word for pair in (*ports, ("--token", TOKEN)) for word in pair]
    async with (
        process("gateway", "sandbox", *options, *arguments) as sandbox,
        aiohttp.ClientSession() as client,
    ):

        async def is_up() -> bool:
            assert sandbox.returncode is None, "the sandbox ended"
            return await _answers(client, f"http://127.0.0.1:{gateway}/health")

        await wait_until_found(is_up)
        yield Sandbox(f"http://127.0.0.1:{simulator}", client)


@asynccontextmanager
async def process(*module: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Python module inside of the block; SIGTERM ends it."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": SOURCES,
        "LOG_LEVEL": "ERROR",
        # No test calls the internet: aiohttp need not read the authorities.
        "SSL_CERT_FILE": os.devnull,
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *module,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
        await asyncio.wait_for(running.wait(), LIMIT)


async def listens(port: int) -> bool:
    """Say whether something takes connections at a port of this machine."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def _answers(client: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with client.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False
