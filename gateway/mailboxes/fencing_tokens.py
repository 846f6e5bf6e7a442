"""Fencing tokens: one per claim, never the same twice."""

from itertools import count
from secrets import token_hex


class FencingTokenFactory:
    """Makes tokens: random per process and counted within it.

    That is unique, and cheaper than a random one per claim.
    """

    def __init__(self) -> None:
        self._prefix = token_hex(8) + "-"
        self._numbers = count(1)

    def issue(self) -> str:
        """Give a new one."""
        return self._prefix + str(next(self._numbers))

    def has_issued(self, token: str) -> bool:
        """Tell whether a token was made here."""
        return token.startswith(self._prefix)
