"""The token bucket: how many updates of one user are served in a time."""

from gateway.domain.state import State

# Arrivals exactly one window apart must pass although their difference, as a
# floating-point number, may fall short of it.
_ROUNDING = 1e-6

# Updates overtake each other by seconds. If one arrives so long before the one that was
# judged last, the machine's clock was set back: do not wait until it has caught up.
_CLOCK_STEP = 60.0


class RateLimit:
    """Judges updates by the time they arrived, so that a backlog is not punished.

    The bucket holds `requests` tokens and fills up in `window` seconds. All of it
    lives in the user's state.
    """

    def __init__(self, requests: int, window: float) -> None:
        self._requests = requests
        self._window = window
        self._tokens_per_second = requests / window

    def allows(self, state: State, arrived: float, album: str = "") -> bool:
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
        if arrived < state.judged_at - _CLOCK_STEP:
            state.judged_at = arrived
        if state.judged_at:
            elapsed = max(0.0, arrived - state.judged_at)
            tokens = min(tokens, state.tokens + elapsed * self._tokens_per_second)
        allowed = tokens >= 1 - _ROUNDING
        state.tokens = max(0.0, tokens - 1) if allowed else tokens
        state.judged_at = max(state.judged_at, arrived)
        if album:
            state.album, state.album_allowed = album, allowed
        return allowed

    def notices(self, state: State, arrived: float) -> bool:
        """Tell whether the user is due the notice: once per window."""
        if abs(arrived - state.noticed_at) < self._window:
            return False
        state.noticed_at = arrived
        return True
