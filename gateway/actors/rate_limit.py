"""The token bucket: how many updates of one user are served in a time."""

from gateway.domain.user_state import UserState

CLOCK_TOLERANCE = 0.05
"""By so many seconds two gateways may differ about the time of an arrival: each knows
the store's time to within half of that."""

LONGEST_OVERTAKING = 2.0
"""An update that arrived earlier than one judged before it was overtaken on its way, by
so many seconds at most. A longer step back is that of a clock."""


class RateLimit:
    """Judges updates by the time they arrived, so that a backlog is not punished.

    The bucket holds `requests` tokens and fills up in `window` seconds. All of it
    lives in the user's state. It may be overdrawn by what flows in during
    `CLOCK_TOLERANCE`, so that nobody is limited for an error of our clocks. When a
    clock was set back, nobody can tell how much time went by: the bucket is full then.
    """

    def __init__(self, requests: int, window: float) -> None:
        self._requests = requests
        self._window = window
        self._tokens_per_second = requests / window
        self._overdraft = CLOCK_TOLERANCE * self._tokens_per_second

    def allows(self, state: UserState, arrived: float, album: str = "") -> bool:
        """Take a token for an update, if there is one.

        Args:
            state: the user's state; changed.
            arrived: the update's arrival in seconds since the epoch.
            album: the album the update is part of. The parts of an album count once:
                what holds for the first holds for the rest.
        """
        if album and album == state.album:
            return state.album_allowed
        tokens = float(self._requests)
        if arrived < state.bucket_updated_at - LONGEST_OVERTAKING:
            state.bucket_updated_at = arrived
        elif state.bucket_updated_at:
            elapsed = max(0.0, arrived - state.bucket_updated_at)
            tokens = min(tokens, state.tokens + elapsed * self._tokens_per_second)
        allowed = tokens >= 1 - self._overdraft
        state.tokens = tokens - 1 if allowed else tokens
        state.bucket_updated_at = max(state.bucket_updated_at, arrived)
        if album:
            state.album, state.album_allowed = album, allowed
        return allowed

    def notices(self, state: UserState, arrived: float) -> bool:
        """Tell whether the user is due the notice: once per window."""
        if abs(arrived - state.last_notice_at) < self._window:
            return False
        state.last_notice_at = arrived
        return True
