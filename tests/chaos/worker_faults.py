"""What is done to workers: they end, stand still, come and go.

Concurrency: several faults run at a time; a worker is marked as busy by the one that
does something to its process.
"""

import asyncio
from collections.abc import Mapping

from tests.chaos.harness import Break, ChaosHarness
from tests.chaos.workers import Worker

_COUNTS = (1, 2, 4, 2)
"""Through so many workers the number of them goes."""


class WorkerFaults:
    """Faults of the processes."""

    def __init__(self, harness: ChaosHarness) -> None:
        self._harness = harness
        self._rng = harness.rng
        self._scales = 0

    @property
    def by_name(self) -> Mapping[str, Break]:
        return {
            "kill": self.kill,
            "freeze": self.freeze,
            "term": self.term,
            "rolling": self.rolling,
            "scale": self.scale,
        }

    async def kill(self) -> bool:
        """End a worker at once, and start it again."""
        if len([w for w in self._harness.workers if w.gate.open]) < 2:
            return False
        with self._harness.taken() as worker:
            if worker is None:
                return False
            with self._harness.fault("kill", worker):
                await worker.kill()
                await self._harness.pause(0, 1)
                await self._harness.start(worker)
        return True

    async def freeze(self) -> bool:
        """Stop a worker for longer than its leases last."""
        with self._harness.taken() as worker:
            if worker is None:
                return False
            with self._harness.fault("freeze", worker):
                worker.freeze()
                try:
                    await self._harness.pause(3.2, 6)
                finally:
                    worker.thaw()
        return True

    async def term(self) -> bool:
        """Ask a worker to end, and start it again."""
        with self._harness.taken() as worker:
            if worker is None:
                return False
            await self._renew(worker)
        return True

    async def rolling(self) -> bool:
        """Ask one worker after the other to end, and start it again."""
        done = False
        for worker in self._harness.workers:
            if worker.running and not worker.busy:
                worker.busy = True
                try:
                    await self._renew(worker)
                finally:
                    worker.busy = False
                done = True
        return done

    async def scale(self) -> bool:
        """Change the number of workers."""
        wanted = _COUNTS[self._scales % len(_COUNTS)]
        self._scales += 1
        idle = [worker for worker in self._harness.workers if not worker.busy]
        running = [worker for worker in idle if worker.running]
        absent = [worker for worker in idle if not worker.running]
        chosen = running[wanted:] or absent[: max(0, wanted - len(running))]
        if not chosen:
            return False
        with self._harness.fault("scale", *chosen):
            for worker in chosen:
                worker.busy = True
            try:
                await asyncio.gather(*map(self._toggle, chosen))
            finally:
                for worker in chosen:
                    worker.busy = False
        return True

    async def _renew(self, worker: Worker) -> None:
        with self._harness.fault("term", worker):
            self._harness.history.exits.append(await worker.terminate())
            await self._harness.start(worker)

    async def _toggle(self, worker: Worker) -> None:
        if worker.running:
            self._harness.history.exits.append(await worker.terminate())
        else:
            await self._harness.start(worker)
