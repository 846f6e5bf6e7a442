"""Finds the Telegram users to whom deliveries go."""

import logging
from collections.abc import Awaitable, Callable

from gateway.domain.delivery_store import RecipientIndex
from gateway.domain.errors import ServiceError

logger = logging.getLogger(__name__)


class RecipientFinder:
    """Finds the Telegram ids of users by their internal user ids.

    Args:
        index: has the users for whom a session was resolved before.
        ask: asks a service for a user who is not in the index. Called with the id of
            the bot and the internal user id; returns None if the service does not know
            the user, or no service can be asked; raises ServiceError.
    """

    def __init__(
        self,
        index: RecipientIndex,
        ask: Callable[[int, str], Awaitable[int | None]],
    ) -> None:
        self._index = index
        self._ask = ask

    async def find(self, bot_id: int, internal_user_id: str) -> int | None:
        """Return Telegram's id of a user of a bot, or None if nobody knows it.

        An id that a service returned is stored in the index.

        Raises:
            StoreUnavailable: the store does not answer.
            ServiceError: the service that may know the user failed.
        """
        user_id = await self._index.find_recipient(bot_id, internal_user_id)
        if user_id is not None:
            return user_id
        try:
            user_id = await self._ask(bot_id, internal_user_id)
        except ServiceError as error:
            logger.warning("recipient_not_found", extra={"outcome": error.outcome})
            raise
        if user_id is not None:
            await self._index.record_recipient(bot_id, internal_user_id, user_id)
        return user_id
