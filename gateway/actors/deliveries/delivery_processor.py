"""Processes the delivery at the head of a mailbox, and commits its end.

Its counterpart for updates is `update_processor.py`. Rate limits and the recognition of
repeated updates do not apply: the store recognizes a repeated delivery by its
idempotency key. An internal error affects one delivery only: it has failed, its mail
goes to the dead letters, and the actor continues.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import structs

from gateway.actors.deliveries.delivery_progress import DeliveryProgress
from gateway.actors.deliveries.delivery_renderer import (
    DeliveryRenderer,
    InvalidDelivery,
)
from gateway.actors.deliveries.delivery_sender import DeliverySender
from gateway.actors.leases import ActorLease
from gateway.domain.broadcast import BroadcastState, get_recipient
from gateway.domain.delivery import (
    Delivery,
    DeliveryKind,
    DeliveryResult,
    DeliveryState,
)
from gateway.domain.delivery_store import DeliveryStore
from gateway.domain.errors import LeaseLost, StoreError
from gateway.domain.poison import is_poison
from gateway.domain.ports import Clock
from gateway.domain.processing_record import Outcome
from gateway.domain.update import Envelope
from gateway.domain.user_state import UserState, encode_user_state
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

_DEAD_LETTER_REASONS = frozenset({Outcome.CRASHED, Outcome.POISON})
"""The reasons of a failure that make the mail a dead letter."""

_STOPS: Mapping[BroadcastState | None, DeliveryResult] = {
    BroadcastState.PAUSED: DeliveryResult(state=DeliveryState.SCHEDULED),
    BroadcastState.CANCELLED: DeliveryResult(
        state=DeliveryState.CANCELLED, reason="cancelled"
    ),
}
"""The results of the deliveries of a broadcast that is paused or cancelled. SCHEDULED
puts the recipient back among those who wait."""


class OpenBroadcasts(Protocol):
    """The part of `BroadcastStore` that shows whether a broadcast may still be sent."""

    async def list_open_broadcasts(self) -> Mapping[str, BroadcastState]:
        """Return the ids and states of the broadcasts that have something left to do.

        See `BroadcastStore.list_open_broadcasts`.
        """


ObserveDelivery = Callable[[Delivery, DeliveryResult, float], None]
"""Called with each delivery that ended, its result, and how many seconds it took from
its acceptance, or from its `not_before` if that is later."""


class DeliveryProcessor:
    """Renders and sends deliveries, and commits how they ended.

    It has no state, so one object serves all mailboxes of a bot.

    Args:
        store: stores the deliveries and their records.
        renderer: turns the request of a delivery into Bot API calls.
        sender: makes these calls.
        broadcasts: shows whether the broadcast of a delivery is paused or cancelled.
        clock: the time.
        observe_delivery: counts and logs each delivery that ended.
    """

    def __init__(
        self,
        store: DeliveryStore,
        renderer: DeliveryRenderer,
        sender: DeliverySender,
        *,
        broadcasts: OpenBroadcasts,
        clock: Clock,
        observe_delivery: ObserveDelivery,
    ) -> None:
        self._store = store
        self._renderer = renderer
        self._sender = sender
        self._broadcasts = broadcasts
        self._clock = clock
        self._observe_delivery = observe_delivery

    async def process(
        self,
        delivery: Delivery,
        state: UserState,
        lease: ActorLease,
        should_release: Callable[[], bool],
    ) -> Envelope | None:
        """Send a delivery and commit how it ended.

        Args:
            delivery: the delivery at the head of the mailbox.
            state: the state of the mailbox, which may be changed and is saved with the
                commit.
            lease: the lease of the mailbox.
            should_release: returns whether to release the lease after this delivery.

        Returns:
            The next update or delivery of the mailbox; None if the mailbox is empty or
            was released.

        Raises:
            LeaseLost: another worker has the lease; it continues after the last Bot API
                call that was recorded.
            StoreError: the store does not answer. The delivery stays in the mailbox.
        """
        mailbox_lease = lease.mailbox_lease
        if not lease.is_suspected:
            result = await self._carry_out(delivery, state, lease)
        elif is_poison(mailbox_lease):
            result = await self._reject_poison(delivery)
        else:
            await lease.begin_step()
            result = await self._carry_out(delivery, state, lease)
            await lease.end_step()
        # The failures of a broadcast are listed there. They are not replayed, so that
        # no end is counted twice.
        is_dead_letter = (
            result.reason in _DEAD_LETTER_REASONS and not delivery.broadcast_id
        )
        mailbox_lease.is_committing = True
        next_mail = await self._store.commit_delivery(
            mailbox_lease,
            delivery.delivery_id,
            encode_user_state(state),
            result,
            dead_letter_reason=result.reason if is_dead_letter else None,
            release=should_release(),
            recipient=get_recipient(delivery),
        )
        mailbox_lease.is_committing = False
        if mailbox_lease.owner_losses:
            lease.clear_suspicion()
        if not result.state.is_final:  # its recipient waits again
            return next_mail
        start = max(delivery.accepted_at, delivery.not_before or 0)
        self._observe_delivery(delivery, result, max(0.0, self._clock.now() - start))
        return next_mail

    async def _carry_out(
        self, delivery: Delivery, state: UserState, lease: ActorLease
    ) -> DeliveryResult:
        """Carry out a delivery, and return its result."""
        if delivery.broadcast_id:
            states = await self._broadcasts.list_open_broadcasts()
            stopped = _STOPS.get(states.get(delivery.broadcast_id))
            if stopped is not None:
                return stopped
        # Other calls may fail with a 403 because of another chat than that of the user.
        needs_user = delivery.chat_id > 0 and delivery.kind is DeliveryKind.SEND
        if needs_user and state.is_blocked:
            return DeliveryResult(
                state=DeliveryState.BLOCKED, reason="known_as_blocked"
            )
        progress = DeliveryProgress()
        try:
            calls = await self._renderer.render(delivery, state)
            result = await self._sender.send(delivery, calls, progress, lease)
        except (LeaseLost, StoreError):
            raise
        except InvalidDelivery as error:
            return progress.end(DeliveryState.FAILED, str(error))
        except Exception as error:  # noqa: BLE001 - must not stop the user's updates
            logger.error(  # noqa: TRY400 - a traceback's last line may quote the user
                "delivery_crashed",
                extra={
                    "delivery_id": delivery.delivery_id,
                    "error": summarize_error(error),
                },
            )
            return await self._give_up(delivery, Outcome.CRASHED, progress)
        if needs_user and result.state is DeliveryState.BLOCKED:
            state.mark_blocked()
        return result

    async def _reject_poison(self, delivery: Delivery) -> DeliveryResult:
        """Return the result of a delivery that ends the workers that process it."""
        logger.error("poison_delivery", extra={"delivery_id": delivery.delivery_id})
        return await self._give_up(delivery, Outcome.POISON, DeliveryProgress())

    async def _give_up(
        self, delivery: Delivery, reason: Outcome, progress: DeliveryProgress
    ) -> DeliveryResult:
        """Return the result of a delivery that becomes a dead letter.

        It says what is known of the calls, because an operator may replay it.
        """
        record = await self._store.get_delivery(delivery.delivery_id)
        result = progress.end(DeliveryState.FAILED, reason)
        if record is None:
            return result
        return structs.replace(
            result,
            sent_parts=result.sent_parts or tuple(record.sent_parts),
            is_part_begun=record.is_part_begun,
        )
