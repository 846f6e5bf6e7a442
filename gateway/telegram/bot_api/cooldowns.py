"""Chats that Telegram asked to leave alone for a while.

A 429 holds back its own chat and no other.
"""

from collections.abc import Callable

MAX_COOLDOWN_SECONDS = 3600.0
"""Whatever was asked for, a chat is tried again after an hour."""

_MAX_COOLDOWNS = 10_000
"""Chats in the table. Beyond it the oldest hold is forgotten: it earns another 429."""


class ChatCooldowns:
    """Until when chats are held back.

    Args:
        uptime: seconds on a clock that is never set back.
    """

    def __init__(self, uptime: Callable[[], float]) -> None:
        self._uptime = uptime
        self._ends_at: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._ends_at)

    def start(self, chat_id: int, seconds: float) -> None:
        """Hold a chat back from now on; a longer hold stays as it is."""
        now = self._uptime()
        ends_at = max(
            self._ends_at.pop(chat_id, 0), now + min(seconds, MAX_COOLDOWN_SECONDS)
        )
        self._ends_at[chat_id] = ends_at
        # Holds end roughly in the order in which they began.
        while self._ends_at:
            oldest = next(iter(self._ends_at))
            if len(self._ends_at) <= _MAX_COOLDOWNS and self._ends_at[oldest] > now:
                break
            del self._ends_at[oldest]

    def seconds_left(self, chat_id: int) -> float:
        """Give how many seconds a chat is still held back. 0: it is not."""
        ends_at = self._ends_at.get(chat_id)
        if ends_at is None:
            return 0
        seconds_left = ends_at - self._uptime()
        if seconds_left <= 0:
            del self._ends_at[chat_id]
            return 0
        return seconds_left
