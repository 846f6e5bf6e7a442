"""One user's turn, top to bottom.

An actor exists from the claim of a lane to the commit that leaves it. It takes the
lane's updates one at a time, lowest `update_id` first. It starts no tasks: all its
calls are awaited here, and cancelling it cancels the call it waits for. A fault in one
turn ends that turn only: the update goes into the dead letters and the next one is
taken.
"""

import logging
from collections.abc import Callable

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE
from botgateway.chat.v1.reply_pb2 import Reply
from msgspec import structs

from gateway.actors.lease import Lease
from gateway.actors.rate_limit import RateLimit
from gateway.actors.replies.callback_data import look_up, prepare
from gateway.actors.replies.reply_sender import Delivery
from gateway.actors.replies.service_call import Answer, Answering
from gateway.actors.replies.user_notices import APOLOGY, HINT, SLOW_DOWN, notice
from gateway.actors.session import user_of
from gateway.domain.ports import Clock, Mailboxes
from gateway.domain.processing_record import Outcome, Turn
from gateway.domain.services import Match, Services
from gateway.domain.update import REPLAYED, Envelope, Update
from gateway.domain.user_state import State, decode_state, encode_state
from gateway.logs import describe

logger = logging.getLogger(__name__)


class Actor:
    """Serves lanes. Keeps nothing between turns: one object serves all of them."""

    def __init__(
        self,
        mailboxes: Mailboxes,
        services: Services,
        answering: Answering,
        delivery: Delivery,
        rate_limit: RateLimit,
        *,
        clock: Clock,
        read: Callable[[bytes, float], Update],
        observe: Callable[[Turn], None],
    ) -> None:
        self._mailboxes = mailboxes
        self._services = services
        self._answering = answering
        self._delivery = delivery
        self._rate_limit = rate_limit
        self._clock = clock
        self._read = read
        self._observe = observe

    async def run(self, lease: Lease) -> None:
        """Serve a lane until it is empty or wanted back.

        Raises:
            ClaimLost: another worker has the lane; it goes on from the last commit.
        """
        state = decode_state(lease.claim.state)
        envelope: Envelope | None = lease.claim.head
        handled = 0
        while envelope is not None:
            turn = Turn(update_id=envelope.update_id)
            if not lease.claim.suspected:
                dead = await self._take(envelope, state, turn, lease)
            elif lease.claim.poisonous:
                dead = _give_up(turn)
            else:
                await lease.begin_step()
                dead = await self._take(envelope, state, turn, lease)
                await lease.end_step()
            if dead:
                state.give_up()
            else:
                state.remember(envelope.update_id, self._clock.now())
            handled += 1
            lease.claim.committing = True
            envelope = await self._mailboxes.commit(
                lease.claim,
                envelope.update_id,
                encode_state(state),
                dead=dead,
                give_back=lease.wanted_back(handled),
            )
            lease.claim.committing = False
            if lease.claim.deaths:
                lease.claim.clear()
            self._observe(turn)

    async def _take(
        self, envelope: Envelope, state: State, turn: Turn, lease: Lease
    ) -> str:
        """Do one update. Returns the reason to bury it; empty: none."""
        update = None
        try:
            update = self._open(envelope)
            turn.kind = update.kind
            turn.request_id = update.context.request_id
            turn.telegram_user_id = update.context.telegram_user_id
            if envelope.arrived != REPLAYED:
                turn.queue_seconds = max(0.0, self._clock.now() - envelope.arrived)
            answer = await self._answer(update, envelope.arrived, state, turn, lease)
            if answer is not None:
                if lease.claim.suspected:
                    await lease.begin_step()
                reply, preview = answer
                prepare(reply, update, state, self._services)
                sending = self._delivery.send(
                    update, reply, turn, lease, user_of(update, state), preview
                )
                del answer, reply  # it may hold large files, and is needed no more
                await sending
        except Exception as error:  # noqa: BLE001 - one fault must not stop a user
            turn.outcome = Outcome.CRASHED
            turn.fault = type(error).__name__
            logger.error(  # noqa: TRY400 - a traceback's last line may quote the user
                "fault in an actor",
                extra={"request_id": turn.request_id, "error": describe(error)},
            )
            if update is not None and not update.event:
                await self._apologise(update, turn, lease)
            return Outcome.CRASHED
        return ""

    def _open(self, envelope: Envelope) -> Update:
        """Give the update, which is read already if this worker accepted it."""
        if envelope.arrived != REPLAYED:
            return envelope.update or self._read(envelope.body, envelope.arrived)
        update = self._read(envelope.body, self._clock.now())
        return structs.replace(update, exempt=True)

    async def _answer(
        self, update: Update, arrived: float, state: State, turn: Turn, lease: Lease
    ) -> Answer | None:
        """Decide what the user gets. None: nothing is sent."""
        if update.unwanted:
            turn.outcome = Outcome.FROM_BOT
            return None
        update = look_up(update, state)
        match = self._services.find(update)
        needless = _needless(update, match, state, turn.queue_seconds)
        if needless is not None:
            turn.outcome = needless
            return None
        album = update.message.media_group_id if update.message else ""
        # Of other kinds nobody could be told to slow down: inline queries come with
        # each letter that is typed, posts by themselves, and customers of a business do
        # not know that they speak to a bot.
        limited = update.speaks and not update.exempt
        if limited and not self._rate_limit.allows(state, arrived, album):
            turn.outcome = Outcome.LIMITED
            if self._rate_limit.notices(state, arrived):
                return notice(update, SLOW_DOWN), None
            return Reply(), None  # still ends the spinner of a button
        if match is None:
            turn.outcome = Outcome.UNKNOWN
            return notice(update, HINT), None
        return await self._answering.ask(match, update, state, turn, lease)

    async def _apologise(self, update: Update, turn: Turn, lease: Lease) -> None:
        """Send the apology after a fault of our own, if that much still works."""
        try:
            await self._delivery.send(update, notice(update, APOLOGY), turn, lease)
        except Exception as error:  # noqa: BLE001 - it is the last resort already
            logger.error(  # noqa: TRY400 - as above
                "apology not sent",
                extra={"request_id": turn.request_id, "error": describe(error)},
            )


def _give_up(turn: Turn) -> str:
    """Give up an update unread. Returns the reason to bury it."""
    turn.outcome = Outcome.POISON
    logger.error("update ended its workers", extra={"update_id": turn.update_id})
    return Outcome.POISON


def _needless(
    update: Update, match: Match | None, state: State, waited: float
) -> Outcome | None:
    """Tell why an update gets no answer at all. None: it gets one."""
    if state.seen(update.update_id):
        return Outcome.DUPLICATE
    if update.useful_seconds and waited > update.useful_seconds:
        return Outcome.EXPIRED
    if match is None and not _expects_answer(update):
        # The stop was told to the answer when it came in; it took effect or came late.
        return Outcome.DONE if update.stopped_draft_id else Outcome.UNROUTED
    return None


def _expects_answer(update: Update) -> bool:
    """Tell whether the user would wonder about silence where no route fits."""
    if update.command:
        # In a group the command may be meant for any other bot.
        return update.addressed or update.context.chat_type == CHAT_TYPE_PRIVATE
    return bool(update.callback_query_id)
