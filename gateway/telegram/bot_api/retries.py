"""Schedules the retries of failed calls.

`client.py` decides which calls are retried, also after a 429.

Concurrency: each retry waits in the task that makes the call. Retries leave a queue one
at a time, in the order in which their pauses ended: one every `RETRY_INTERVAL_SECONDS`,
and one more whenever a call succeeds. While the Bot API fails, thousands of waiting
replies therefore send it only 20 requests a second; when it works again, their rate
rises to the rate of its responses. One timer serves the queue while there are retries;
a call that succeeds at once does not enter the queue.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable

FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 8.0
"""The pause before a retry if Telegram does not say how long to wait. It doubles from
the first to the maximum, with a random deviation of up to a quarter."""

RETRY_INTERVAL_SECONDS = 0.05
"""The interval between two retries while no call succeeds."""


class Backoff:
    """The pauses between the attempts of one call.

    Args:
        deadline: no attempt starts after this time, on the same clock as `now`.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._seconds = FIRST_PAUSE_SECONDS

    def choose_pause(self, now: float, retry_after: float | None) -> float | None:
        """Return the seconds until the next attempt, or None if it would be too late.

        Args:
            now: the current time.
            retry_after: the seconds that Telegram asks for, or None if it does not say.
        """
        pause = retry_after
        if pause is None:
            pause = self._seconds * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            self._seconds = min(2 * self._seconds, MAX_PAUSE_SECONDS)
        return pause if now + pause <= self.deadline else None


class RetryQueue:
    """A queue of the retries of all calls.

    Args:
        sleep: waits for a number of seconds.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep
        self.waiters: deque[asyncio.Future[None]] = deque()
        """The waiting retries. Without them, a success need not be reported."""
        self._timer: asyncio.TimerHandle | None = None
        """Set for RETRY_INTERVAL_SECONDS after each released retry."""

    async def wait_turn(self, pause: float, max_wait: float) -> None:
        """Wait for a pause and then for a turn in the queue.

        Args:
            pause: the minimum number of seconds to wait.
            max_wait: the maximum number of seconds to wait, the pause included. After
                it the retry is made without a turn.
        """
        await self._sleep(pause)
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = loop.call_later(RETRY_INTERVAL_SECONDS, self._tick)
            return
        waiter: asyncio.Future[None] = loop.create_future()
        self.waiters.append(waiter)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max_wait - pause):
                await waiter

    def release_next(self) -> None:
        """Release the retry that has waited longest, if there is one."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():  # It may have been cancelled.
                waiter.set_result(None)
                return

    def _tick(self) -> None:
        if not self.waiters:
            self._timer = None
            return
        self.release_next()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(RETRY_INTERVAL_SECONDS, self._tick)
