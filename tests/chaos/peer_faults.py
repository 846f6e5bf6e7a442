"""What is done to the services and to the Bot API."""

import asyncio
from collections.abc import Mapping

from tests.chaos.harness import Break, ChaosHarness
from tests.chaos.workers import Worker


class PeerFaults:
    """Faults of those whom the gateway calls."""

    def __init__(self, harness: ChaosHarness) -> None:
        self._harness = harness
        self._rng = harness.rng

    @property
    def by_name(self) -> Mapping[str, Break]:
        return {
            "service_hang": self.service_hang,
            "service_refuse": self.service_refuse,
            "service_flap": self.service_flap,
            "service_down": self.service_down,
            "bot_limit": lambda: self._bot_refuses("bot_limit", 429),
            "bot_error": lambda: self._bot_refuses(
                "bot_error", self._rng.choice((500, 502))
            ),
            "bot_slow": self.bot_slow,
        }

    async def service_hang(self) -> bool:
        """Let calls of a worker hang until their deadline."""
        worker = self._harness.any_worker()
        with self._harness.fault("service_hang", worker):
            worker.services.hanging = 10
            await self._harness.pause(0.3, 1)
            worker.services.hanging = 0
        return True

    async def service_refuse(self) -> bool:
        """Refuse the calls of all workers."""
        with self._harness.fault("service_refuse"):
            await self._refuse(self._harness.workers, self._rng.uniform(0.3, 1.5))
        return True

    async def service_flap(self) -> bool:
        """Refuse the calls of a worker every other moment."""
        worker = self._harness.any_worker()
        with self._harness.fault("service_flap", worker):
            for _ in range(4):
                await self._refuse([worker], 0.15)
                await self._harness.pause(0.05, 0.2)
        return True

    async def service_down(self) -> bool:
        """End the services of a worker, and start them again."""
        with self._harness.taken() as worker:
            if worker is None:
                return False
            with self._harness.fault("service_down", worker):
                await worker.services.stop()
                await self._harness.pause(0.3, 1)
                await worker.services.start()
        return True

    async def bot_slow(self) -> bool:
        """Let the Bot API take its time."""
        with self._harness.fault("bot_slow"):
            self._harness.bot_api.delay = self._rng.uniform(0.2, 0.8)
            await self._harness.pause(0.5, 2)
            self._harness.bot_api.delay = 0
        return True

    async def _bot_refuses(self, kind: str, status: int) -> bool:
        with self._harness.fault(kind):
            rng = self._rng
            self._harness.bot_api.fault = lambda _: status if rng.random() < 0.2 else 0
            await self._harness.pause(0.5, 2)
            self._harness.bot_api.fault = lambda _: 0
        return True

    async def _refuse(self, workers: list[Worker], seconds: float) -> None:
        for worker in workers:
            worker.services.refusing = True
        await asyncio.sleep(seconds)
        for worker in workers:
            worker.services.refusing = False
