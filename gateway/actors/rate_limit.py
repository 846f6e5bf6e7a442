"""The token bucket: how many updates of one user are served in a time."""

from gateway.domain.user_state import UserState

CLOCK_TOLERANCE_SECONDS = 0.05
"""By so many seconds two gateways may differ about the time of an arrival: each knows
the store's time to within half of that."""

MAX_OVERTAKING_SECONDS = 2.0
"""An update that arrived earlier than one judged before it was overtaken on its way, by
so many seconds at most. A longer step back is that of a clock."""


class RateLimiter:
    """Judges updates by the time they arrived, so that a backlog is not punished.

    The bucket holds `requests` tokens and fills up in `window` seconds. All of it
    lives in the user's state. It may be overdrawn by what flows in during
    `CLOCK_TOLERANCE`, so that nobody is limited for an error of our clocks. When a
    clock was set back, nobody can tell how much time went by: the bucket is full then.
    """

    def __init__(self, max_tokens: int, window_seconds: float) -> None:
        self._max_tokens = max_tokens
        self._window_seconds = window_seconds
        self._tokens_per_second = max_tokens / window_seconds
        self._overdraft = CLOCK_TOLERANCE_SECONDS * self._tokens_per_second

    def try_acquire(self, state: UserState, arrived_at: float, album: str = "") -> bool:
        """Take a token for an update, if there is one.

        Args:
            state: the user's state; changed.
            arrived_at: the update's arrival in seconds since the epoch.
            album: the album the update is part of. The parts of an album count once:
                what holds for the first holds for the rest.
        """
        if album and album == state.album:
            return state.album_allowed
        tokens = float(self._max_tokens)
        if arrived_at < state.bucket_updated_at - MAX_OVERTAKING_SECONDS:
            state.bucket_updated_at = arrived_at
        elif state.bucket_updated_at:
            elapsed = max(0.0, arrived_at - state.bucket_updated_at)
            tokens = min(tokens, state.tokens + elapsed * self._tokens_per_second)
        allowed = tokens >= 1 - self._overdraft
        state.tokens = tokens - 1 if allowed else tokens
        state.bucket_updated_at = max(state.bucket_updated_at, arrived_at)
        if album:
            state.album, state.album_allowed = album, allowed
        return allowed

    def should_notify(self, state: UserState, arrived_at: float) -> bool:
        """Tell whether the user is due the notice: once per window."""
        if abs(arrived_at - state.last_notice_at) < self._window_seconds:
            return False
        state.last_notice_at = arrived_at
        return True
