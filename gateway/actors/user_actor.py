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

from gateway.actors.lease import ActorLease
from gateway.actors.rate_limit import RateLimiter
from gateway.actors.replies.callback_data import (
    expand_callback_data,
    prepare_callback_data,
)
from gateway.actors.replies.reply_sender import ReplySender
from gateway.actors.replies.service_call import ReplyWithPreview, ServiceCaller
from gateway.actors.replies.user_notices import (
    APOLOGY_TEXT,
    RATE_LIMITED_TEXT,
    UNKNOWN_COMMAND_TEXT,
    build_notice,
)
from gateway.actors.session import get_internal_user_id
from gateway.domain.ports import Clock, MailboxStore
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.services import BoundCall, ServiceRouter
from gateway.domain.update import REPLAYED, Envelope, Update
from gateway.domain.user_state import UserState, decode_user_state, encode_user_state
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)


class UserActor:
    """Serves lanes. Keeps nothing between turns: one object serves all of them."""

    def __init__(
        self,
        mailboxes: MailboxStore,
        services: ServiceRouter,
        service_caller: ServiceCaller,
        reply_sender: ReplySender,
        rate_limiter: RateLimiter,
        *,
        clock: Clock,
        parse_update: Callable[[bytes, float], Update],
        observe_update: Callable[[ProcessingRecord], None],
    ) -> None:
        self._mailboxes = mailboxes
        self._services = services
        self._service_caller = service_caller
        self._reply_sender = reply_sender
        self._rate_limiter = rate_limiter
        self._clock = clock
        self._parse_update = parse_update
        self._observe_update = observe_update

    async def serve_mailbox(self, lease: ActorLease) -> None:
        """Serve a lane until it is empty or wanted back.

        Raises:
            LeaseLost: another worker has the lane; it goes on from the last commit.
        """
        state = decode_user_state(lease.mailbox_lease.state)
        envelope: Envelope | None = lease.mailbox_lease.next_update
        handled = 0
        while envelope is not None:
            record = ProcessingRecord(update_id=envelope.update_id)
            if not lease.mailbox_lease.is_suspected:
                dead_letter_reason = await self._process(envelope, state, record, lease)
            elif lease.mailbox_lease.is_poison:
                dead_letter_reason = _reject_poison(record)
            else:
                await lease.begin_step()
                dead_letter_reason = await self._process(envelope, state, record, lease)
                await lease.end_step()
            if dead_letter_reason:
                state.mark_dead_lettered()
            else:
                state.mark_handled(envelope.update_id, self._clock.now())
            handled += 1
            lease.mailbox_lease.is_committing = True
            envelope = await self._mailboxes.commit(
                lease.mailbox_lease,
                envelope.update_id,
                encode_user_state(state),
                dead_letter_reason=dead_letter_reason,
                release=lease.should_release(handled),
            )
            lease.mailbox_lease.is_committing = False
            if lease.mailbox_lease.owner_losses:
                lease.mailbox_lease.clear_suspicion()
            self._observe_update(record)

    async def _process(
        self,
        envelope: Envelope,
        state: UserState,
        record: ProcessingRecord,
        lease: ActorLease,
    ) -> str:
        """Do one update. Returns the reason to bury it; empty: none."""
        update = None
        try:
            update = self._load_update(envelope)
            record.update_type = update.update_type
            record.request_id = update.context.request_id
            record.telegram_user_id = update.context.telegram_user_id
            if envelope.arrived_at != REPLAYED:
                record.queue_seconds = max(0.0, self._clock.now() - envelope.arrived_at)
            answer = await self._decide_reply(
                update, envelope.arrived_at, state, record, lease
            )
            if answer is not None:
                if lease.mailbox_lease.is_suspected:
                    await lease.begin_step()
                reply, preview = answer
                prepare_callback_data(reply, update, state, self._services)
                sending = self._reply_sender.send(
                    update,
                    reply,
                    record,
                    lease,
                    get_internal_user_id(update, state),
                    preview,
                )
                del answer, reply  # it may hold large files, and is needed no more
                await sending
        except Exception as error:  # noqa: BLE001 - one fault must not stop a user
            record.outcome = Outcome.CRASHED
            record.error = type(error).__name__
            logger.error(  # noqa: TRY400 - a traceback's last line may quote the user
                "fault in an actor",
                extra={
                    "request_id": record.request_id,
                    "error": summarize_error(error),
                },
            )
            if update is not None and not update.event:
                await self._send_apology(update, record, lease)
            return Outcome.CRASHED
        return ""

    def _load_update(self, envelope: Envelope) -> Update:
        """Give the update, which is read already if this worker accepted it."""
        if envelope.arrived_at != REPLAYED:
            return envelope.update or self._parse_update(
                envelope.body, envelope.arrived_at
            )
        update = self._parse_update(envelope.body, self._clock.now())
        return structs.replace(update, bypasses_limits=True)

    async def _decide_reply(
        self,
        update: Update,
        arrived_at: float,
        state: UserState,
        record: ProcessingRecord,
        lease: ActorLease,
    ) -> ReplyWithPreview | None:
        """Decide what the user gets. None: nothing is sent."""
        if update.is_unwanted:
            record.outcome = Outcome.FROM_BOT
            return None
        update = expand_callback_data(update, state)
        bound_call = self._services.route(update)
        skip_reason = _find_skip_reason(update, bound_call, state, record.queue_seconds)
        if skip_reason is not None:
            record.outcome = skip_reason
            return None
        album = update.message.media_group_id if update.message else ""
        # Of other kinds nobody could be told to slow down: inline queries come with
        # each letter that is typed, posts by themselves, and customers of a business do
        # not know that they speak to a bot.
        is_limited = update.expects_reply and not update.bypasses_limits
        if is_limited and not self._rate_limiter.try_acquire(state, arrived_at, album):
            record.outcome = Outcome.LIMITED
            if self._rate_limiter.should_notify(state, arrived_at):
                return build_notice(update, RATE_LIMITED_TEXT), None
            return Reply(), None  # still ends the spinner of a button
        if bound_call is None:
            record.outcome = Outcome.UNKNOWN
            return build_notice(update, UNKNOWN_COMMAND_TEXT), None
        return await self._service_caller.call_service(
            bound_call, update, state, record, lease
        )

    async def _send_apology(
        self, update: Update, record: ProcessingRecord, lease: ActorLease
    ) -> None:
        """Send the apology after a fault of our own, if that much still works."""
        try:
            await self._reply_sender.send(
                update, build_notice(update, APOLOGY_TEXT), record, lease
            )
        except Exception as error:  # noqa: BLE001 - it is the last resort already
            logger.error(  # noqa: TRY400 - as above
                "apology not sent",
                extra={
                    "request_id": record.request_id,
                    "error": summarize_error(error),
                },
            )


def _reject_poison(record: ProcessingRecord) -> str:
    """Give up an update unread. Returns the reason to bury it."""
    record.outcome = Outcome.POISON
    logger.error("update ended its workers", extra={"update_id": record.update_id})
    return Outcome.POISON


def _find_skip_reason(
    update: Update, bound_call: BoundCall | None, state: UserState, queue_seconds: float
) -> Outcome | None:
    """Tell why an update gets no answer at all. None: it gets one."""
    if state.is_duplicate(update.update_id):
        return Outcome.DUPLICATE
    if update.ttl_seconds and queue_seconds > update.ttl_seconds:
        return Outcome.EXPIRED
    if bound_call is None and not _expects_reply(update):
        # The stop was told to the answer when it came in; it took effect or came late.
        return Outcome.DONE if update.stopped_draft_id else Outcome.UNROUTED
    return None


def _expects_reply(update: Update) -> bool:
    """Tell whether the user would wonder about silence where no route fits."""
    if update.command:
        # In a group the command may be meant for any other bot.
        return update.mentions_bot or update.context.chat_type == CHAT_TYPE_PRIVATE
    return bool(update.callback_query_id)
