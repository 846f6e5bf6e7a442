"""The system clock."""

import time
from functools import partial

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux only


class SystemClock:
    """The clock of the machine, as the `Clock` of the ports.

    It is read a dozen times for each update, so its methods are C functions without a
    Python frame around them.
    """

    now = staticmethod(time.time)
    """Return the seconds since the epoch."""

    uptime = staticmethod(partial(time.clock_gettime, _BOOTTIME))
    """Return the seconds since the machine's start, including suspension."""
