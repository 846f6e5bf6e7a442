"""What is done to a master and its replica."""

import asyncio
from collections.abc import Mapping

from tests.chaos.world import Break, World
from tests.support.redis_servers import WatchedRedis


class Failovers:
    """Faults of a Redis that Sentinels watch."""

    def __init__(self, world: World, redis: WatchedRedis) -> None:
        self._world = world
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
                await self._world.pause(0, 2)
            self._killed = True
            lag = self._world.rng.uniform(0.1, 0.5)
            # Turns are slow, so that mail waits that the replica did not get.
            with self._world.fault("bot_slow"), self._world.fault("failover"):
                self._world.bot_api.delay = 0.5
                await asyncio.to_thread(self._redis.fail_over, lag)
            self._world.bot_api.delay = 0
        return True
