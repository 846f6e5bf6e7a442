"""A run: load and faults at the same time, until there was enough of both."""

import asyncio
import os
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from tests.chaos.faults import all_faults
from tests.chaos.harness import Break, ChaosHarness, Setup, running_harness
from tests.chaos.history import History

SEED = int(os.environ.get("CHAOS_SEED", "2026"))
"""Of the short forms, which are tests."""

ALONE_BEFORE, ALONE_BEHIND = 3.2, 5.2
"""Seconds of quiet around a kill that shows how long a failover takes."""


class Plan(Struct, kw_only=True):
    """What is done to a run.

    Attributes:
        updates: so many are accepted at least.
        faults: so many happen at least.
        kinds: out of which; all that there are if it is empty.
        at_once: how many at a time, at least and at most.
        alone: every so many groups a kill happens with nothing around it. 0: never.
        longest_cut: for how many seconds workers may be without Redis.
        pauses: for how many seconds Redis is stopped.
    """

    updates: int = 0
    faults: int = 8
    kinds: Sequence[str] = ()
    at_once: tuple[int, int] = (1, 3)
    alone: int = 0
    longest_cut: float = 1.2
    pauses: tuple[float, ...] = (0.3, 1.2)


async def run(directory: Path, setup: Setup, plan: Plan) -> History:
    """Do a run with its files in a directory; gives what happened."""

    async def act(made: ChaosHarness) -> None:
        faults = all_faults(made, plan.longest_cut, plan.pauses)
        await _Director(made, faults, plan).run()

    return await play(directory, setup, act)


async def play(
    directory: Path, setup: Setup, act: Callable[[ChaosHarness], Awaitable[None]]
) -> History:
    """Send updates while something is done, and until all of them are done."""
    async with running_harness(setup, directory) as made:
        async with asyncio.TaskGroup() as group:
            group.create_task(made.sender.run())
            await act(made)
            made.sender.stop()
        await made.finish()
    return made.history


class _Director:
    """Breaks things until there was enough."""

    def __init__(
        self, made: ChaosHarness, faults: Mapping[str, Break], plan: Plan
    ) -> None:
        self._harness = made
        self._faults = faults
        self._plan = plan
        self._rng = random.Random(made.setup.seed + 2)
        self._deck: deque[str] = deque()
        self._done = 0

    async def run(self) -> None:
        """Break one group of things after the other."""
        await asyncio.sleep(1)
        groups = 0
        while self._done < self._plan.faults or self._sent < self._plan.updates:
            groups += 1
            if self._plan.alone and groups % self._plan.alone == 0:
                await self._kill_alone()
                continue
            count = self._rng.randint(*self._plan.at_once)
            await asyncio.gather(*(self._break(self._draw()) for _ in range(count)))
            await asyncio.sleep(self._rng.uniform(0.3, 1.5))

    @property
    def _sent(self) -> int:
        return len(self._harness.history.posted)

    async def _kill_alone(self) -> None:
        await asyncio.sleep(ALONE_BEFORE)
        began = time.monotonic()
        done = await self._faults["kill"]()
        self._done += done
        await asyncio.sleep(max(0, began + ALONE_BEHIND - time.monotonic()))

    async def _break(self, fault: Break) -> None:
        await asyncio.sleep(self._rng.uniform(0, 1))
        done = await fault()  # several run at a time: not to be added to an old sum
        self._done += done

    def _draw(self) -> Break:
        """Take the next kind: each comes once before any comes again."""
        if not self._deck:
            kinds = list(self._plan.kinds or self._faults)
            self._deck.extend(self._rng.sample(kinds, len(kinds)))
        return self._faults[self._deck.popleft()]
