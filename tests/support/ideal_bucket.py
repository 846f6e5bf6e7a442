"""The token bucket of the textbook, to compare with."""

from math import inf


class IdealBucket:
    """Holds `requests` tokens and fills up in `window` seconds, by the true time."""

    def __init__(self, requests: int, window: float) -> None:
        self._capacity = self._tokens = float(requests)
        self._rate = requests / window
        self._at = -inf

    def allows(self, at: float) -> bool:
        """Take a token, if there is one."""
        gained = (at - self._at) * self._rate
        self._tokens = min(self._capacity, self._tokens + gained)
        self._at = at
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
