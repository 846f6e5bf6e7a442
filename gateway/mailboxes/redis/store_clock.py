"""A clock that all gateways with the same store share: the clock of its server.

The clocks of different machines may disagree. But one gateway records when an update
arrived, and another one applies the rate limit to it or decides that it is too old to
be answered. The time of day therefore comes from the server that all of them use.

In a Cluster each master has a clock of its own. The one that counts belongs to the
master of shard 0, because all gateways agree on which one that is. When another server
becomes the master of that shard, the time may jump, as with any clock.

The stored value is the difference between the server's time and this machine's uptime,
so setting the clock of this machine has no effect either.
"""

from gateway.domain.ports import Clock

MAX_DRIFT = 0.001
"""How far two clocks may drift apart, in seconds per second. A clock that is being
corrected runs up to 0.0005 too fast or too slow."""


class StoreClock:
    """A `Clock` whose time of day is that of the Redis server.

    Until the server has been reached for the first time, the time of day is that of
    this machine. While the server cannot be reached, the clock continues from the last
    known time.

    Args:
        local_clock: the clock of this machine.
    """

    def __init__(self, local_clock: Clock) -> None:
        self._local_clock = local_clock
        self.uptime = local_clock.uptime
        """Return the seconds since this machine's start, suspension included."""
        self._offset: float | None = None
        """The server's time at this machine's uptime 0, in seconds since the epoch."""
        self._max_error = 0.0
        """The maximum error of the offset, in seconds."""
        self._learned_at = 0.0

    def now(self) -> float:
        """Return the seconds since the epoch, by the clock of the Redis server."""
        if self._offset is None:
            return self._local_clock.now()
        return self.uptime() + self._offset

    def record_server_time(
        self, server_time: float, asked_at: float, answered_at: float
    ) -> None:
        """Correct this clock by the time that the Redis server reported.

        The server read its clock at some moment between the request and the reply, so
        the middle of the two is wrong by at most half of the time between them. A slow
        reply is ignored, unless it proves that the known time is wrong.

        Args:
            server_time: the reported time, in seconds since the epoch.
            asked_at: this machine's uptime when the request was sent.
            answered_at: this machine's uptime when the reply was received.
        """
        error = (answered_at - asked_at) / 2
        offset = server_time - (asked_at + answered_at) / 2
        if self._offset is not None:
            known_error = self._max_error + MAX_DRIFT * (answered_at - self._learned_at)
            agrees = abs(offset - self._offset) <= known_error + error
            if agrees and error > known_error:
                return
        self._offset, self._max_error, self._learned_at = offset, error, answered_at
