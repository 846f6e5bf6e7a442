"""What the service of a route says to an update, or an apology."""

from botgateway.chat.v1.reply_pb2 import Reply
from botgateway.route.v1.event_pb2 import EVENT_USER_BLOCKED_BOT

from gateway.actors.lease import Lease
from gateway.actors.replies.streaming import Streaming
from gateway.actors.replies.typing_indicator import Typing
from gateway.actors.replies.user_notices import excuse
from gateway.actors.session import Sessions, end_session, user_of
from gateway.domain.errors import ServiceError
from gateway.domain.messenger import StreamingPreview
from gateway.domain.ports import Clock
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.services import BoundCall
from gateway.domain.update import Update
from gateway.domain.user_state import UserState

Answer = tuple[Reply, StreamingPreview | None]
"""What the user gets, and what of it the user sees already."""


class Answering:
    """Asks services. Their answers come at once, or piece by piece."""

    def __init__(
        self, sessions: Sessions, typing: Typing, streaming: Streaming, clock: Clock
    ) -> None:
        self._sessions = sessions
        self._typing = typing
        self._streaming = streaming
        self._clock = clock

    async def ask(
        self,
        match: BoundCall,
        update: Update,
        state: UserState,
        record: ProcessingRecord,
        held: Lease,
    ) -> Answer | None:
        """Ask the service of a route. None: nothing is sent."""
        record.route = match.route
        await self._sessions.open(update, state, record, held)
        await held.hold()
        start = self._clock.uptime()
        user_id = user_of(update, state)
        answer: Answer
        try:
            if match.is_streaming:
                answer = await self._follow(match, update, user_id, record, held)
            else:
                with self._typing.begin(match, update):
                    answer = await match.call(user_id), None
        except ServiceError as error:
            _note(record, error)
            # Nobody waits for an answer to an event.
            return None if update.event else (excuse(update, error), None)
        finally:
            record.service_seconds += self._clock.uptime() - start
        if answer[0].end_session:
            end_session(update, state)
        # Whoever blocked the bot cannot be written to.
        return None if update.event == EVENT_USER_BLOCKED_BOT else answer

    async def _follow(
        self,
        match: BoundCall,
        update: Update,
        user_id: str,
        record: ProcessingRecord,
        held: Lease,
    ) -> Answer:
        """Show an answer while it is being written; what there is of it stays."""
        streamed = await self._streaming.follow(match, update, user_id, held)
        reply = streamed.reply
        if streamed.stopped:
            record.outcome = Outcome.STOPPED
        if streamed.error is not None:
            _note(record, streamed.error)
            reply.MergeFrom(excuse(update, streamed.error))
        return reply, streamed.preview


def _note(record: ProcessingRecord, error: ServiceError) -> None:
    record.outcome = error.outcome
    record.error = str(error)
