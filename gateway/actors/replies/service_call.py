"""Calls the service of a route, and turns its errors into replies.

Before the first call of a session, the user is resolved: the session service returns
the company's internal id for a Telegram user, and the user's state stores it.
"""

import logging

from botgateway.chat.v1.reply_pb2 import Reply
from botgateway.route.v1.event_pb2 import EVENT_USER_BLOCKED_BOT

from gateway.actors.leases import ActorLease
from gateway.actors.replies.streaming import StreamRunner
from gateway.actors.replies.typing_indicator import TypingIndicator
from gateway.actors.replies.user_notices import build_error_reply
from gateway.domain.delivery_store import RecipientIndex
from gateway.domain.errors import ServiceError
from gateway.domain.ports import BoundCall, Clock, ServiceRouter, StreamingPreview
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import BotEvent, Update, has_session
from gateway.domain.user_state import UserState

logger = logging.getLogger(__name__)

RETRY_DELAY_SECONDS = 10
"""The time after a failed call in which the user is not resolved again.

Otherwise a hanging session service would delay every update by its deadline.
"""

ReplyWithPreview = tuple[Reply | None, StreamingPreview | None]
"""The reply, which is None to send nothing, and the live preview that it replaces,
which is None if the reply was not streamed."""


class ServiceCaller:
    """Calls the services of routes, which return a reply at once or as a stream.

    Args:
        services: asks the session service for the internal ids of users.
        typing_indicator: shown to the user during a call.
        stream_runner: calls services that stream their reply.
        clock: the time.
        session_seconds: how long the internal id of a user is used before the session
            service is asked again.
        recipients: records which user has an internal id, for deliveries to that id.
    """

    def __init__(
        self,
        services: ServiceRouter,
        typing_indicator: TypingIndicator,
        stream_runner: StreamRunner,
        clock: Clock,
        *,
        session_seconds: float,
        recipients: RecipientIndex,
    ) -> None:
        self._services = services
        self._typing_indicator = typing_indicator
        self._stream_runner = stream_runner
        self._clock = clock
        self._session_seconds = session_seconds
        self._recipients = recipients

    async def call_service(
        self,
        bound_call: BoundCall,
        update: Update,
        state: UserState,
        record: ProcessingRecord,
        lease: ActorLease,
    ) -> ReplyWithPreview:
        """Call the service of a route, and return the reply to send.

        If the user's session has ended, the session service is asked first. Every error
        of a service becomes an outcome in `record` and, except for an event, a reply.

        Args:
            bound_call: the route and the update, ready to be called.
            update: the update.
            state: the user's state, in which the session is stored.
            record: the processing record, which gets the route, the outcome of a failed
                call, and the duration.
            lease: the lease of the mailbox, which has to be valid before each call.

        Returns:
            The reply, or None to send nothing; and the live preview that the reply
            replaces, or None if it was not streamed.
        """
        record.route = bound_call.route_name
        user_id = None
        # Otherwise the state may belong to a user who did not cause the update: updates
        # in a private chat that no human caused are in the mailbox of the chat's user.
        if has_session(update):
            now = self._clock.now()
            if now >= state.session_until:
                await lease.ensure_valid()
                await self._resolve_user(update, state, record, now)
            user_id = state.internal_user_id
        await lease.ensure_valid()
        start = self._clock.uptime()
        preview = None
        try:
            if bound_call.is_streaming:
                reply, preview = await self._call_streaming(
                    bound_call, update, user_id, record, lease
                )
            else:
                indicator = self._typing_indicator.start(bound_call, update)
                try:
                    reply = await bound_call.call(user_id)
                finally:
                    self._typing_indicator.stop(indicator)
        except ServiceError as error:
            _record_error(record, error)
            # Nobody expects a reply to an event.
            if isinstance(update, BotEvent):
                return None, None
            return build_error_reply(update, error), None
        finally:
            record.service_seconds += self._clock.uptime() - start
        if reply.end_session and has_session(update):
            state.internal_user_id = None
            state.session_until = 0  # the next update resolves the user again
        if isinstance(update, BotEvent) and update.event == EVENT_USER_BLOCKED_BOT:
            state.mark_blocked(update.update_id)
            return None, None  # the bot cannot write to a user who blocked it
        return reply, preview

    async def _resolve_user(
        self, update: Update, state: UserState, record: ProcessingRecord, now: float
    ) -> None:
        """Resolve the user; continue without an id if that fails."""
        start = self._clock.uptime()
        try:
            state.internal_user_id = await self._services.resolve_user(update)
            # A user without an id may get one at any moment: try again next time.
            seconds: float = 0
            if state.internal_user_id is not None:
                seconds = self._session_seconds
                context = update.context
                await self._recipients.record_recipient(
                    context.bot.id, state.internal_user_id, context.telegram_user_id
                )
        except ServiceError as error:
            state.internal_user_id = None
            seconds = RETRY_DELAY_SECONDS
            logger.warning(
                "session_not_resolved",
                extra={"request_id": record.request_id, "outcome": error.outcome},
            )
        state.session_until = now + seconds
        record.service_seconds += self._clock.uptime() - start

    async def _call_streaming(
        self,
        bound_call: BoundCall,
        update: Update,
        user_id: str | None,
        record: ProcessingRecord,
        lease: ActorLease,
    ) -> tuple[Reply, StreamingPreview]:
        """Show the reply while it is streamed; after an error, keep the text."""
        result = await self._stream_runner.run_stream(
            bound_call, update, user_id, lease
        )
        reply = result.reply
        if result.stopped:
            record.outcome = Outcome.STOPPED
        if result.error is not None:
            _record_error(record, result.error)
            reply.MergeFrom(build_error_reply(update, result.error))
        return reply, result.preview


def _record_error(record: ProcessingRecord, error: ServiceError) -> None:
    record.outcome = error.outcome
    record.error = str(error)
