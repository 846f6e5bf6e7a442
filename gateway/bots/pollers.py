"""Starts and stops the pollers of the bots whose updates are polled.

Concurrency: two background tasks per polled bot. A poller is closed only after its
tasks have ended.
"""

from collections.abc import Iterator

import anyio

from gateway.background import BackgroundTask, BackgroundTasks, cancel_and_wait
from gateway.bots.registry import BotRegistry
from gateway.telegram.polling import UpdatePoller

MAX_POLL_DELAY_SECONDS = 1.0
"""The maximum delay before polling starts again after an unexpected failure."""

MAX_CLOSE_SECONDS = 2.0
"""How long a change of the bots waits for a poller to confirm its updates."""


class BotPollers:
    """The pollers that run.

    Args:
        bots: the bots of this process.
        background: runs the background tasks.
    """

    def __init__(self, bots: BotRegistry, background: BackgroundTasks) -> None:
        self._bots = bots
        self._background = background
        self._is_started = False
        self._running: dict[UpdatePoller, list[BackgroundTask]] = {}

    def __iter__(self) -> Iterator[UpdatePoller]:
        return iter(self._running)

    async def start(self) -> None:
        """Start polling."""
        self._is_started = True
        await self.update()

    async def update(self) -> None:
        """Start the pollers of new bots, and stop those of bots that are gone.

        A bot that is paused is not polled: Telegram keeps its updates for 24 hours.
        """
        if not self._is_started:
            return
        wanted = {
            bot.poller for bot in self._bots if bot.poller and not bot.config.is_paused
        }
        for poller in self._running.keys() - wanted:
            await cancel_and_wait(*self._running.pop(poller))
            # What it could not confirm in time is fetched again, and recognized.
            with anyio.move_on_after(MAX_CLOSE_SECONDS):
                await poller.close()
        for poller in wanted - self._running.keys():
            self._running[poller] = [
                self._background.start(name, work, max_delay=MAX_POLL_DELAY_SECONDS)
                for name, work in poller.tasks.items()
            ]

    async def stop(self) -> None:
        """Stop polling. The pollers still confirm updates when they are closed."""
        self._is_started = False
        for tasks in self._running.values():
            await cancel_and_wait(*tasks)

    async def close(self) -> None:
        """Confirm the finished updates of all bots and release their leases."""
        for poller in self._running:
            await poller.close()
