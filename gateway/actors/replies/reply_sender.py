"""Sends replies, and tells a service when a user cannot be reached.

Concurrency: a reply is sent, with all retries, in the task of its actor. The parts of a
reply are sent one after the other. The user's next update waits for all of them; other
users are not delayed. Rendering a large reply may take seconds, so it runs in a thread
and does not block the event loop.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from botgateway.chat.v1.reply_pb2 import Reply
from botgateway.route.v1.event_pb2 import EVENT_DELIVERY_FAILED
from msgspec import structs

from gateway.actors.leases import ActorLease
from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import (
    BotApiError,
    BotApiUnavailable,
    RecipientBlocked,
    ServiceError,
)
from gateway.domain.ports import Clock, Messenger, ServiceRouter, StreamingPreview
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import Update, has_session
from gateway.domain.user_state import UserState

logger = logging.getLogger(__name__)

LARGE_REPLY_BYTES = 8 * 2**10
"""The size from which a reply is rendered in a thread. Parsing markup takes up to 8 us
per character, so a larger reply might block the event loop for too long."""


class ReplySender:
    """Sends replies, one message after the other.

    Args:
        messenger: renders the replies and makes the calls.
        services: finds the route of the event that a user cannot be reached.
        clock: the time.
        patience: how many seconds, from its first failure on, to retry a call that
            certainly did not take effect.
    """

    def __init__(
        self,
        messenger: Messenger,
        services: ServiceRouter,
        clock: Clock,
        *,
        patience: float,
    ) -> None:
        self._patience = patience
        self._messenger = messenger
        self._services = services
        self._clock = clock

    async def send(
        self,
        update: Update,
        reply: Reply,
        record: ProcessingRecord,
        lease: ActorLease | None,
        state: UserState | None = None,
        preview: StreamingPreview | None = None,
    ) -> None:
        """Send a reply. Failures are logged, and the update counts as handled.

        Args:
            update: the update that the reply is for.
            reply: the reply to send.
            record: the processing record, in which the outcome of a failure and the
                duration are stored.
            lease: has to be valid before each call. None if the update is not in a
                mailbox; then nothing is retried.
            state: the user's state. It is marked if the user cannot be reached, and its
                internal user id is passed to the service that is told about that. None
                to mark nothing, and to tell the service no id.
            preview: the live preview that the reply replaces, or None.
        """
        render: Callable[[Reply], Sequence[BotApiCall]] = (
            partial(self._messenger.render, update)
            if preview is None
            else preview.finalize
        )
        if reply.ByteSize() > LARGE_REPLY_BYTES:
            rendered = await asyncio.to_thread(render, reply)
        else:
            rendered = render(reply)
        calls = deque(rendered)
        del rendered
        del reply  # frees each file after its call: only the calls refer to it now
        in_doubt = is_blocked = False
        while calls and not is_blocked:
            call = calls.popleft()
            start = self._clock.uptime()
            try:
                if lease is None:
                    await self._messenger.send(call)
                else:
                    await lease.ensure_valid()
                    patience = self._patience
                    if update.answer_deadline and call.method.startswith("answer"):
                        # Telegram accepts an answer for a limited time only.
                        seconds_left = update.answer_deadline - self._clock.now()
                        patience = min(patience, max(0, seconds_left))
                    await self._messenger.send(call, patience, lease.await_pause)
                in_doubt = False
            except RecipientBlocked:
                _set_outcome(record, Outcome.BLOCKED)
                is_blocked = True
            except BotApiError as error:
                _record_failure(record, error)
                # The next part may succeed although this one was rejected or may have
                # been applied. Without a connection, trying it only delays the user.
                if call.chat_id is not None and isinstance(error, BotApiUnavailable):
                    if in_doubt or not error.maybe_applied:
                        break
                    in_doubt = True
            finally:
                record.telegram_seconds += self._clock.uptime() - start
        if is_blocked:
            await self._report_delivery_failure(update, record, lease, state)

    async def _report_delivery_failure(
        self,
        update: Update,
        record: ProcessingRecord,
        lease: ActorLease | None,
        state: UserState | None,
    ) -> None:
        """Report a user that cannot be reached to the service with that route."""
        # The chat of a business account is between its owner and a customer.
        is_private = update.context.chat_type == CHAT_TYPE_PRIVATE
        if not is_private or update.context.business_connection_id:
            return
        if state is not None:
            state.mark_blocked(update.update_id)
        if lease is not None:
            await lease.ensure_valid()
        # The rpc may have been called for this update already, because the user
        # unblocked the bot. This is another event, which needs its own idempotency key.
        context = RequestContext()
        context.CopyFrom(update.context)
        context.request_id += "-undelivered"
        failed_update = structs.replace(update, context=context)
        bound_call = self._services.route_event(failed_update, EVENT_DELIVERY_FAILED)
        if bound_call is None:
            return
        user_id = state.internal_user_id if state and has_session(update) else None
        start = self._clock.uptime()
        try:
            await bound_call.call(user_id)
        except ServiceError as error:
            logger.warning(
                "delivery_failure_not_reported",
                extra={"request_id": record.request_id, "outcome": error.outcome},
            )
        finally:
            record.service_seconds += self._clock.uptime() - start


def _record_failure(record: ProcessingRecord, error: BotApiError) -> None:
    _set_outcome(record, Outcome.SEND_FAILED)
    record.error = str(error)
    logger.error(
        "reply_not_sent",
        extra={"request_id": record.request_id, "error": record.error},
    )


def _set_outcome(record: ProcessingRecord, outcome: Outcome) -> None:
    """Set the outcome of a failed send, unless the record has a worse one."""
    if record.outcome is Outcome.DONE:
        record.outcome = outcome
