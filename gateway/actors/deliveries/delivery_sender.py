"""Makes the Bot API calls of a delivery, and finds out how the delivery ended.

The store learns of each call immediately before its request (see `part_recorder.py`).
If the owner of the mailbox is lost before the outcome is known, it is unknown whether
the call took effect: it is *in doubt*. So is a call whose response was lost. Telegram
has no idempotency keys, so a call in doubt that sends a message is either repeated or
skipped, as the caller chose. A call that may be executed twice is always repeated.

Concurrency: the calls of a delivery are made one after the other in the task of its
actor, as those of a reply are.
"""

import asyncio
from collections import deque
from typing import Any

from gateway.actors.deliveries.amendments import has_nothing_to_do
from gateway.actors.deliveries.delivery_progress import DeliveryProgress
from gateway.actors.deliveries.part_recorder import (
    DeliveryStopped,
    PartRecorder,
    get_result,
)
from gateway.actors.leases import ActorLease
from gateway.domain.bot_api_call import BotApiCall, is_idempotent
from gateway.domain.delivery import (
    Delivery,
    DeliveryRecord,
    DeliveryResult,
    DeliveryState,
    SentPart,
)
from gateway.domain.delivery_store import DeliveryStore
from gateway.domain.errors import BotApiError, BotApiUnavailable, RecipientBlocked
from gateway.domain.ports import Clock, Messenger

REPEAT_PAUSE_SECONDS = 1.0
"""The pause before a call in doubt is repeated. A proxy that lost the connection to the
Bot API gets time to recover."""


class DeliverySender:
    """Makes the Bot API calls of deliveries, and records each before it is made.

    Args:
        messenger: makes the calls.
        store: records each call.
        clock: the time.
        patience: how many seconds, from its first failure on, to retry a call that
            certainly did not take effect.
    """

    def __init__(
        self,
        messenger: Messenger,
        store: DeliveryStore,
        clock: Clock,
        *,
        patience: float,
    ) -> None:
        self._messenger = messenger
        self._store = store
        self._clock = clock
        self._patience = patience

    async def send(
        self,
        delivery: Delivery,
        calls: deque[BotApiCall],
        progress: DeliveryProgress,
        lease: ActorLease,
    ) -> DeliveryResult:
        """Make the calls that no earlier owner made, and return the delivery's result.

        Nothing is sent after the first failure: the result says which messages were
        sent before it.

        Args:
            delivery: the delivery.
            calls: its Bot API calls. Each is removed when it has been made.
            progress: a new object. It is changed with each call, so that the caller
                knows what was sent even after an exception.
            lease: the lease of the mailbox.

        Raises:
            LeaseLost: another worker has the mailbox.
            StoreError: the store does not answer.
        """
        recorder = PartRecorder(self._store, self._clock, delivery, progress, lease)
        if lease.mailbox_lease.begun_delivery_id == delivery.delivery_id:
            progress.is_begun = True
        elif result := await self._begin(delivery, calls, progress, recorder):
            return result
        if not (calls or progress.part):
            return progress.end(DeliveryState.FAILED, "nothing_to_send")
        while calls:
            if self._is_expired(delivery):
                return progress.end_expired()
            if result := await self._make_call(
                delivery, calls[0], progress, lease, recorder
            ):
                return result
            calls.popleft()  # frees its files
        return progress.end_sent()

    async def _begin(
        self,
        delivery: Delivery,
        calls: deque[BotApiCall],
        progress: DeliveryProgress,
        recorder: PartRecorder,
    ) -> DeliveryResult | None:
        """Find out what earlier owners did, and begin the first call if it can be made.

        Returns:
            The result of a delivery that ended before; otherwise None.
        """
        # A reply does not look: it is rarely the first call of this worker to a chat.
        cooldown = await self._messenger.learn_cooldown(delivery.chat_id)
        has_to_wait = cooldown or self._is_expired(delivery) or not calls
        record = await (recorder.read() if has_to_wait else recorder.begin_first())
        if record.state.is_final:
            return get_result(record)
        if calls and (record.is_part_begun or record.next_part):
            self._resume(delivery, calls, record, progress)
        return None

    def _is_expired(self, delivery: Delivery) -> bool:
        return self._clock.now() >= delivery.expires_at

    def _resume(
        self,
        delivery: Delivery,
        calls: deque[BotApiCall],
        record: DeliveryRecord,
        progress: DeliveryProgress,
    ) -> None:
        """Continue after an owner that was lost: repeat or skip the call in doubt."""
        progress.part = record.next_part
        progress.sent_parts = tuple(record.sent_parts)
        progress.resolves_doubt = record.is_part_begun
        for _ in range(min(record.next_part, len(calls))):
            calls.popleft()
        if not record.is_part_begun or (calls and is_idempotent(calls[0].method)):
            return
        if calls and delivery.repeat_if_doubtful and not self._is_expired(delivery):
            progress.repeat()
            return
        progress.skip()
        if calls:
            calls.popleft()

    async def _make_call(
        self,
        delivery: Delivery,
        call: BotApiCall,
        progress: DeliveryProgress,
        lease: ActorLease,
        recorder: PartRecorder,
    ) -> DeliveryResult | None:
        """Make one call; return the result of the delivery if it ends with it."""
        may_repeat = delivery.repeat_if_doubtful
        while True:
            await lease.ensure_valid()
            seconds_left = delivery.expires_at - self._clock.now()
            patience = min(self._patience, max(0.0, seconds_left))
            try:
                result = await self._messenger.send(
                    call, patience, recorder.await_pause, recorder.begin
                )
            except DeliveryStopped as stopped:
                return stopped.result
            except BotApiError as error:
                if has_nothing_to_do(call, error.reason):
                    return None
                if not isinstance(error, BotApiUnavailable) or not error.maybe_applied:
                    is_expired = patience < self._patience
                    return _end_after_error(error, progress, is_expired=is_expired)
                if not may_repeat:
                    # As with replies: the next message may be sent, but if its response
                    # is lost as well, more calls would only delay the user.
                    if progress.is_in_doubt:
                        return progress.end(DeliveryState.DOUBTFUL, "response_lost")
                    progress.skip()
                    return None
                may_repeat = False
                progress.repeat()
                await lease.await_pause(asyncio.sleep(REPEAT_PAUSE_SECONDS))
            else:
                progress.advance(_find_sent_parts(result, delivery.chat_id))
                return None


def _end_after_error(
    error: BotApiError, progress: DeliveryProgress, *, is_expired: bool
) -> DeliveryResult:
    """Return the result of a delivery after a call that certainly took no effect."""
    if isinstance(error, RecipientBlocked):
        return progress.end(DeliveryState.BLOCKED, error.reason, error.description)
    if isinstance(error, BotApiUnavailable) and is_expired:
        return progress.end_expired()
    return progress.end(DeliveryState.FAILED, error.reason, error.description)


def _find_sent_parts(result: Any, chat_id: int) -> tuple[SentPart, ...]:  # noqa: ANN401 - each method has a result of its own
    """Return the messages in the result of a call: one, those of an album, or none.

    Args:
        result: the result.
        chat_id: the chat of a message whose chat is not in the result, such as a copy.
    """
    messages = result if isinstance(result, list) else [result]
    sent_parts = []
    for message in messages:
        if not isinstance(message, dict):
            continue
        chat, message_id = message.get("chat"), message.get("message_id")
        if isinstance(message_id, int):
            found = chat.get("id") if isinstance(chat, dict) else None
            sent_parts.append(
                SentPart(found if isinstance(found, int) else chat_id, message_id)
            )
    return tuple(sent_parts)
