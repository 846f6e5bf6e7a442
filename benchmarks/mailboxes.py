"""What Redis costs: the same gateway with its mailboxes in Redis and in memory.

    python -m benchmarks.mailboxes [--rounds N] [--only cost|idle|users]

Two gateways run beside each other, one of them with a Redis that writes an append-only
file every second. In every round each gets the same loads, in turns, and the order
changes from round to round. Counted is processor time (user and system, all threads)
of the whole gateway and of Redis, per update from the webhook to the answer at the Bot
API: unlike time on the wall it does not depend on who else uses the cores.

Then, with the same processes: the round trips to Redis that an update of an idle user
takes, and what is used while nothing comes in. At last, with a Redis of their own, the
bytes that idle users take there, and what is left of them when their time has passed.

Ends with 1 if a limit is exceeded, or an update ended otherwise than with its answer.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.children import cpu_seconds, run, stolen_seconds, until
from benchmarks.idle_users import idle_users
from benchmarks.load import Mark, post
from benchmarks.processes import Gateway, StandIns, gateway, stand_ins
from benchmarks.tables import print_machine, print_table
from tests.support.redis_servers import RedisServer

USERS = 5000
"""Each speaks in turn, so that nobody speaks before the answer came."""

IN_FLIGHT = 250
"""Messages without an answer at any time, at saturation."""

IDLE_SECONDS = 30
ALONE = 300
"""Updates that are sent one after the other, to count round trips."""

_COMMIT_SECONDS = 0.05
"""After the last answer, for the last commit."""

_FIRST_USER = 3_000_000_000


class Load(NamedTuple):
    """A load, and what Redis may cost under it.

    Attributes:
        name: for people.
        rate: updates per second; None: as fast as they are answered.
        updates: how many in a portion. The gateways get portions in turns, so that what
            else goes on in the machine meets both.
        portions: how many each of them gets.
        more: microseconds that an update may take the gateway longer.
        redis: microseconds that it may take Redis.
    """

    name: str
    rate: float | None
    updates: int
    portions: int = 1
    more: float | None = None
    redis: float | None = None


LOADS = (
    Load("saturation", None, 2500, 4, more=150, redis=100),
    Load("500/s", 500, 1000, 5),
    Load("100/s", 100, 200, 10, more=450),
)


class Cost(NamedTuple):
    """What some updates cost, in seconds.

    Attributes:
        gateway: of processor time of the gateway.
        redis: of processor time of Redis.
        took: on the wall.
        updates: how many.
    """

    gateway: float = 0
    redis: float = 0
    took: float = 0
    updates: int = 0

    def plus(self, other: "Cost") -> "Cost":
        """Add the cost of others."""
        return Cost(
            self.gateway + other.gateway,
            self.redis + other.redis,
            self.took + other.took,
            self.updates + other.updates,
        )

    def each(self, seconds: float) -> float:
        """Give the microseconds per update."""
        return seconds / self.updates * 1e6


class Pair(NamedTuple):
    """One round of a load."""

    memory: Cost
    redis: Cost
    stolen: float

    @property
    def more(self) -> float:
        """How much longer an update takes the gateway, in microseconds."""
        return self.redis.each(self.redis.gateway) - self.memory.each(
            self.memory.gateway
        )

    @property
    def own(self) -> float:
        """How long an update takes Redis, in microseconds."""
        return self.redis.each(self.redis.redis)


class Comparison:
    """The benchmark, on running processes."""

    def __init__(
        self, memory: Gateway, redis: Gateway, server: RedisServer, around: StandIns
    ) -> None:
        self.memory = memory
        self.redis = redis
        self.server = server
        self._around = around
        self._said = 0

    async def warm_up(self) -> None:
        """Let every user open a session with both."""
        for each in (self.memory, self.redis):
            await self.measure(each, Load("warm-up", None, USERS))

    async def pair(self, load: Load, *, memory_first: bool) -> Pair:
        """Measure both, in turns."""
        stolen = stolen_seconds()
        memory, redis = Cost(), Cost()
        for number in range(load.portions):
            if memory_first == (number % 2 == 0):
                memory = memory.plus(await self.measure(self.memory, load))
                redis = redis.plus(await self.measure(self.redis, load))
            else:
                redis = redis.plus(await self.measure(self.redis, load))
                memory = memory.plus(await self.measure(self.memory, load))
        return Pair(memory, redis, (stolen_seconds() - stolen) * 1000)

    async def measure(self, each: Gateway, load: Load, in_flight: int = 0) -> Cost:
        """Let users speak, and wait for the last answer."""
        first, before = self._said, (await self._around.counts()).messages
        self._said += load.updates

        def make(index: int, sent: float) -> bytes:
            user = _FIRST_USER + (first + index) % USERS
            return each.messages.message(user, Mark("users", sent))

        async def all_answered() -> bool:
            return (await self._around.counts()).messages == before + load.updates

        start, *cpu = time.monotonic(), *self._cpu(each)
        if load.rate is None:
            async with self._around.window(in_flight or IN_FLIGHT) as window:
                await post(each.connections, load.updates, make, window=window)
        else:
            await post(each.connections, load.updates, make, rate=load.rate)
        await until(all_answered, "the last answer")
        took = time.monotonic() - start
        await asyncio.sleep(_COMMIT_SECONDS)
        own, redis = (b - a for a, b in zip(cpu, self._cpu(each), strict=True))
        await self._around.take()
        return Cost(own, redis, took, load.updates)

    async def idle(self, seconds: float) -> tuple[float, float, float, float]:
        """Do nothing. Gives per cent of a core, and reads of Redis per second.

        The cores are those of the gateway with memory, of the one with Redis, and of
        Redis.
        """
        memory, (redis, server) = self._cpu(self.memory)[0], self._cpu(self.redis)
        reads, start = self.reads(), time.monotonic()
        await asyncio.sleep(seconds)
        took = time.monotonic() - start
        now = (self._cpu(self.memory)[0], *self._cpu(self.redis))
        used = [b - a for a, b in zip((memory, redis, server), now, strict=True)]
        # One read is that of our own question.
        return (
            used[0] / took * 100,
            used[1] / took * 100,
            used[2] / took * 100,
            (self.reads() - reads - 1) / took,
        )

    async def round_trips(self, reads_per_second: float) -> float:
        """Count the batches that Redis reads per update, without those of sweeps."""
        reads, start = self.reads(), time.monotonic()
        await self.measure(self.redis, Load("alone", None, ALONE), in_flight=1)
        sweeps = reads_per_second * (time.monotonic() - start)
        return (self.reads() - reads - 1 - sweeps) / ALONE

    def reads(self) -> int:
        """Tell how often Redis read something from a connection."""
        stats = self.server.ask("INFO stats")
        return int(stats.partition(b"total_reads_processed:")[2].split()[0])

    def _cpu(self, each: Gateway) -> tuple[float, float]:
        return cpu_seconds(each.process.pid), cpu_seconds(self.server.pid)


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a Redis with the settings that docs/how-to/redis-durability.md recommends."""
    with TemporaryDirectory() as directory:
        server = RedisServer(
            Path(directory),
            "--appendonly yes --appendfsync everysec --maxmemory-policy noeviction",
        )
        server.start()
        try:
            yield server
        finally:
            server.kill()


async def compare(rounds: int, parts: set[str]) -> list[str]:
    """Measure and print what needs gateways. Gives what exceeds its limit."""
    settings = {"RATE_LIMIT_REQUESTS": "1000", "SESSION_LIMIT": "100000"}
    exceeded: list[str] = []
    with redis_server() as server:
        alone = await _idle_redis(server) if "idle" in parts else 0
        async with (
            stand_ins() as around,
            gateway(around, **settings) as memory,
            gateway(around, REDIS_URL=server.url, **settings) as redis,
        ):
            comparison = Comparison(memory, redis, server, around)
            await comparison.warm_up()
            if "cost" in parts:
                exceeded += await _cost(comparison, rounds)
            if "idle" in parts:
                exceeded += await _idle(comparison, alone)
            for each in (memory, redis):
                if set(outcomes := await each.outcomes()) != {"done"}:
                    exceeded.append(f"outcomes {outcomes}")
    return exceeded


async def _cost(comparison: Comparison, rounds: int) -> list[str]:
    pairs: dict[Load, list[Pair]] = {load: [] for load in LOADS}
    for number in range(rounds):
        for load in LOADS:
            pair = await comparison.pair(load, memory_first=number % 2 == 0)
            pairs[load].append(pair)
    heads = ["load", "round", "memory", "redis", "more", "Redis itself"]
    heads += ["updates/s", "busy %", "stolen"]
    rows: list[list[object]] = []
    exceeded = []
    for load, done in pairs.items():
        for number, pair in enumerate(done, 1):
            memory, redis = pair.memory, pair.redis
            figures = [memory.each(memory.gateway), redis.each(redis.gateway)]
            figures += [pair.more, pair.own, redis.updates / redis.took]
            figures += [redis.gateway / redis.took * 100, pair.stolen]
            rows.append([load.name, str(number), *map(round, figures)])
        for name, limit, found in (
            ("more for the gateway", load.more, [pair.more for pair in done]),
            ("for Redis", load.redis, [pair.own for pair in done]),
        ):
            if limit is not None and median(found) > limit:
                exceeded.append(f"{load.name}, us {name}: {_spread(found)}")
    print("Processor time in us per update: the gateway, and Redis\n")
    print_table(heads, rows)
    print()
    print_table(
        ["load", "more: median (min to max)", "Redis itself", "allowed"],
        [
            [
                load.name,
                _spread([pair.more for pair in done]),
                _spread([pair.own for pair in done]),
                f"{load.more or '-'}, {load.redis or '-'}",
            ]
            for load, done in pairs.items()
        ],
    )
    return exceeded


async def _idle_redis(server: RedisServer) -> float:
    """Give the per cent of a core that Redis takes before anybody connects."""
    start = cpu_seconds(server.pid)
    await asyncio.sleep(IDLE_SECONDS / 2)
    return (cpu_seconds(server.pid) - start) / (IDLE_SECONDS / 2) * 100


async def _idle(comparison: Comparison, alone: float) -> list[str]:
    memory, redis, server, reads = await comparison.idle(IDLE_SECONDS)
    trips = await comparison.round_trips(reads)
    print(f"\nWithout traffic, {IDLE_SECONDS} s, per cent of a core")
    print(f"gateway with memory: {memory:.2f}")
    print(f"gateway with Redis:  {redis:.2f} (allowed: 1)")
    print(f"Redis:               {server:.2f} (allowed: 0.5; alone: {alone:.2f})")
    print(f"\nround trips per update of an idle user: {trips:.2f} (allowed: 2)")
    limits = [("gateway", redis, 1), ("Redis", server, 0.5), ("trips", trips, 2.05)]
    return [f"{name}: {found:.2f}" for name, found, limit in limits if found > limit]


def _spread(values: list[float]) -> str:
    return f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


async def main(rounds: int, parts: set[str]) -> None:
    """Measure, print, judge."""
    print_machine()
    exceeded: list[str] = []
    if parts & {"cost", "idle"}:
        exceeded += await compare(rounds, parts)
    if "users" in parts:
        with redis_server() as server:
            exceeded += await idle_users(server)
    if exceeded:
        sys.exit("exceeded: " + "; ".join(exceeded))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=4)
    names = ("cost", "idle", "users")
    parser.add_argument("--only", choices=names, nargs="+", default=names)
    arguments = parser.parse_args()
    run(
        main(arguments.rounds, set(arguments.only)),
        within=300 + 150 * arguments.rounds,
    )
