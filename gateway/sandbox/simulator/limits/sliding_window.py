"""Sliding windows: at most a number of calls within any period of some length.

The cost of a call does not depend on how many calls or keys there are: each call is
added to and removed from a queue once, and the windows of idle keys are removed in the
order in which they became idle.
"""

import math
from collections import OrderedDict, deque

from msgspec import Struct


class WindowCounts(Struct, kw_only=True):
    """What happened in all windows of one `SlidingWindows`.

    Attributes:
        limit: the number of calls that are allowed within a window.
        seconds: the length of a window.
        calls: the number of calls, including refused ones.
        violations: the number of calls that a window refused.
        early_calls: the number of calls before the end of the wait that the last
            refusal of the same window demanded.
        highest: the highest number of calls within one window, including refused ones.
    """

    limit: int
    seconds: float
    calls: int = 0
    violations: int = 0
    early_calls: int = 0
    highest: int = 0


class SlidingWindows:
    """Counts and limits calls for each key, such as a chat, in a window of its own.

    A caller first counts a call by `count_call`; if it is allowed, `admit` follows at
    once. Concurrency: one event loop.

    Args:
        limit: the number of calls that are allowed within a window.
        seconds: the length of a window.

    Attributes:
        counts: what happened in all windows.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self.counts = WindowCounts(limit=limit, seconds=seconds)
        self._windows: OrderedDict[int, _Window] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of keys that are kept: those with a recent call."""
        return len(self._windows)

    def count_call(self, key: int, now: float) -> int:
        """Count a call, without using the space of the window.

        Args:
            key: the key of the window.
            now: the time of a monotonic clock, in seconds; never less than before.

        Returns:
            The whole seconds to wait; 0 if the window has space for the call.
        """
        self._remove_idle(now)
        counts = self.counts
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window()
        else:
            self._windows.move_to_end(key)
        counts.calls += 1
        counts.highest = max(counts.highest, window.count(now, counts.seconds))
        counts.early_calls += now < window.wait_until
        left = window.seconds_left(now, counts.limit, counts.seconds)
        if left <= 0:
            return 0
        retry_after = max(math.ceil(left), 1)
        counts.violations += 1
        window.wait_until = now + retry_after
        return retry_after

    def admit(self, key: int, now: float) -> None:
        """Use the space of a window for the call that was just counted."""
        self._windows[key].admitted.append(now)

    def _remove_idle(self, now: float) -> None:
        # A wait is at most a second longer than a window.
        longest = self.counts.seconds + 1
        while self._windows:
            key = next(iter(self._windows))
            if self._windows[key].calls[-1] + longest > now:
                return
            del self._windows[key]


class _Window:
    """The calls of one key within the last window.

    Attributes:
        calls: the times of all calls, oldest first.
        admitted: the times of the admitted calls, oldest first.
        wait_until: the end of the wait that the last refusal demanded.
    """

    __slots__ = ("admitted", "calls", "wait_until")

    def __init__(self) -> None:
        self.calls: deque[float] = deque()
        self.admitted: deque[float] = deque()
        self.wait_until = -math.inf

    def count(self, now: float, seconds: float) -> int:
        """Add a call and return the number of calls within the window."""
        _remove_old(self.calls, now, seconds)
        self.calls.append(now)
        return len(self.calls)

    def seconds_left(self, now: float, limit: int, seconds: float) -> float:
        """Return the time until there is space for a call; not over 0 if now."""
        _remove_old(self.admitted, now, seconds)
        if len(self.admitted) < limit:
            return 0
        return self.admitted[-limit] + seconds - now


def _remove_old(times: deque[float], now: float, seconds: float) -> None:
    while times and times[0] + seconds <= now:
        times.popleft()
