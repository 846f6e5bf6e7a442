"""Schedules the retries of failed calls.

`client.py` decides which calls are retried, also after a 429.

Concurrency: each retry waits in the task that makes the call: first its own pause, then
in a queue. Retries leave the queue one at a time, in the order in which their pauses
ended: one every `RETRY_INTERVAL_SECONDS`, and one more whenever a call succeeds. While
the Bot API fails, thousands of waiting replies therefore send it only 20 requests a
second; when it works again, their rate rises to the rate of its responses. One timer
serves the queue while there are retries; a call that succeeds at once does not enter
the queue.
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
    """Chooses the pauses between the attempts of one call.

    Args:
        deadline: the time after which no attempt starts, by the clock that `now` of
            `choose_pause` comes from.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._seconds = FIRST_PAUSE_SECONDS

    def choose_pause(self, now: float, retry_after: float | None) -> float | None:
        """Choose the pause before the next attempt of the call.

        Args:
            now: the current time in seconds, by the clock of the deadline.
            retry_after: the seconds that Telegram asks for; None if it does not say.
                Then the pause doubles each time, from 0.5 s to 8 s, with a random
                deviation.

        Returns:
            The seconds to wait; None if the attempt would start after the deadline.
        """
        pause = retry_after
        if pause is None:
            pause = self._seconds * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            self._seconds = min(2 * self._seconds, MAX_PAUSE_SECONDS)
        return pause if now + pause <= self.deadline else None


class RetryQueue:
    """Spreads the retries of all calls of a bot, so that they do not come at once.

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
        """Wait until a call may be retried: its pause, and then for earlier retries.

        Args:
            pause: the minimum number of seconds to wait.
            max_wait: the maximum number of seconds to wait, the pause included. After
                that the retry is made even if others are before it in the queue.
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
        """Let the retry that has waited longest continue, if there is one.

        Called after a success: the Bot API works, so another retry may follow at once.
        """
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
