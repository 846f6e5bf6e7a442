"""Fencing tokens: each lease gets its own, and none is used twice."""

from itertools import count
from secrets import token_hex


class FencingTokenFactory:
    """Issues unique tokens: a random prefix per process, then a counter.

    This is cheaper than a random token per lease.
    """

    def __init__(self) -> None:
        self._prefix = token_hex(8) + "-"
        self._numbers = count(1)

    def issue(self) -> str:
        """Return a new token."""
        return self._prefix + str(next(self._numbers))

    def has_issued(self, token: str) -> bool:
        """Return whether this factory issued the token."""
        return token.startswith(self._prefix)
