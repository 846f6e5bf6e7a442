"""Chats that Telegram asked to leave alone for a while.

A 429 holds back its own chat and no other. Calls to a chat that is held back wait here,
each in the task that makes it; there is no task of the table's own.
"""

from collections.abc import Awaitable, Callable

from gateway.domain.call import MAX_HOLD
from gateway.domain.errors import BotApiUnavailable

LONGEST_HOLD = 3600.0
"""Whatever was asked for, a chat is tried again after an hour."""

_LIMIT = 10_000
"""Chats in the table. Beyond it the oldest hold is forgotten: it earns another 429."""


class Holds:
    """Until when chats are held back.

    Args:
        uptime: seconds on a clock that is never set back.
        sleep: waits for some seconds.
    """

    def __init__(
        self, uptime: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._uptime = uptime
        self._sleep = sleep
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

    async def wait(self, chat_id: int, method: str, patience: float = MAX_HOLD) -> None:
        """Wait until the chat is not held back any more.

        Raises:
            BotApiUnavailable: that would take longer than these seconds.
        """
        latest = self._uptime() + patience
        while (until := self._until.get(chat_id)) is not None:
            now = self._uptime()
            if until <= now:
                del self._until[chat_id]
                return
            if until > latest:
                raise BotApiUnavailable(f"{method}: the chat is held back by a 429")
            await self._sleep(until - now)
