"""What is done to Redis, and to the workers' ways to it.

Concurrency: several faults run at a time, but Redis itself is broken by one of them.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping

from tests.chaos.excuses import PATIENCE
from tests.chaos.harness import Break, ChaosHarness
from tests.chaos.network import Network
from tests.chaos.workers import Worker
from tests.support.redis_servers import RedisServer


class StoreFaults:
    """Faults of the store.

    Args:
        harness: what is broken.
        redis: its Redis.
        longest_cut: how many seconds a worker may be without Redis. Below the patience
            of a put no two faults of Redis and of the ways there overlap, so that they
            do not add up to more.
        pauses: for how many seconds Redis is stopped.
    """

    def __init__(
        self,
        harness: ChaosHarness,
        redis: RedisServer,
        longest_cut: float,
        pauses: tuple[float, ...],
    ) -> None:
        self._harness = harness
        self._redis = redis
        self._rng = harness.rng
        self._longest_cut = longest_cut
        self._pauses = pauses
        self._breaking = asyncio.Lock()
        self._ways = (
            self._breaking if longest_cut < PATIENCE else contextlib.nullcontext()
        )

    @property
    def by_name(self) -> Mapping[str, Break]:
        return {
            "redis_term": lambda: self._restart_redis("redis_term", signal.SIGTERM),
            "redis_kill": lambda: self._restart_redis("redis_kill", signal.SIGKILL),
            "redis_pause": self.redis_pause,
            "script_flush": self.script_flush,
            "blackhole": lambda: self._cut("blackhole", requests=True),
            "deaf": lambda: self._cut("deaf", requests=False),
            "reset": self.reset,
            "delay": self.delay,
        }

    async def redis_pause(self) -> bool:
        """Stop Redis for a moment."""
        async with self._breaking:
            seconds = self._rng.choice(self._pauses or (0.3, 1.2))
            kind = "redis_pause" if seconds <= 2 else "redis_long_pause"
            with self._harness.fault(kind):
                os.kill(self._redis.pid, signal.SIGSTOP)
                try:
                    await asyncio.sleep(seconds)
                finally:
                    os.kill(self._redis.pid, signal.SIGCONT)
            await self._rest()
        return True

    async def script_flush(self) -> bool:
        """Make Redis forget its scripts, again and again."""
        with self._harness.fault("script_flush"):
            for _ in range(5):
                await self._harness.store.flush_scripts()
                await self._harness.pause(0.05, 0.3)
        return True

    async def reset(self) -> bool:
        """Break a worker's connections to Redis, again and again."""
        network, worker = self._network()
        async with self._ways:
            with self._harness.fault("reset", worker):
                for _ in range(5):
                    network.refusing = True
                    network.reset()
                    await self._harness.pause(0.02, 0.1)
                    network.heal()
                    await self._harness.pause(0, 0.2)
        return True

    async def delay(self) -> bool:
        """Make a worker's way to Redis slow."""
        network, worker = self._network()
        async with self._ways:
            with self._harness.fault("delay", worker):
                network.delay = self._rng.uniform(0.03, 0.3)
                await self._harness.pause(0.5, 2)
                network.heal()
        return True

    async def _restart_redis(self, kind: str, number: signal.Signals) -> bool:
        async with self._breaking:
            with self._harness.fault(kind):
                os.kill(self._redis.pid, number)
                await asyncio.to_thread(self._redis.end)
                await asyncio.to_thread(self._redis.start)
            await self._rest()
        return True

    async def _cut(self, kind: str, *, requests: bool) -> bool:
        """Hold back what goes between a worker and Redis: both ways, or the answers."""
        network, worker = self._network()
        async with self._ways:
            with self._harness.fault(kind, worker):
                network.holding_requests = requests
                network.holding_answers = True
                await self._harness.pause(0.3, self._longest_cut)
                network.heal()
            await self._rest()
        return True

    def _network(self) -> tuple[Network, Worker]:
        worker = self._harness.any_worker()
        return worker.network, worker

    async def _rest(self) -> None:
        """Keep one outage from growing into the next, if none may be long."""
        if self._longest_cut < PATIENCE:
            await asyncio.sleep(1)
