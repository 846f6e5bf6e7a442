"""Sessions: the mapping from a Telegram user to one of the company's users."""

import logging

from gateway.actors.leases import ActorLease
from gateway.domain.errors import ServiceError
from gateway.domain.ports import Clock, ServiceRouter
from gateway.domain.processing_record import ProcessingRecord
from gateway.domain.update import Update
from gateway.domain.user_state import UserState

logger = logging.getLogger(__name__)

RETRY_DELAY_SECONDS = 10
"""The time after a failed call in which the user is not resolved again.

Otherwise a hanging session service would delay every update by its deadline.
"""


def get_internal_user_id(update: Update, state: UserState) -> str:
    """Return the internal id of an update's user, or an empty string if there is none.

    The state may belong to a user who did not cause the update: updates in a private
    chat that no human caused are also in the mailbox of the chat's user.
    """
    return state.internal_user_id if update.has_session else ""


def end_session(update: Update, state: UserState) -> None:
    """Forget the internal id, so that the next update resolves the user again."""
    if update.has_session:
        state.internal_user_id = ""
        state.session_until = 0


class SessionResolver:
    """Resolves users, and stores their sessions in the user's state."""

    def __init__(
        self, services: ServiceRouter, clock: Clock, ttl_seconds: float
    ) -> None:
        self._services = services
        self._clock = clock
        self._ttl_seconds = ttl_seconds

    async def ensure_session(
        self,
        update: Update,
        state: UserState,
        record: ProcessingRecord,
        lease: ActorLease,
    ) -> str:
        """Resolve the user once per session, and return the internal id.

        Returns:
            The id, or an empty string if there is none or resolving the user failed.
        """
        if not update.has_session:
            return ""
        now = self._clock.now()
        if now >= state.session_until:
            await lease.ensure_valid()
            await self._resolve_user(update, state, record, now)
        return state.internal_user_id

    async def _resolve_user(
        self, update: Update, state: UserState, record: ProcessingRecord, now: float
    ) -> None:
        start = self._clock.uptime()
        try:
            state.internal_user_id = await self._services.resolve_user(update)
            # A user without an id may get one at any moment: try again next time.
            ttl_seconds = self._ttl_seconds if state.internal_user_id else 0
        except ServiceError as error:
            state.internal_user_id = ""
            ttl_seconds = RETRY_DELAY_SECONDS
            logger.warning(
                "session_not_resolved",
                extra={"request_id": record.request_id, "outcome": error.outcome},
            )
        state.session_until = now + ttl_seconds
        record.service_seconds += self._clock.uptime() - start
