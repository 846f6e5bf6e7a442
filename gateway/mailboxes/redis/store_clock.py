"""The time by which all gateways that share a store judge: that of its server.

Each machine has a clock of its own, and nobody promises that they agree. But one
gateway notes when an update arrived, and another judges it by the rate limit, or finds
it too old for an answer. So the time of day comes from the one thing that all share.

The masters of a Cluster have a clock each. What counts is that of the one that has
shard 0, because all gateways agree on which one it is. When a replica takes over from
it, or another gets the shard, the time may step, as any clock may.

What is learned is the difference between the server's time and this machine's uptime.
A clock of this machine that is set therefore changes nothing either.
"""

from collections.abc import Callable

from gateway.domain.ports import Clock

ServerTimeCallback = Callable[[float, float, float], None]
"""Records the time that a server reported: see `StoreClock.record_server_time`."""

TIME_SHARD = 0
"""The shard whose server tells the time."""

MAX_DRIFT = 0.001
"""By so many seconds per second two clocks may come apart. A clock that is being
corrected runs up to 0.0005 too fast or too slow."""


def ignore_server_time(server_time: float, asked_at: float, answered_at: float) -> None:
    """Do nothing: for those who do not judge by the server's time."""


class StoreClock:
    """Tells the time of the store's server.

    Until the server was reached for the first time, it tells that of this machine.
    While the server cannot be reached, it goes on from what was learned last.

    Args:
        own: the clock of this machine.
    """

    def __init__(self, local_clock: Clock) -> None:
        self._local_clock = local_clock
        self.uptime = local_clock.uptime
        """Tells the seconds since this machine's start, suspension included."""
        self._offset: float | None = None
        """The server's time at this machine's uptime 0, in seconds since the epoch."""
        self._max_error = 0.0
        """By how many seconds that may be wrong."""
        self._learned_at = 0.0

    def now(self) -> float:
        """Give seconds since the epoch, by the server's clock."""
        if self._offset is None:
            return self._local_clock.now()
        return self.uptime() + self._offset

    def record_server_time(
        self, server_time: float, asked_at: float, answered_at: float
    ) -> None:
        """Take note of what the server said when it was asked for the time.

        It looked at its clock at some moment between the question and the answer. So
        the middle of the two is wrong by half of the time between them at most. An
        answer that took long is ignored, unless it proves that what is known is wrong.

        Args:
            server_time: the answer, in seconds since the epoch.
            asked_at: this machine's uptime when the question was sent.
            answered_at: this machine's uptime when the answer was there.
        """
        error = (answered_at - asked_at) / 2
        offset = server_time - (asked_at + answered_at) / 2
        if self._offset is not None:
            known_error = self._max_error + MAX_DRIFT * (answered_at - self._learned_at)
            agrees = abs(offset - self._offset) <= known_error + error
            if agrees and error > known_error:
                return
        self._offset, self._max_error, self._learned_at = offset, error, answered_at
