"""Finds the Telegram users of each bot by their internal ids, in memory."""

from collections import OrderedDict


class MemoryRecipientIndex:
    """The `RecipientIndex` of one process, in its memory.

    Args:
        max_recipients: the maximum number of users; the least recently recorded are
            removed first.
    """

    def __init__(self, max_recipients: int) -> None:
        self._max_recipients = max_recipients
        self._users: OrderedDict[tuple[int, str], int] = OrderedDict()

    async def record_recipient(
        self, bot_id: int, internal_user_id: str, telegram_user_id: int
    ) -> None:
        """Store which Telegram user has a session. See `RecipientIndex`."""
        key = bot_id, internal_user_id
        self._users[key] = telegram_user_id
        self._users.move_to_end(key)
        if len(self._users) > self._max_recipients:
            self._users.popitem(last=False)

    async def find_recipient(self, bot_id: int, internal_user_id: str) -> int | None:
        """Return the Telegram user id for an internal user id.

        Returns None if no session of that user was recorded, or if it was removed.
        """
        return self._users.get((bot_id, internal_user_id))
