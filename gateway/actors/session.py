"""The session: which of the company's users a Telegram user is."""

import logging

from gateway.actors.lease import ActorLease
from gateway.domain.errors import ServiceError
from gateway.domain.ports import Clock
from gateway.domain.processing_record import ProcessingRecord
from gateway.domain.services import ServiceRouter
from gateway.domain.update import Update
from gateway.domain.user_state import UserState

logger = logging.getLogger(__name__)

RETRY_DELAY_SECONDS = 10
"""After a failed call the user is not resolved again for this long.

Otherwise a hanging session service would add its deadline to every update.
"""


def get_internal_user_id(update: Update, state: UserState) -> str:
    """Give the internal user id that stands behind an update. Empty: none.

    The state may belong to a user who did not cause the update: what happens in a
    private chat without a human is in the mailbox of the chat's user, too.
    """
    return state.internal_user_id if update.has_session else ""


def end_session(update: Update, state: UserState) -> None:
    """Forget which of the company's users it is: the next update asks again."""
    if update.has_session:
        state.internal_user_id = ""
        state.session_until = 0


class SessionResolver:
    """Opens sessions. They live in the user's state."""

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
    ) -> None:
        """Resolve the user once per session; go on without an id if that fails."""
        now = self._clock.now()
        if now < state.session_until or not update.has_session:
            return
        await lease.ensure_valid()
        start = self._clock.uptime()
        try:
            state.internal_user_id = await self._services.resolve_user(update)
            # A user without an id may get one any moment: ask again next time.
            ttl_seconds = self._ttl_seconds if state.internal_user_id else 0
        except ServiceError as error:
            state.internal_user_id = ""
            ttl_seconds = RETRY_DELAY_SECONDS
            logger.warning(
                "session not opened",
                extra={"request_id": record.request_id, "outcome": error.outcome},
            )
        state.session_until = now + ttl_seconds
        record.service_seconds += self._clock.uptime() - start
