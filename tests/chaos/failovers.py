"""What is done to a master and its replica."""

import asyncio
from collections.abc import Mapping

from tests.chaos.harness import Break, ChaosHarness
from tests.support.redis_servers import WatchedRedis


class Failovers:
    """Faults of a Redis that Sentinels watch."""

    def __init__(self, harness: ChaosHarness, redis: WatchedRedis) -> None:
        self._harness = harness
        self._redis = redis
        self._breaking = asyncio.Lock()
        self._killed = False

    @property
    def by_name(self) -> Mapping[str, Break]:
        return {"failover": self.failover}

    async def failover(self) -> bool:
        """Let the replica take over that lacks what the master accepted last.

        The one that was killed comes back as a replica when it is needed again.
        """
        async with self._breaking:
            if self._killed:
                await asyncio.to_thread(self._redis.restore)
                await self._harness.pause(0, 2)
            self._killed = True
            lag = self._harness.rng.uniform(0.1, 0.5)
            # Turns are slow, so that updates wait that the replica did not get.
            with self._harness.fault("bot_slow"), self._harness.fault("failover"):
                self._harness.bot_api.delay = 0.5
                await asyncio.to_thread(self._redis.fail_over, lag)
            self._harness.bot_api.delay = 0
        return True
