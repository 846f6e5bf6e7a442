"""The previous webhook secret, which Telegram may still send after a change."""

from math import inf
from secrets import token_bytes

MAX_PREVIOUS_SECONDS = 3600.0
"""How long the previous secret is accepted if Telegram does not use the current one."""

_CONFIRMED_SECONDS = 60.0
"""How long the previous secret is accepted after Telegram has used the current one:
requests that began earlier may arrive later."""


class PreviousSecret:
    """A previous webhook secret, which is accepted for a limited time.

    Once it has ended it is never accepted again: all webhook targets of a bot that have
    the same previous secret share one object.

    Args:
        secret: the secret.
        ends_at: when the secret ends at the latest, in seconds of the monotonic clock
            that `limit` gets; never by default.

    Attributes:
        value: what a received secret is compared with. After the end these are random
            bytes that nobody knows.
        is_confirmed: whether Telegram has used the current secret. From then on the
            previous one is accepted for one more minute.
        is_ended: whether the secret is no longer accepted.
    """

    def __init__(self, secret: str, ends_at: float = inf) -> None:
        if not secret:
            raise ValueError("an empty secret would let anybody in")
        self.value = secret.encode()
        self.is_confirmed = False
        self.is_ended = False
        self._ends_at = ends_at

    def limit(self, now: float) -> None:
        """Stop accepting the secret if its time is over. Has to be called regularly.

        Args:
            now: the seconds of the monotonic clock.
        """
        if self.is_confirmed:
            self._ends_at = min(self._ends_at, now + _CONFIRMED_SECONDS)
        if now >= self._ends_at:
            self.value = token_bytes(32)
            self.is_ended = True
