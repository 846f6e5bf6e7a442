"""Gateway processes: started, broken and ended by their process id.

Concurrency: one event loop; whoever breaks a worker has marked it as busy before.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from benchmarks.load import connected, get
from tests.chaos.history import History, Span
from tests.chaos.network import Network
from tests.chaos.sender import Gate
from tests.chaos.standins import BotApi, Services
from tests.support.gateway_harness import SECRET, TOKEN
from tests.support.process import ROOT, SERVICES
from tests.support.tcp_ports import free_ports

START_SECONDS = 40.0
END_SECONDS = 25.0


class _Line(msgspec.Struct):
    """What is read of a line of the log."""

    time: str = ""
    level: str = ""
    message: str = ""
    update_id: int = 0
    outcome: str = ""
    ordering_key: str = ""


class Worker:
    """A gateway process in its place, and all that is around it alone.

    Attributes:
        number: its place.
        network: its way to Redis.
        services: the services that it calls.
        gate: its webhook.
        busy: something is done to it already.
        frozen: it is stopped by a signal.
    """

    def __init__(
        self, number: int, redis_port: int, history: History, logs: Path, module: str
    ) -> None:
        self.number = number
        self.network = Network(redis_port)
        self.services = Services(history, number, random.Random(number))
        port, self._ops_port = free_ports(2)
        self.gate = Gate(number, port)
        self.busy = False
        self.frozen = False
        self._logs = logs
        self._module = module
        self._starts = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        """Return whether there is a process."""
        return self._process is not None and self._process.returncode is None

    async def prepare(self) -> None:
        """Start what is around it."""
        await self.network.start()
        await self.services.start()

    async def clear(self) -> None:
        """End what is around it."""
        await self.network.stop()
        await self.services.stop()

    async def start(self, bot_api: BotApi, settings: Mapping[str, str]) -> None:
        """Start the process; return when it answers."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "generated")]),
            # No test calls the internet: aiohttp need not read the authorities.
            "SSL_CERT_FILE": os.devnull,
            **self._settings(bot_api),
            **settings,
        }
        self._starts += 1
        name = f"worker-{self.number}-{self._starts}"
        with (
            (self._logs / f"{name}.log").open("wb") as log,
            (self._logs / f"{name}.err").open("wb") as errors,
        ):
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._module, "serve"),
                env=environment,
                stdout=log,
                stderr=errors,
                cwd=ROOT,
            )
        await self._ready()
        self.gate.open = True

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does."""
        self.send(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)
        self.frozen = False

    async def kill(self) -> None:
        """End it at once."""
        self.send(signal.SIGKILL)
        await self.ended()

    async def ended(self) -> int:
        """Wait until it has ended, whyever; gives its exit code."""
        assert self._process is not None
        code = await self._process.wait()
        self.gate.open = False
        self.gate.close()
        return code

    async def terminate(self) -> int:
        """Ask it to end, and wait until it has; gives its exit code."""
        self.gate.open = False
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_SECONDS):
                return await self.ended()
        except TimeoutError:
            await self.kill()
            return -signal.SIGKILL

    async def _ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            if not self.running:
                name = f"worker-{self.number}-{self._starts}"
                errors = (self._logs / f"{name}.err").read_text()
                log = (self._logs / f"{name}.log").read_text()
                raise AssertionError(f"did not start: {errors[-2000:]}{log[-2000:]}")
            with contextlib.suppress(OSError):
                async with connected(self.gate.port) as (connection,):
                    if (await get(connection, "/health")).status == 200:
                        return
            assert time.monotonic() < end, "a worker does not answer"
            await asyncio.sleep(0.05)

    def _settings(self, bot_api: BotApi) -> dict[str, str]:
        return {
            "ENV_FILE": "",
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_WEBHOOK_SECRET": SECRET,
            "TELEGRAM_API_URL": bot_api.url(self.number),
            "PORT": str(self.gate.port),
            "OPS_PORT": str(self._ops_port),
            "REDIS_URL": self.network.url,
            "RATE_LIMIT_REQUESTS": "1000000",
            "DRAIN_TIMEOUT": "10",
            **{f"{name}_TARGET": self.services.target for name in SERVICES},
        }


_TO_MEMORY = "failover_started"
_FROM_MEMORY = "failover_ended"


def read_logs(logs: Path, history: History) -> None:
    """Note what the workers logged: outcomes, and what was worse than information."""
    read = msgspec.json.Decoder(_Line).decode
    for path in sorted(logs.glob("worker-*.log")):
        number = int(path.stem.split("-")[1])
        taking = Span("memory", 0, 0)
        for text in path.read_bytes().splitlines():
            try:
                line = read(text)
            except msgspec.MsgspecError:  # cut by the end of its process
                continue
            if line.outcome and line.message == "update":
                history.outcomes.append((line.update_id, line.outcome))
            _note_lost_lease(line, number, history)
            if line.message == _TO_MEMORY:
                start = _monotonic(line.time)
                taking = Span("memory", start, workers=frozenset({number}))
                history.memory.append(taking)
            elif line.message == _FROM_MEMORY:
                taking.end = _monotonic(line.time)
            if line.level in {"warning", "error", "critical"}:
                history.logged[f"{line.level}: {line.message}"] += 1
    for path in sorted(logs.glob("worker-*.err")):
        if errors := path.read_text(errors="replace").strip():
            history.logged["stderr: " + errors.splitlines()[-1]] += 1


def _note_lost_lease(line: _Line, worker: int, history: History) -> None:
    if line.message == "lease_lost":
        user = line.ordering_key.partition("/")[2]
        history.lost_leases.add((worker, user))


def _monotonic(utc: str) -> float:
    """Return the time of a line of the log as `time.monotonic` would have."""
    return datetime.fromisoformat(utc).timestamp() - time.time() + time.monotonic()
