"""Calls the service of a route, and turns its errors into replies."""

from botgateway.chat.v1.reply_pb2 import Reply
from botgateway.route.v1.event_pb2 import EVENT_USER_BLOCKED_BOT

from gateway.actors.leases import ActorLease
from gateway.actors.replies.streaming import StreamRunner
from gateway.actors.replies.typing_indicator import TypingIndicator
from gateway.actors.replies.user_notices import build_error_reply
from gateway.actors.session import SessionResolver, end_session
from gateway.domain.errors import ServiceError
from gateway.domain.ports import BoundCall, Clock, StreamingPreview
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import BotEvent, Update
from gateway.domain.user_state import UserState

ReplyWithPreview = tuple[Reply | None, StreamingPreview | None]
"""The reply, which is None to send nothing, and the live preview that it replaces,
which is None if the reply was not streamed."""


class ServiceCaller:
    """Calls services, whose replies are single messages or streams."""

    def __init__(
        self,
        session_resolver: SessionResolver,
        typing_indicator: TypingIndicator,
        stream_runner: StreamRunner,
        clock: Clock,
    ) -> None:
        self._session_resolver = session_resolver
        self._typing_indicator = typing_indicator
        self._stream_runner = stream_runner
        self._clock = clock

    async def call_service(
        self,
        bound_call: BoundCall,
        update: Update,
        state: UserState,
        record: ProcessingRecord,
        lease: ActorLease,
    ) -> ReplyWithPreview:
        """Call the service of a route, and return its reply."""
        record.route = bound_call.route
        user_id = await self._session_resolver.ensure_session(
            update, state, record, lease
        )
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
        if reply.end_session:
            end_session(update, state)
        if isinstance(update, BotEvent) and update.event == EVENT_USER_BLOCKED_BOT:
            return None, None  # the bot cannot write to a user who blocked it
        return reply, preview

    async def _call_streaming(
        self,
        bound_call: BoundCall,
        update: Update,
        user_id: str,
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
