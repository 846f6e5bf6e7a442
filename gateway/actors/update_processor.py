"""Processes one update: routes it, calls its service and sends the reply.

It starts no tasks: it awaits all its calls here, and cancelling it cancels the call
that it waits for. An internal error affects one update only: its user gets an apology,
and the caller makes it a dead letter.
"""

import logging
from collections.abc import Callable

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE
from botgateway.chat.v1.reply_pb2 import Reply
from botgateway.route.v1.event_pb2 import EVENT_USER_BLOCKED_BOT

from gateway.actors.leases import ActorLease
from gateway.actors.rate_limit import RateLimiter
from gateway.actors.replies.callback_data import (
    expand_callback_data,
    prepare_callback_data,
)
from gateway.actors.replies.reply_sender import ReplySender
from gateway.actors.replies.service_call import ServiceCaller
from gateway.actors.replies.user_notices import (
    RATE_LIMITED_TEXT,
    UNKNOWN_COMMAND_TEXT,
    build_notice,
)
from gateway.domain.errors import APOLOGY_TEXT
from gateway.domain.ports import Clock, ServiceRouter
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import (
    BotEvent,
    ButtonPress,
    Command,
    Envelope,
    StoppedReply,
    Update,
    UserMessage,
)
from gateway.domain.user_state import UserState
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)


class UpdateProcessor:
    """Routes updates, calls their services and sends the replies.

    It has no state, so one object serves all mailboxes of a bot.

    Args:
        services: finds the route of an update.
        service_caller: calls the service of the route.
        reply_sender: sends the reply.
        rate_limiter: limits the updates of each user.
        clock: the time.
        parse_update: parses an update that this worker did not accept itself, from its
            body and its time of arrival in seconds since the epoch.
    """

    def __init__(
        self,
        services: ServiceRouter,
        service_caller: ServiceCaller,
        reply_sender: ReplySender,
        rate_limiter: RateLimiter,
        *,
        clock: Clock,
        parse_update: Callable[[bytes, float], Update],
    ) -> None:
        self._services = services
        self._service_caller = service_caller
        self._reply_sender = reply_sender
        self._rate_limiter = rate_limiter
        self._clock = clock
        self._parse_update = parse_update

    async def process(
        self,
        envelope: Envelope,
        state: UserState,
        record: ProcessingRecord,
        lease: ActorLease,
    ) -> str | None:
        """Route one update, call its service and send the reply.

        An update that came twice, too late or from another bot is skipped. The store is
        not changed: the caller commits the update and the state.

        Args:
            envelope: the update.
            state: the user's state, which is changed.
            record: the processing record, which gets the outcome and the times.
            lease: the lease of the mailbox.

        Returns:
            The reason to make the update a dead letter, after an internal error; None
            if it was handled, even if its service or its reply failed.
        """
        update = None
        try:
            # If this worker accepted the update, it has been parsed already.
            update = envelope.update
            if update is None:
                arrived_at = envelope.arrived_at
                update = self._parse_update(
                    envelope.body,
                    self._clock.now() if arrived_at is None else arrived_at,
                )
            record.update_type = update.update_type
            record.request_id = update.context.request_id
            record.telegram_user_id = update.context.telegram_user_id or None
            if envelope.arrived_at is not None:
                record.queue_seconds = max(0.0, self._clock.now() - envelope.arrived_at)
            if update.is_unwanted:
                record.outcome = Outcome.FROM_BOT
            elif state.is_duplicate(update.update_id):
                record.outcome = Outcome.DUPLICATE
            elif (
                update.ttl_seconds is not None
                and record.queue_seconds > update.ttl_seconds
            ):
                record.outcome = Outcome.EXPIRED
            else:
                await self._reply(update, envelope.arrived_at, state, record, lease)
        except Exception as error:  # noqa: BLE001 - must not stop the user's updates
            await self._handle_crash(error, update, record, lease)
            return Outcome.CRASHED
        return None

    async def _reply(
        self,
        update: Update,
        arrived_at: float | None,
        state: UserState,
        record: ProcessingRecord,
        lease: ActorLease,
    ) -> None:
        """Route an update, call its service and send the reply."""
        if isinstance(update, ButtonPress):
            update = expand_callback_data(update, state)
        bound_call = self._services.route(update)
        if bound_call is None and not _expects_reply(update):
            # A stop was published when the update arrived; it took effect or was late.
            is_stop = isinstance(update, StoppedReply)
            if isinstance(update, BotEvent) and update.event == EVENT_USER_BLOCKED_BOT:
                state.mark_blocked(update.update_id)
            record.outcome = Outcome.DONE if is_stop else Outcome.UNROUTED
            return
        reply: Reply | None
        preview = None
        album = None
        if isinstance(update, UserMessage):
            album = update.message.media_group_id or None
        # For other updates it makes no sense to ask the user to slow down: each typed
        # letter causes an inline query, posts are not addressed to the bot, and the
        # customers of a business do not know that they write to a bot.
        if (
            arrived_at is not None
            and update.expects_reply
            and not update.bypasses_limits
            and not self._rate_limiter.try_acquire(state, arrived_at, album)
        ):
            record.outcome = Outcome.LIMITED
            reply = Reply()  # even an empty reply ends the spinner of a button
            if self._rate_limiter.should_notify(state, arrived_at):
                reply = build_notice(update, RATE_LIMITED_TEXT)
        elif bound_call is None:
            record.outcome = Outcome.UNKNOWN
            reply = build_notice(update, UNKNOWN_COMMAND_TEXT)
        else:
            reply, preview = await self._service_caller.call_service(
                bound_call, update, state, record, lease
            )
            if reply is None:
                return
        if lease.is_suspected:
            await lease.begin_step()
        prepare_callback_data(reply, update, state, self._services)
        sending = self._reply_sender.send(update, reply, record, lease, state, preview)
        del reply  # frees large files as soon as they are sent
        await sending

    async def _handle_crash(
        self,
        error: Exception,
        update: Update | None,
        record: ProcessingRecord,
        lease: ActorLease,
    ) -> None:
        """Log an internal error, and send an apology if sending still works."""
        record.outcome = Outcome.CRASHED
        record.error = type(error).__name__
        logger.error(
            "update_crashed",
            extra={"request_id": record.request_id, "error": summarize_error(error)},
        )
        if update is None or isinstance(update, BotEvent):
            return
        try:
            await self._reply_sender.send(
                update, build_notice(update, APOLOGY_TEXT), record, lease
            )
        except Exception as another_error:  # noqa: BLE001 - this is the last resort
            logger.error(  # noqa: TRY400 - a traceback's last line may quote the user
                "apology_not_sent",
                extra={
                    "request_id": record.request_id,
                    "error": summarize_error(another_error),
                },
            )


def _expects_reply(update: Update) -> bool:
    """Return whether the user expects a reply although no route matches."""
    if isinstance(update, Command):
        # In a group the command may be meant for any other bot.
        return update.mentions_bot or update.context.chat_type == CHAT_TYPE_PRIVATE
    return isinstance(update, ButtonPress)
