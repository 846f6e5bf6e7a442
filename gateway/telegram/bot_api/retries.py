"""When calls that failed are made again.

Concurrency: each retry waits in the task that makes the call. Retries take turns, in
the order in which their pauses ended: one every `RETRY_INTERVAL_SECONDS`, and one more
whenever a call succeeds. So thousands of replies that wait for a failing Bot API ask it
20 times a second, and when it works again they follow each other ever faster, as fast
as it answers. One timer gives the turns while retries are made; nothing else runs, and
a call that succeeds at once takes no part in this.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable

FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 8.0
"""Seconds before a retry where Telegram does not say how long to wait; doubled from the
first to the longest, and each a quarter shorter or longer by chance."""

RETRY_INTERVAL_SECONDS = 0.05
"""From one retry to the next while no call succeeds."""


class Backoff:
    """The pauses between the attempts of one call.

    Args:
        deadline: no attempt begins after it, on the same clock as `now`.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._seconds = FIRST_PAUSE_SECONDS

    def choose_pause(self, now: float, retry_after: float) -> float | None:
        """Give the seconds to wait before the next attempt. None: it is too late.

        Args:
            now: the time.
            retry_after: what Telegram asks for, in seconds. 0: nothing.
        """
        pause = retry_after
        if not pause:
            pause = self._seconds * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            self._seconds = min(2 * self._seconds, MAX_PAUSE_SECONDS)
        return pause if now + pause <= self.deadline else None


class RetryQueue:
    """Gives turns to the retries of all calls.

    Args:
        sleep: waits for some seconds.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        """Set for RETRY_INTERVAL_SECONDS after each turn that it gave."""

    async def wait_turn(self, pause: float, max_wait: float) -> None:
        """Wait for a pause and then for a turn.

        Args:
            pause: seconds to wait in any case.
            max_wait: after so many seconds the retry goes ahead without a turn.
        """
        await self._sleep(pause)
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = loop.call_later(RETRY_INTERVAL_SECONDS, self._tick)
            return
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max_wait - pause):
                await waiter

    def release_next(self) -> None:
        """Give a turn to the retry that waited longest, if there is one."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():  # else it waits no more
                waiter.set_result(None)
                return

    def _tick(self) -> None:
        if not self._waiters:
            self._timer = None
            return
        self.release_next()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(RETRY_INTERVAL_SECONDS, self._tick)
