"""The cool-downs of chats: the times without calls to a chat after a 429.

A 429 delays the calls to its own chat and to no other.
"""

from collections.abc import Callable

MAX_COOLDOWN_SECONDS = 3600.0
"""A chat is tried again after an hour even if Telegram asks for a longer wait."""

_MAX_COOLDOWNS = 10_000
"""Maximum number of stored cool-downs. Beyond it the oldest one is forgotten, and its
chat may get another 429."""


class ChatCooldowns:
    """The chats that must not be called at the moment, and until when.

    Args:
        uptime: returns the seconds of a monotonic clock.
    """

    def __init__(self, uptime: Callable[[], float]) -> None:
        self._uptime = uptime
        self.ends_at: dict[int, float] = {}
        """The ends of the cool-downs by chat. Some of them may have passed."""

    def __len__(self) -> int:
        return len(self.ends_at)

    def start(self, chat_id: int, seconds: float) -> None:
        """Start a cool-down of a chat, unless the chat has one that ends later.

        Args:
            chat_id: the chat.
            seconds: the length of the cool-down from now on; an hour at most is used.
        """
        now = self._uptime()
        ends_at = max(
            self.ends_at.pop(chat_id, 0), now + min(seconds, MAX_COOLDOWN_SECONDS)
        )
        self.ends_at[chat_id] = ends_at
        # Cool-downs end roughly in the order in which they started.
        while self.ends_at:
            oldest = next(iter(self.ends_at))
            if len(self.ends_at) <= _MAX_COOLDOWNS and self.ends_at[oldest] > now:
                break
            del self.ends_at[oldest]

    def get_seconds_left(self, chat_id: int) -> float:
        """Return the seconds until a chat's cool-down ends, or 0 if it has none."""
        ends_at = self.ends_at.get(chat_id)
        if ends_at is None:
            return 0
        seconds_left = ends_at - self._uptime()
        if seconds_left <= 0:
            del self.ends_at[chat_id]
            return 0
        return seconds_left
