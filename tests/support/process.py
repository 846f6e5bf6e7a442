"""The gateway as a process of its own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from gateway.sandbox.server import Simulator
from tests.factories import build_message_json
from tests.support.backend import Backend, serving
from tests.support.gateway_harness import SECRET, TOKEN
from tests.support.services.samples import INSTALLED
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT, wait_until_found

ROOT = Path(__file__).parents[2]
GUEST = os.environ.get("PYTHONPATH", "")
"""The stubs of a service that is installed beside those of this repository, if any: see
`make guest`."""
SOURCES = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "generated"), GUEST]))
"""The import path of the gateway."""


@asynccontextmanager
async def program(
    *arguments: str,
    module: str = "gateway",
    settings: Mapping[str, str] | None = None,
    descriptors: int = 0,
    directory: Path = ROOT,
    output: int = asyncio.subprocess.PIPE,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `telegram-gateway` with these arguments; it is killed if it is left.

    Args:
        arguments: of the command line.
        module: what is run.
        settings: the environment; nothing of the tests' own gets through but what
            Python needs.
        descriptors: how many files it may have open, once it has raised its limit from
            half of that; 0: as many as the tests.
        directory: where it runs.
        output: the file descriptor of its standard output.
    """
    limit = 'ulimit -S -n $(($0 / 2)) && ulimit -H -n "$0" && exec "$@"'
    limited = ["sh", "-c", limit, str(descriptors)]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": SOURCES,
        "PYTHONUNBUFFERED": "1",
        "ENV_FILE": "",
        # No test calls the internet: aiohttp need not read the authorities.
        "SSL_CERT_FILE": os.devnull,
    }
    process = await asyncio.create_subprocess_exec(
        *(limited if descriptors else []),
        sys.executable,
        *("-P", "-m", module),  # the installed script has no other path either
        *arguments,
        env=environment | dict(settings or {}),
        stdout=output,
        stderr=asyncio.subprocess.PIPE,
        cwd=directory,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(
    *arguments: str, settings: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Run a command to its end; gives its exit code, output and errors."""
    async with program(*arguments, settings=settings) as process:
        output, errors = await asyncio.wait_for(process.communicate(), LIMIT)
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()


SERVICES = ("CONVERSATION", "MATCHING", "NOTIFICATION", "PROFILE")


class Process:
    """A gateway process with what is around it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        backend: Backend,
        simulator: Simulator,
        url: str,
    ) -> None:
        self.process = process
        self.backend = backend
        self.simulator = simulator
        self.url = url
        self._client = aiohttp.ClientSession()

    async def say(self, update_id: int, user: int, text: str = "hi") -> None:
        """Post a text message."""
        message = build_message_json(text, user=user)
        await self.update({"update_id": update_id, "message": message})

    async def update(self, update: dict[str, Any]) -> None:
        """Post an update."""
        body = json.dumps(update)
        headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
        url = f"{self.url}/webhook/telegram"
        async with self._client.post(url, data=body, headers=headers) as response:
            assert response.status == 200

    async def healthy(self) -> bool:
        """Return whether it answers."""
        try:
            async with self._client.get(f"{self.url}/health") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def has_started(self) -> bool:
        """Return whether it answers for the first time; fail if it ended instead."""
        if self.process.returncode is not None:
            output, errors = await self.process.communicate()
            raise AssertionError(f"{self.process.returncode}: {output!r} {errors!r}")
        return await self.healthy()

    async def close(self) -> None:
        """Close the connections to it."""
        await self._client.close()


def settings_of(target: str, api_url: str, port: int, ops_port: int) -> dict[str, str]:
    """Return the environment of a gateway process."""
    return {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "TELEGRAM_API_URL": api_url,
        "PORT": str(port),
        "OPS_PORT": str(ops_port),
        "DRAIN_TIMEOUT": "3",
        "RATE_LIMIT_REQUESTS": "1000",
        **{f"{name}_TARGET": target for name in INSTALLED.service_names},
        **{f"{name}_TIMEOUT": "30" for name in SERVICES},
    }


@asynccontextmanager
async def serving_process(
    settings: Mapping[str, str] | None = None,
    descriptors: int = 0,
    directory: Path = ROOT,
    command: tuple[str, ...] = ("gateway", "serve"),
) -> AsyncIterator[Process]:
    """Run `telegram-gateway serve` with services and a Bot API around it.

    Args:
        settings: what differs from `settings_of`.
        descriptors: as in `program`.
        directory: as in `program`.
        command: the module and its arguments.
    """
    backend, simulator = Backend(), Simulator(TOKEN)
    port, ops_port = free_ports(2)
    async with serving(backend) as target, simulator.serve() as api_url:
        chosen = settings_of(target, api_url, port, ops_port) | dict(settings or {})
        module, *arguments = command
        async with program(
            *arguments,
            module=module,
            settings=chosen,
            descriptors=descriptors,
            directory=directory,
        ) as process:
            running = Process(process, backend, simulator, f"http://127.0.0.1:{port}")
            try:
                await wait_until_found(running.has_started)
                yield running
            finally:
                await running.close()
