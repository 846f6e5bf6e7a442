"""What a benchmark runs: a gateway, and the stand-ins around it. All on loopback."""

import asyncio
import contextlib
import re
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from typing import Any

import msgspec

from benchmarks.children import START_SECONDS, child, free_ports, until
from benchmarks.load import HOST, Connection, Messages, connected, get, get_json
from benchmarks.seen import Counts, Taken

CONNECTIONS = 40
"""Bot API, setWebhook: max_connections, which is 40 unless it is set."""

SECRET = "benchmark-secret"
_WATCH_SECONDS = 0.005
_METRIC = re.compile(r"^(\w+(?:\{.*\})?) ([^ ]+)$", re.MULTILINE)
_OUTCOME = re.compile(r'^gateway_updates_total\{.*outcome="(\w+)"')


class StandIns:
    """The stand-ins' process; see `standins.py`.

    Attributes:
        services: the port of the services.
        json_services: the port where they take JSON over HTTP.
        bot_api: the port of the Bot API.
    """

    def __init__(
        self, process: Process, services: int, json_services: int, bot_api: int
    ) -> None:
        self.process = process
        self.services = services
        self.json_services = json_services
        self.bot_api = bot_api

    async def counts(self) -> Counts:
        """Tell how things are."""
        return msgspec.convert(await self._get("/counts"), Counts)

    async def page(self, path: str) -> Any:  # noqa: ANN401 - each page has a shape
        """Give a page of JSON."""
        return await self._get(path)

    async def take(self) -> Taken:
        """Give what was seen since this was called last."""
        return msgspec.convert(await self._get("/take"), Taken)

    @asynccontextmanager
    async def window(self, size: int) -> AsyncIterator[asyncio.Semaphore]:
        """Give a window for `post`: so many messages may be without their answer."""
        window = asyncio.Semaphore(size)

        async def watch() -> None:
            before = (await self.counts()).messages
            async with connected(self.bot_api) as [connection]:
                while True:
                    await asyncio.sleep(_WATCH_SECONDS)
                    counts = await get_json(connection, "/counts")
                    now = msgspec.convert(counts, Counts).messages
                    for _ in range(now - before):
                        window.release()
                    before = now

        async with asyncio.TaskGroup() as group:
            task = group.create_task(watch())
            try:
                yield window
            finally:
                task.cancel()

    async def _get(self, path: str) -> Any:  # noqa: ANN401 - each page has a shape
        async with connected(self.bot_api) as [connection]:
            return await get_json(connection, path)


class Gateway:
    """The gateway's process.

    Attributes:
        connections: what updates are posted over.
        messages: makes the requests to be posted.
    """

    def __init__(
        self, process: Process, ops_port: int, connections: list[Connection]
    ) -> None:
        self.process = process
        self.connections = connections
        self.messages = Messages("/webhook/telegram", SECRET)
        self._ops_port = ops_port

    async def metrics(self) -> dict[str, float]:
        """Give the metrics, by name and labels as they are written."""
        async with connected(self._ops_port) as [connection]:
            page = (await get(connection, "/metrics")).body.decode()
        return {name: float(value) for name, value in _METRIC.findall(page)}

    async def outcomes(self) -> dict[str, int]:
        """Tell how many updates ended how."""
        outcomes: dict[str, int] = {}
        for name, value in (await self.metrics()).items():
            if match := _OUTCOME.match(name):
                outcomes[match[1]] = outcomes.get(match[1], 0) + int(value)
        return outcomes

    async def idle(self) -> bool:
        """Tell whether no update waits and no user is served."""
        metrics = await self.metrics()
        waiting = metrics["gateway_queued_updates"]
        return not waiting and not metrics["gateway_active_actors"]


@asynccontextmanager
async def stand_ins(*module: str) -> AsyncIterator[StandIns]:
    """Run the stand-ins inside of the block: `standins.py` unless it is told which."""
    words = module or ("benchmarks.standins",)
    async with child(*words, stdin=PIPE, stdout=PIPE) as process:
        if process.stdout is None:
            raise RuntimeError("the stand-ins have no output")
        line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        yield StandIns(process, **msgspec.json.decode(line))


@asynccontextmanager
async def gateway(
    around: StandIns, output: int | None = None, /, **settings: str
) -> AsyncIterator[Gateway]:
    """Run a gateway inside of the block.

    Args:
        around: the services and the Bot API.
        output: the file descriptor that it logs to; else a temporary file.
        settings: what differs from the defaults, by the name of the variable.
    """
    port, ops_port = free_ports(2)
    names = ("CONVERSATION", "MATCHING", "NOTIFICATION", "PROFILE")
    settings = {
        "ENV_FILE": "",
        "TELEGRAM_BOT_TOKEN": "7:benchmark-token",
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "TELEGRAM_API_URL": f"http://{HOST}:{around.bot_api}",
        "PORT": str(port),
        "OPS_PORT": str(ops_port),
        **{f"{name}_TARGET": f"{HOST}:{around.services}" for name in names},
        **settings,
    }
    serve = ("gateway", "serve")
    with TemporaryFile() as log:
        try:
            async with child(
                *serve,
                settings=settings,
                stdout=log if output is None else output,
                stderr=STDOUT if output is None else log,
            ) as process:
                await until(lambda: _ready(process, ops_port), "the gateway's start")
                async with connected(port, CONNECTIONS) as connections:
                    yield Gateway(process, ops_port, connections)
        except Exception:
            log.seek(0)
            sys.stderr.write(b"".join(log.readlines()[-5:]).decode())
            raise


async def _ready(process: Process, ops_port: int) -> bool:
    if process.returncode is not None:
        raise RuntimeError(f"the gateway ended with code {process.returncode}")
    with contextlib.suppress(OSError):
        async with connected(ops_port) as [connection]:
            return (await get(connection, "/ready")).status == 200
    return False
