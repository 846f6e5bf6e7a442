"""The time of the machine."""

import time


class SystemClock:
    """The machine's own time."""

    _BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux only

    def now(self) -> float:
        """Give seconds since the epoch."""
        return time.time()

    def uptime(self) -> float:
        """Give seconds since the machine's start, suspension included."""
        return time.clock_gettime(self._BOOTTIME)
