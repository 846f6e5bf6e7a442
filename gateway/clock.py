"""The time of the machine."""

import time
from functools import partial

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux only


class SystemClock:
    """The machine's own time.

    It is asked a dozen times for each update, so these are functions in C without a
    frame of Python around them.
    """

    now = staticmethod(time.time)
    """Give seconds since the epoch."""

    uptime = staticmethod(partial(time.clock_gettime, _BOOTTIME))
    """Give seconds since the machine's start, suspension included."""
