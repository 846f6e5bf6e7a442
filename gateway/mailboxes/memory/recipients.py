"""The users of each bot by their internal ids, in memory."""

from collections import OrderedDict


class MemoryRecipientIndex:
    """The `RecipientIndex` of one process. The least recently recorded go first.

    Args:
        max_recipients: the maximum number of users.
    """

    def __init__(self, max_recipients: int) -> None:
        self._max_recipients = max_recipients
        self._users: OrderedDict[tuple[int, str], int] = OrderedDict()

    async def record_recipient(
        self, bot_id: int, internal_user_id: str, telegram_user_id: int
    ) -> None:
        """Record the Telegram user of a new session. Replaces an earlier one."""
        key = bot_id, internal_user_id
        self._users[key] = telegram_user_id
        self._users.move_to_end(key)
        if len(self._users) > self._max_recipients:
            self._users.popitem(last=False)

    async def find_recipient(self, bot_id: int, internal_user_id: str) -> int | None:
        """Return Telegram's id of a user, or None if no session was recorded."""
        return self._users.get((bot_id, internal_user_id))
