"""Everything that a run consists of: Redis, workers, services, Bot API, sender."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from msgspec import Struct, field

from gateway.background import cancel_and_wait
from tests.chaos.history import History, Span
from tests.chaos.sender import PER_USER, Sender
from tests.chaos.standins import BotApi, Updates
from tests.chaos.store import Store, client, watching
from tests.chaos.workers import Worker, read_logs
from tests.support.process import SERVICES
from tests.support.redis_servers import RedisServer, WatchedRedis

LATE_SECONDS = 0.25
"""A pause of this process that counts as a fault of the network."""

DONE_SECONDS = 60.0
"""How long it may take until all is done after the last fault and the last update."""

REDIS_OPTIONS = (
    "--appendonly yes --appendfsync everysec --maxmemory-policy noeviction"
    # Else the file of a long run takes seconds to read at a start.
    " --auto-aof-rewrite-min-size 8mb"
)


Break = Callable[[], Awaitable[bool]]
"""Does a fault. Returns False if there was nothing to do it to."""


class Setup(Struct, kw_only=True):
    """What a run is made of.

    Attributes:
        seed: of all that is random.
        workers: how many gateway processes.
        users: how many users act at a time.
        rate: updates per second, about.
        module: what is started as the gateway.
        settings: of the workers, beyond those of every run.
        worker_settings: further ones of single workers, by number.
        text: gives the text of the message with an id.
        per_user: how many updates each user sends.
        watched: Redis has a replica, and Sentinels watch both.
        call_seconds: how long calls of services take, at least and at most.
        service_timeout: how many seconds the workers wait for a service. Where no
            service fails, so many that no busy machine exceeds them.
    """

    seed: int
    workers: int = 4
    users: int = 200
    rate: float = 400
    module: str = "gateway"
    settings: Mapping[str, str] = field(default_factory=dict)
    worker_settings: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    text: Callable[[int], str] = lambda _: "hi"
    per_user: int = PER_USER
    watched: bool = False
    call_seconds: tuple[float, float] = (0.02, 0.03)
    service_timeout: float = 60


class ChaosHarness:
    """A run."""

    def __init__(self, setup: Setup, directory: Path) -> None:
        self.setup = setup
        self.rng = random.Random(setup.seed)
        self.history = History()
        self.redis: RedisServer | WatchedRedis
        timeout = str(setup.service_timeout)
        self._settings = {f"{name}_TIMEOUT": timeout for name in SERVICES}
        self._settings |= setup.settings
        port = 0
        if setup.watched:
            self.redis = WatchedRedis(directory)
            # No network lies between: who asks Sentinels gets the servers' own ports.
            # A put waits for longer than a failover takes, so that all promises hold.
            self._settings |= {"REDIS_URL": self.redis.url, "STORE_PATIENCE": "8"}
        else:
            self.redis = RedisServer(directory, REDIS_OPTIONS)
            port = self.redis.port
        self.store = Store(client(self.redis))
        self.bot_api = BotApi(self.history)
        self.workers = [
            Worker(number, port, self.history, directory, setup.module)
            for number in range(setup.workers)
        ]
        for worker in self.workers:
            worker.services.seconds = setup.call_seconds
        self.sender = Sender(
            self.history,
            [worker.gate for worker in self.workers],
            random.Random(setup.seed + 1),
            users=setup.users,
            rate=setup.rate,
            text=setup.text,
            per_user=setup.per_user,
        )
        self._nobody: Span | None = None

    async def start(self, worker: Worker) -> None:
        """Start a worker."""
        own = self.setup.worker_settings.get(worker.number, {})
        await worker.start(self.bot_api, self._settings | dict(own))
        self.look()

    @contextmanager
    def fault(self, kind: str, *workers: Worker) -> Iterator[Span]:
        """Note a fault that lasts as long as the block."""
        numbers = frozenset(worker.number for worker in workers) if workers else None
        span = Span(kind, time.monotonic(), workers=numbers)
        self.history.spans.append(span)
        self.look()
        try:
            yield span
        finally:
            span.end = time.monotonic()
            self.look()

    @contextmanager
    def taken(self) -> Iterator[Worker | None]:
        """Take a running worker that nothing is done to; None: there is none."""
        idle = [w for w in self.workers if w.gate.open and not w.busy]
        if not idle:
            yield None
            return
        worker = self.rng.choice(idle)
        worker.busy = True
        try:
            yield worker
        finally:
            worker.busy = False

    def any_worker(self) -> Worker:
        """Choose a worker, whatever is done to it."""
        return self.rng.choice(self.workers)

    async def pause(self, least: float, most: float) -> None:
        """Wait some seconds."""
        await asyncio.sleep(self.rng.uniform(least, most))

    def watch(self, mailboxes: int) -> None:
        """Look, and keep the load within what the machine can do."""
        self.sender.held = mailboxes > self.setup.users / 3
        self.look()

    def look(self) -> None:
        """Note whether there is anybody who could own a mailbox."""
        now = time.monotonic()
        cut = {
            number
            for span in self.history.spans
            if span.end > now and span.kind in {"blackhole", "deaf", "reset"}
            for number in span.workers or ()
        }
        able = any(
            worker.gate.open and not worker.frozen and worker.number not in cut
            for worker in self.workers
        )
        if able and self._nobody is not None:
            # It scans only after it has connected.
            self._nobody.end = now + 1
            self._nobody = None
        elif not able and self._nobody is None:
            self._nobody = Span("nobody", now)
            self.history.spans.append(self._nobody)

    async def finish(self) -> None:
        """Wait until all is done; end the workers and read what is left."""
        end = time.monotonic() + DONE_SECONDS
        while await self.store.count_mailboxes() and time.monotonic() < end:
            await asyncio.sleep(0.1)
        running = [worker for worker in self.workers if worker.running]
        codes = await asyncio.gather(*(worker.terminate() for worker in running))
        self.history.exits += codes
        self.history.left = await self.store.left()


@asynccontextmanager
async def running_harness(
    setup: Setup, directory: Path, updates: Updates | None = None
) -> AsyncIterator[ChaosHarness]:
    """Start everything; end all that was started, whatever happens.

    Args:
        setup: what the run is made of.
        directory: for its files.
        updates: answers getUpdates. None: updates are sent to the webhook.
    """
    made = ChaosHarness(setup, directory)
    made.bot_api.updates = updates
    async with AsyncExitStack() as stack:
        stack.callback(made.redis.kill)
        await asyncio.to_thread(made.redis.start)
        stack.push_async_callback(made.store.close)
        await made.bot_api.start()
        stack.push_async_callback(made.bot_api.stop)
        for worker in made.workers:
            await worker.prepare()
            stack.push_async_callback(worker.clear)
        stack.push_async_callback(_kill_all, made.workers)
        await asyncio.gather(*(made.start(worker) for worker in made.workers))
        await stack.enter_async_context(watching(made.store, made.history, made.watch))
        await stack.enter_async_context(_noting_lateness(made.history))
        yield made
    read_logs(directory, made.history)


@asynccontextmanager
async def _noting_lateness(history: History) -> AsyncIterator[None]:
    """Note when this process itself was late: all ways to Redis stood still then."""

    async def note() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(LATE_SECONDS / 5)
            now = time.monotonic()
            if now - began > LATE_SECONDS:
                history.spans.append(Span("harness_late", began, now))

    task = asyncio.create_task(note())
    try:
        yield
    finally:
        await cancel_and_wait(task)


async def _kill_all(workers: list[Worker]) -> None:
    for worker in workers:
        if worker.running:
            await worker.kill()
