"""One contender at work: started, loaded in slices, and checked.

After every slice it is checked that the same work was done: each update led to one call
of the service and to one message at the Bot API, and Redis was asked.

Concurrency: contenders run all the time, but only one of them is under load.
"""

import asyncio
import sys
import time
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from benchmarks.children import cpu_seconds, free_ports, memory, program, tree, until
from benchmarks.lineup import Contender, settings_of
from benchmarks.load import Mark, Messages, connected, post
from benchmarks.processes import CONNECTIONS, SECRET, StandIns
from benchmarks.seen import Counts
from benchmarks.slices import Load, Slice, Work
from tests.support.redis_servers import RedisServer

USERS = 1000
"""Each speaks in turn, so that nobody speaks before the answer came."""

FIRST_USER = 3_000_000_000

IN_FLIGHT = 100
"""Updates without a message at any time, at saturation: Telegram's most connections.

More would be unfair to the contenders that use httpx: its pool looks through all
connections and all waiting requests for each request (httpcore 1.0).
"""

HANG_SECONDS = 5
HANGING = 200

_RUN_UP_SECONDS = 0.6
_RUN_UP_RATE = 100
"""Before each slice, not counted: connections are opened, caches filled."""

_LAST_WRITES_SECONDS = 0.05
_REDIS = "--appendonly yes --appendfsync everysec --maxmemory-policy noeviction"
_STRIDE = 7919
"""To who speaks next: a prime, so that all do, and no neighbours in memory in turn."""


class Entrant:
    """A running contender.

    Attributes:
        name: of the contender, and the number of workers if it is not 1.
        title: the same for people.
        port: where it takes updates.
        redis: its own; None: it needs none.
        work: what it was seen to do.
    """

    def __init__(
        self,
        contender: Contender,
        workers: int,
        processes: list[Process],
        port: int,
        around: StandIns,
        redis: RedisServer | None,
        *,
        users: int,
    ) -> None:
        self.contender, self.workers = contender, workers
        more = f" x{workers}" if workers > 1 else ""
        self.name = contender.name + more
        self.title = contender.title + more.replace(" x", ", workers: ")
        self._processes, self.port = processes, port
        self._around, self._users = around, users
        self.redis = redis
        self._messages = Messages("/webhook/telegram", SECRET)
        self.work, self._said = Work(), 0

    async def measure(self, load: Load) -> Slice:
        """Put a slice of load on it, and wait for the last message."""
        await self._run_up(load.rate or _RUN_UP_RATE)
        return await self._run("users", load.updates, load.rate)

    async def warm_up(self) -> None:
        """Let every user open a session."""
        await self._run("warm-up", USERS, None)

    async def beside_hanging(self, rate: float, updates: int) -> tuple[Slice, int]:
        """Measure users who come while others hang in a slow service.

        Those who hang come first, at the same rate, over the same connections.

        Returns:
            The others, and how many calls hung at least while they were served.
        """
        await self._run_up(rate)
        found = await self._run("users", updates, rate, hanging=HANGING)
        return found, self._least_hanging

    async def meet(self, users: int) -> tuple[int, int]:
        """Meet new users. Gives the bytes that this added to it and to its Redis."""
        # Those who came first fill what earlier loads have left free.
        await self._run("new", users // 2, None, first_user=4_000_000_000)
        before = await self._steady()
        await self._run("new", users, None, first_user=5_000_000_000)
        after = await self._steady()
        return after[0] - before[0], after[1] - before[1]

    def memory(self) -> int:
        """Give the bytes of memory of all its processes."""
        return sum(map(memory, self.pids))

    async def _run_up(self, rate: float) -> None:
        await self._run("run-up", round(rate * _RUN_UP_SECONDS), rate)

    async def _steady(self) -> tuple[int, int]:
        await asyncio.sleep(1.5)
        return self.memory(), self._redis_number("memory", "used_memory")

    async def _run(
        self,
        group: str,
        updates: int,
        rate: float | None,
        *,
        hanging: int = 0,
        first_user: int = 0,
    ) -> Slice:
        first, self._said = self._said, self._said + updates + hanging
        counts = await self._around.counts()
        commands = self._redis_number("stats", "total_commands_processed")

        def make(index: int, sent: float) -> bytes:
            user = first_user + index if first_user else self._user(first + index)
            if index < hanging:
                return self._messages.message(user, Mark("hang", sent, HANG_SECONDS))
            return self._messages.message(user, Mark(group, sent))

        total = updates + hanging
        async with connected(self.port, CONNECTIONS) as connections:
            own, redis, start = *self._cpu(), time.monotonic()
            if rate is None:
                async with self._around.window(IN_FLIGHT) as window:
                    answers = await post(connections, total, make, window=window)
            else:
                answers = await post(connections, total, make, rate=rate)
            await self._all_answered(counts.messages + total)
            took = time.monotonic() - start
            await asyncio.sleep(_LAST_WRITES_SECONDS)
            own, redis = (b - a for a, b in zip((own, redis), self._cpu(), strict=True))
        commands = self._redis_number("stats", "total_commands_processed") - commands
        self._check(counts, await self._around.counts(), total, commands)
        taken = await self._around.take()
        self._least_hanging = taken.least_hanging
        replies = taken.seconds[group]
        return Slice(own, redis, took, updates, list(answers), replies)

    async def _all_answered(self, messages: int) -> None:
        async def answered() -> bool:
            return (await self._around.counts()).messages >= messages

        await until(answered, f"the last message of {self.name}", within=60)

    def _check(
        self, before: Counts, after: Counts, updates: int, commands: int
    ) -> None:
        work = self.work
        messages = after.messages - before.messages
        calls = after.calls - before.calls
        work.updates += updates
        work.messages += messages
        work.calls += calls
        work.resolved += after.resolved - before.resolved
        work.redis_commands += commands
        right = messages == calls == updates and after.unmarked == before.unmarked
        if not right or after.repeated != before.repeated:
            raise RuntimeError(
                f"{self.name}: {updates} updates, {calls} calls, {messages} messages,"
                f" of them {after.unmarked - before.unmarked} of its own and"
                f" {after.repeated - before.repeated} repeated"
            )
        # Our own question is a command too.
        if self.contender.redis and commands - 1 < updates:
            raise RuntimeError(f"{self.name} asked Redis {commands} times only")

    def _user(self, number: int) -> int:
        return FIRST_USER + number * _STRIDE % self._users

    @property
    def pids(self) -> list[int]:
        """The ids of all its processes."""
        return [pid for each in self._processes for pid in tree(each.pid)]

    def _cpu(self) -> tuple[float, float]:
        own = sum(map(cpu_seconds, self.pids))
        return own, cpu_seconds(self.redis.pid) if self.redis else 0

    def _redis_number(self, section: str, name: str) -> int:
        if self.redis is None:
            return 0
        found = self.redis.ask(f"INFO {section}").partition(f"\r\n{name}:".encode())[2]
        return int(found.split()[0])


@asynccontextmanager
async def entered(
    contender: Contender, workers: int, around: StandIns, users: int = USERS
) -> AsyncIterator[Entrant]:
    """Run a contender inside of the block, with a Redis of its own if it needs one."""
    port, ops_port = free_ports(2)
    settings = settings_of(contender, workers, port, ops_port, around)
    command = contender.command(workers)
    words = [word.replace("$PORT", str(port)) for word in command.words]
    async with AsyncExitStack() as stack:
        log = stack.enter_context(TemporaryFile())  # noqa: SIM115 - the stack closes it
        redis = None
        if contender.redis:
            directory = stack.enter_context(TemporaryDirectory())
            redis = RedisServer(Path(directory), _REDIS)
            redis.start()
            stack.callback(redis.kill)
            settings["REDIS_URL"] = redis.url
        processes = [
            await stack.enter_async_context(
                program(*words, settings=settings, stdout=log, stderr=STDOUT)
            )
            for _ in range(command.copies)
        ]

        async def listening() -> bool:
            if any(each.returncode is not None for each in processes):
                log.seek(0)
                raise RuntimeError(f"{contender.name}: {log.read()[-2000:].decode()}")
            with suppress(OSError):
                async with connected(port):
                    return True
            return False

        await until(listening, contender.name, contender.start_seconds)
        await asyncio.sleep(workers - 1)  # for those that start beside the first one
        try:
            yield Entrant(
                contender, workers, processes, port, around, redis, users=users
            )
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-2000:].decode())
            raise
