"""Chats that Telegram asked to leave alone for a while.

A 429 holds back its own chat and no other.
"""

from collections.abc import Callable

LONGEST_HOLD = 3600.0
"""Whatever was asked for, a chat is tried again after an hour."""

_LIMIT = 10_000
"""Chats in the table. Beyond it the oldest hold is forgotten: it earns another 429."""


class Holds:
    """Until when chats are held back.

    Args:
        uptime: seconds on a clock that is never set back.
    """

    def __init__(self, uptime: Callable[[], float]) -> None:
        self._uptime = uptime
        self._until: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def hold(self, chat_id: int, seconds: float) -> None:
        """Hold a chat back from now on; a longer hold stays as it is."""
        now = self._uptime()
        until = max(self._until.pop(chat_id, 0), now + min(seconds, LONGEST_HOLD))
        self._until[chat_id] = until
        # Holds end roughly in the order in which they began.
        while self._until:
            oldest = next(iter(self._until))
            if len(self._until) <= _LIMIT and self._until[oldest] > now:
                break
            del self._until[oldest]

    def seconds_left(self, chat_id: int) -> float:
        """Give how many seconds a chat is still held back. 0: it is not."""
        until = self._until.get(chat_id)
        if until is None:
            return 0
        left = until - self._uptime()
        if left <= 0:
            del self._until[chat_id]
            return 0
        return left
