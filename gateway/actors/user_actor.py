"""Serves one mailbox.

An actor lives from the acquisition of a lease to the commit that releases it. It
processes the mail one at a time: updates with the lowest `update_id` first, and each
delivery behind what was accepted before it. An error affects one update or delivery
only: it goes to the dead letters, and the actor continues with the next one.
"""

import logging
from collections.abc import Callable
from functools import partial

from gateway.actors.deliveries.delivery_processor import DeliveryProcessor
from gateway.actors.leases import ActorLease
from gateway.actors.update_processor import UpdateProcessor
from gateway.domain.poison import is_poison
from gateway.domain.ports import Clock, MailboxStore
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import Envelope
from gateway.domain.user_state import decode_user_state, encode_user_state

logger = logging.getLogger(__name__)


class UserActor:
    """Serves mailboxes: one object serves all mailboxes of a bot.

    Args:
        mailboxes: the store, to which each processed update is committed.
        update_processor: processes updates.
        delivery_processor: processes deliveries.
        clock: the time.
        observe_update: counts and logs each processed update.
    """

    def __init__(
        self,
        mailboxes: MailboxStore,
        update_processor: UpdateProcessor,
        delivery_processor: DeliveryProcessor,
        *,
        clock: Clock,
        observe_update: Callable[[ProcessingRecord], None],
    ) -> None:
        self._mailboxes = mailboxes
        self._update_processor = update_processor
        self._delivery_processor = delivery_processor
        self._clock = clock
        self._observe_update = observe_update
        self.is_retired = False
        """Whether the bot was replaced or removed: set to True by the registry of bots.
        The leases are then released after the present update, for another actor."""

    async def serve_mailbox(
        self, lease: ActorLease, should_release: Callable[[int], bool]
    ) -> None:
        """Process the mail of a mailbox until it is empty or has to be released.

        Args:
            lease: the lease of the mailbox.
            should_release: called after each update and delivery with the number of
                them so far; returns whether to release the lease.

        Raises:
            LeaseLost: another worker has the lease; it continues with the mail after
                the last commit.
            StoreError: the store does not answer; the mail since the last commit stays
                in the mailbox.
        """
        state = decode_user_state(lease.mailbox_lease.state)
        envelope: Envelope | None = lease.mailbox_lease.next_update
        handled = 0
        while envelope is not None:
            handled += 1
            if envelope.delivery is not None:
                envelope = await self._delivery_processor.process(
                    envelope.delivery,
                    state,
                    lease,
                    partial(self._should_release, should_release, handled),
                )
                continue
            record = ProcessingRecord(update_id=envelope.update_id)
            if not lease.is_suspected:
                dead_letter_reason = await self._update_processor.process(
                    envelope, state, record, lease
                )
            elif is_poison(lease.mailbox_lease):
                dead_letter_reason = _reject_poison(record)
            else:
                await lease.begin_step()
                dead_letter_reason = await self._update_processor.process(
                    envelope, state, record, lease
                )
                await lease.end_step()
            if dead_letter_reason is not None:
                state.mark_dead_lettered()
            else:
                state.mark_handled(envelope.update_id, self._clock.now())
            lease.mailbox_lease.is_committing = True
            envelope = await self._mailboxes.commit(
                lease.mailbox_lease,
                envelope.update_id,
                encode_user_state(state),
                dead_letter_reason=dead_letter_reason,
                release=self.is_retired or should_release(handled),
            )
            lease.mailbox_lease.is_committing = False
            if lease.mailbox_lease.owner_losses:
                lease.clear_suspicion()
            self._observe_update(record)

    def _should_release(
        self, should_release: Callable[[int], bool], handled: int
    ) -> bool:
        return self.is_retired or should_release(handled)


def _reject_poison(record: ProcessingRecord) -> str:
    """Record an update as poison without parsing it, and return the reason."""
    record.outcome = Outcome.POISON
    logger.error("poison_update", extra={"update_id": record.update_id})
    return Outcome.POISON
