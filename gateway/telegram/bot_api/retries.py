"""When calls that failed are made again.

Concurrency: each retry waits in the task that makes the call. Retries take turns, in
the order in which their pauses ended: one every `INTERVAL_SECONDS`, and one more
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

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0
"""Seconds before a retry where Telegram does not say how long to wait; doubled from the
first to the longest, and each a quarter shorter or longer by chance."""

INTERVAL_SECONDS = 0.05
"""From one retry to the next while no call succeeds."""


class Backoff:
    """The pauses between the attempts of one call.

    Args:
        deadline: no attempt begins after it, on the same clock as `now`.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._seconds = FIRST_PAUSE

    def next(self, now: float, retry_after: float) -> float | None:
        """Give the seconds to wait before the next attempt. None: it is too late.

        Args:
            now: the time.
            retry_after: what Telegram asks for, in seconds. 0: nothing.
        """
        pause = retry_after
        if not pause:
            pause = self._seconds * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            self._seconds = min(2 * self._seconds, LONGEST_PAUSE)
        return pause if now + pause <= self.deadline else None


class RetryTurns:
    """Gives turns to the retries of all calls.

    Args:
        sleep: waits for some seconds.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        """Set for INTERVAL_SECONDS after each turn that it gave."""

    async def wait(self, pause: float, within: float) -> None:
        """Wait for a pause and then for a turn.

        Args:
            pause: seconds to wait in any case.
            within: after so many seconds the retry goes ahead without a turn.
        """
        await self._sleep(pause)
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = loop.call_later(INTERVAL_SECONDS, self._tick)
            return
        record: asyncio.Future[None] = loop.create_future()
        self._waiting.append(record)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within - pause):
                await record

    def give(self) -> None:
        """Give a turn to the retry that waited longest, if there is one."""
        while self._waiting:
            record = self._waiting.popleft()
            if not record.done():  # else it waits no more
                record.set_result(None)
                return

    def _tick(self) -> None:
        if not self._waiting:
            self._timer = None
            return
        self.give()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(INTERVAL_SECONDS, self._tick)
