"""Starts and stops the pollers of the bots whose updates are polled.

Concurrency: two background tasks per polled bot, and one that follows the changes of
the bots. So changes follow one another, and one that fails is made again. A change
stops and starts the pollers of several bots at once. A poller is closed only after its
tasks have ended.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping

import anyio
from msgspec import Struct

from gateway.background import BackgroundTask, BackgroundTasks, cancel_and_wait
from gateway.telegram.polling import UpdatePoller

MAX_POLL_DELAY_SECONDS = 1.0
"""The maximum delay before polling starts again after an unexpected failure."""

MAX_CLOSE_SECONDS = 2.0
"""How long a poller that is stopped has to confirm its finished updates at Telegram."""

_MAX_SIMULTANEOUS_BOTS = 100
"""The number of bots whose pollers are stopped at the same time."""


class _RunningPoller(Struct, frozen=True, eq=False):
    poller: UpdatePoller
    tasks: list[BackgroundTask]


class BotPollers:
    """Runs the pollers of the bots whose updates are polled. Iterating yields them.

    Args:
        find_wanted: returns the pollers that have to run, by the ids of their bots.
        background: runs the background tasks.
    """

    def __init__(
        self,
        find_wanted: Callable[[], Mapping[int, UpdatePoller]],
        background: BackgroundTasks,
    ) -> None:
        self._find_wanted = find_wanted
        self._background = background
        self._changed = asyncio.Event()
        self._limiter = asyncio.Semaphore(_MAX_SIMULTANEOUS_BOTS)
        self._updating: BackgroundTask | None = None
        self._running: dict[int, _RunningPoller] = {}

    def __iter__(self) -> Iterator[UpdatePoller]:
        return iter([it.poller for it in self._running.values()])

    def start(self) -> None:
        """Start the pollers, and the task that follows changes of the bots."""
        self._changed.set()
        self._updating = self._background.start(
            "update pollers", self._follow_changes, max_delay=MAX_POLL_DELAY_SECONDS
        )

    def update(self) -> None:
        """Ask for a change: start new pollers, and stop those that are not wanted now.

        Returns at once; a background task makes the change.
        """
        self._changed.set()

    async def stop(self) -> None:
        """Stop all polling, and wait for its end.

        The leases for polling are kept until `close`, which also confirms the updates
        that are finished by then.
        """
        if self._updating is not None:
            await cancel_and_wait(self._updating)
        await cancel_and_wait(
            *(task for it in self._running.values() for task in it.tasks)
        )

    async def close(self) -> None:
        """Confirm the finished updates of all pollers at Telegram, and release leases.

        Call it after `stop`.
        """
        await asyncio.gather(*(self._close(poller) for poller in self))

    async def _follow_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._update()
            except Exception:
                # This is called again soon.
                self._changed.set()
                raise

    async def _update(self) -> None:
        wanted = self._find_wanted()
        present = {bot_id: it.poller for bot_id, it in self._running.items()}
        results = await asyncio.gather(
            *(
                self._replace(bot_id, wanted.get(bot_id))
                for bot_id in present.keys() | wanted.keys()
                if present.get(bot_id) is not wanted.get(bot_id)
            ),
            return_exceptions=True,
        )
        for result in results:
            if result is not None:
                raise result

    async def _replace(self, bot_id: int, poller: UpdatePoller | None) -> None:
        """Run a poller of a bot, or none, in place of the one that runs."""
        previous = self._running.get(bot_id)
        if previous is not None:
            await cancel_and_wait(*previous.tasks)
            try:
                # What is not confirmed in time is fetched again, and recognized.
                with anyio.move_on_after(MAX_CLOSE_SECONDS):
                    await self._close(previous.poller)
            finally:
                del self._running[bot_id]
        if poller is not None:
            tasks = [
                self._background.start(name, work, max_delay=MAX_POLL_DELAY_SECONDS)
                for name, work in poller.tasks.items()
            ]
            self._running[bot_id] = _RunningPoller(poller, tasks)

    async def _close(self, poller: UpdatePoller) -> None:
        async with self._limiter:
            await poller.close()
