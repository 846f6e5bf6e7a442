"""What the service of a route says to an update, or an apology."""

from botgateway.chat.v1.reply_pb2 import Reply
from botgateway.route.v1.event_pb2 import EVENT_USER_BLOCKED_BOT

from gateway.actors.lease import Lease
from gateway.actors.replies.streaming import Streaming
from gateway.actors.replies.typing_indicator import Typing
from gateway.actors.replies.user_notices import excuse
from gateway.actors.session import Sessions, end_session, user_of
from gateway.domain.errors import ServiceError
from gateway.domain.messenger import Preview
from gateway.domain.ports import Clock
from gateway.domain.processing_record import Outcome, Turn
from gateway.domain.services import Match
from gateway.domain.update import Update
from gateway.domain.user_state import State

Answer = tuple[Reply, Preview | None]
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
        self, match: Match, update: Update, state: State, turn: Turn, lease: Lease
    ) -> Answer | None:
        """Ask the service of a route. None: nothing is sent."""
        turn.route = match.route
        await self._sessions.open(update, state, turn, lease)
        await lease.hold()
        start = self._clock.uptime()
        user_id = user_of(update, state)
        answer: Answer
        try:
            if match.streams:
                answer = await self._follow(match, update, user_id, turn, lease)
            else:
                with self._typing.begin(match, update):
                    answer = await match.call(user_id), None
        except ServiceError as error:
            _note(turn, error)
            # Nobody waits for an answer to an event.
            return None if update.event else (excuse(update, error), None)
        finally:
            turn.service_seconds += self._clock.uptime() - start
        if answer[0].end_session:
            end_session(update, state)
        # Whoever blocked the bot cannot be written to.
        return None if update.event == EVENT_USER_BLOCKED_BOT else answer

    async def _follow(
        self, match: Match, update: Update, user_id: str, turn: Turn, lease: Lease
    ) -> Answer:
        """Show an answer while it is being written; what there is of it stays."""
        streamed = await self._streaming.follow(match, update, user_id, lease)
        reply = streamed.reply
        if streamed.stopped:
            turn.outcome = Outcome.STOPPED
        if streamed.error is not None:
            _note(turn, streamed.error)
            reply.MergeFrom(excuse(update, streamed.error))
        return reply, streamed.preview


def _note(turn: Turn, error: ServiceError) -> None:
    turn.outcome = error.outcome
    turn.fault = str(error)
