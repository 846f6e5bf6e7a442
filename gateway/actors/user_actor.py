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
from gateway.domain.ports import Clock, MailboxStore
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.services import BoundCall, ServiceRouter
from gateway.domain.update import REPLAYED, Envelope, Update
from gateway.domain.user_state import UserState, decode_user_state, encode_user_state
from gateway.logs import describe

logger = logging.getLogger(__name__)


class Actor:
    """Serves lanes. Keeps nothing between turns: one object serves all of them."""

    def __init__(
        self,
        mailboxes: MailboxStore,
        services: ServiceRouter,
        answering: Answering,
        delivery: Delivery,
        rate_limit: RateLimit,
        *,
        clock: Clock,
        read: Callable[[bytes, float], Update],
        observe: Callable[[ProcessingRecord], None],
    ) -> None:
        self._mailboxes = mailboxes
        self._services = services
        self._answering = answering
        self._delivery = delivery
        self._rate_limit = rate_limit
        self._clock = clock
        self._read = read
        self._observe = observe

    async def run(self, held: Lease) -> None:
        """Serve a lane until it is empty or wanted back.

        Raises:
            LeaseLost: another worker has the lane; it goes on from the last commit.
        """
        state = decode_user_state(held.claim.state)
        envelope: Envelope | None = held.claim.next_update
        handled = 0
        while envelope is not None:
            record = ProcessingRecord(update_id=envelope.update_id)
            if not held.claim.is_suspected:
                dead = await self._take(envelope, state, record, held)
            elif held.claim.is_poison:
                dead = _give_up(record)
            else:
                await held.begin_step()
                dead = await self._take(envelope, state, record, held)
                await held.end_step()
            if dead:
                state.mark_dead_lettered()
            else:
                state.mark_handled(envelope.update_id, self._clock.now())
            handled += 1
            held.claim.is_committing = True
            envelope = await self._mailboxes.commit(
                held.claim,
                envelope.update_id,
                encode_user_state(state),
                dead_letter_reason=dead,
                release=held.wanted_back(handled),
            )
            held.claim.is_committing = False
            if held.claim.owner_losses:
                held.claim.clear_suspicion()
            self._observe(record)

    async def _take(
        self,
        envelope: Envelope,
        state: UserState,
        record: ProcessingRecord,
        held: Lease,
    ) -> str:
        """Do one update. Returns the reason to bury it; empty: none."""
        update = None
        try:
            update = self._open(envelope)
            record.update_type = update.update_type
            record.request_id = update.context.request_id
            record.telegram_user_id = update.context.telegram_user_id
            if envelope.arrived_at != REPLAYED:
                record.queue_seconds = max(0.0, self._clock.now() - envelope.arrived_at)
            answer = await self._answer(
                update, envelope.arrived_at, state, record, held
            )
            if answer is not None:
                if held.claim.is_suspected:
                    await held.begin_step()
                reply, preview = answer
                prepare(reply, update, state, self._services)
                sending = self._delivery.send(
                    update, reply, record, held, user_of(update, state), preview
                )
                del answer, reply  # it may hold large files, and is needed no more
                await sending
        except Exception as error:  # noqa: BLE001 - one fault must not stop a user
            record.outcome = Outcome.CRASHED
            record.error = type(error).__name__
            logger.error(  # noqa: TRY400 - a traceback's last line may quote the user
                "fault in an actor",
                extra={"request_id": record.request_id, "error": describe(error)},
            )
            if update is not None and not update.event:
                await self._apologise(update, record, held)
            return Outcome.CRASHED
        return ""

    def _open(self, envelope: Envelope) -> Update:
        """Give the update, which is read already if this worker accepted it."""
        if envelope.arrived_at != REPLAYED:
            return envelope.update or self._read(envelope.body, envelope.arrived_at)
        update = self._read(envelope.body, self._clock.now())
        return structs.replace(update, bypasses_limits=True)

    async def _answer(
        self,
        update: Update,
        arrived: float,
        state: UserState,
        record: ProcessingRecord,
        held: Lease,
    ) -> Answer | None:
        """Decide what the user gets. None: nothing is sent."""
        if update.is_unwanted:
            record.outcome = Outcome.FROM_BOT
            return None
        update = look_up(update, state)
        match = self._services.route(update)
        needless = _needless(update, match, state, record.queue_seconds)
        if needless is not None:
            record.outcome = needless
            return None
        album = update.message.media_group_id if update.message else ""
        # Of other kinds nobody could be told to slow down: inline queries come with
        # each letter that is typed, posts by themselves, and customers of a business do
        # not know that they speak to a bot.
        limited = update.expects_reply and not update.bypasses_limits
        if limited and not self._rate_limit.allows(state, arrived, album):
            record.outcome = Outcome.LIMITED
            if self._rate_limit.notices(state, arrived):
                return notice(update, SLOW_DOWN), None
            return Reply(), None  # still ends the spinner of a button
        if match is None:
            record.outcome = Outcome.UNKNOWN
            return notice(update, HINT), None
        return await self._answering.ask(match, update, state, record, held)

    async def _apologise(
        self, update: Update, record: ProcessingRecord, held: Lease
    ) -> None:
        """Send the apology after a fault of our own, if that much still works."""
        try:
            await self._delivery.send(update, notice(update, APOLOGY), record, held)
        except Exception as error:  # noqa: BLE001 - it is the last resort already
            logger.error(  # noqa: TRY400 - as above
                "apology not sent",
                extra={"request_id": record.request_id, "error": describe(error)},
            )


def _give_up(record: ProcessingRecord) -> str:
    """Give up an update unread. Returns the reason to bury it."""
    record.outcome = Outcome.POISON
    logger.error("update ended its workers", extra={"update_id": record.update_id})
    return Outcome.POISON


def _needless(
    update: Update, match: BoundCall | None, state: UserState, waited: float
) -> Outcome | None:
    """Tell why an update gets no answer at all. None: it gets one."""
    if state.is_duplicate(update.update_id):
        return Outcome.DUPLICATE
    if update.ttl_seconds and waited > update.ttl_seconds:
        return Outcome.EXPIRED
    if match is None and not _expects_answer(update):
        # The stop was told to the answer when it came in; it took effect or came late.
        return Outcome.DONE if update.stopped_draft_id else Outcome.UNROUTED
    return None


def _expects_answer(update: Update) -> bool:
    """Tell whether the user would wonder about silence where no route fits."""
    if update.command:
        # In a group the command may be meant for any other bot.
        return update.mentions_bot or update.context.chat_type == CHAT_TYPE_PRIVATE
    return bool(update.callback_query_id)
