"""The token bucket that limits the rate of updates from one user."""

from gateway.domain.user_state import UserState

CLOCK_TOLERANCE_SECONDS = 0.05
"""The maximum difference between the arrival times that two gateways would assign: each
knows the store's time to within half of it."""

MAX_OVERTAKING_SECONDS = 2.0
"""The maximum time by which an update may overtake another one before it is checked. If
an arrival is earlier than the last one by more than this, a clock was set back."""


class RateLimiter:
    """Limits the updates of a user by their time of arrival, not of processing.

    So updates that had to wait in a mailbox are not limited for that. A bucket may be
    overdrawn by the tokens of `CLOCK_TOLERANCE_SECONDS`, so that no user is limited
    because the gateways' clocks differ. After a clock was set back the elapsed time is
    unknown, and the bucket is treated as full.

    Args:
        max_tokens: the size of the bucket of each user. An update takes one token.
        window_seconds: the time in which an empty bucket fills up.
    """

    def __init__(self, max_tokens: int, window_seconds: float) -> None:
        self._max_tokens = max_tokens
        self._window_seconds = window_seconds
        self._tokens_per_second = max_tokens / window_seconds
        self._overdraft = CLOCK_TOLERANCE_SECONDS * self._tokens_per_second

    def try_acquire(
        self, state: UserState, arrived_at: float, album: str | None = None
    ) -> bool:
        """Take a token for an update, and return whether there was one.

        Args:
            state: the user's state, which is changed.
            arrived_at: the arrival of the update in seconds since the epoch.
            album: the id of the album that the update is part of; None if it is part of
                none. An album takes one token: its parts all get the result of the
                first one.
        """
        if album is not None and album == state.album:
            return state.album_allowed
        tokens = float(self._max_tokens)
        last = state.bucket_updated_at
        if last is None or arrived_at < last - MAX_OVERTAKING_SECONDS:
            state.bucket_updated_at = arrived_at
        else:
            elapsed = max(0.0, arrived_at - last)
            tokens = min(tokens, state.tokens + elapsed * self._tokens_per_second)
            state.bucket_updated_at = max(last, arrived_at)
        allowed = tokens >= 1 - self._overdraft
        state.tokens = tokens - 1 if allowed else tokens
        if album is not None:
            state.album, state.album_allowed = album, allowed
        return allowed

    def should_notify(self, state: UserState, arrived_at: float) -> bool:
        """Return whether to tell the user about the limit now; record it if so.

        True at most once per `window_seconds`.

        Args:
            state: the user's state, in which the time of the notice is stored.
            arrived_at: the arrival of the limited update in seconds since the epoch.
        """
        if abs(arrived_at - state.last_notice_at) < self._window_seconds:
            return False
        state.last_notice_at = arrived_at
        return True
