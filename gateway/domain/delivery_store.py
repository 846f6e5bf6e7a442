"""The interface of the store of deliveries, which is part of the mailbox store."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from gateway.domain.broadcast import BroadcastRecipient
from gateway.domain.delivery import (
    Delivery,
    DeliveryRecord,
    DeliveryResult,
    SentPart,
)
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.update import Envelope


class DeliveryPutResult(StrEnum):
    """The result of `put_delivery` if it did not acquire the lease of the mailbox."""

    STORED = "stored"
    """It is in the mailbox."""
    SCHEDULED = "scheduled"
    """It is stored outside of the mailbox, because its `not_before` has not come or
    because it is a bulk delivery."""
    REPEATED = "repeated"
    """Nothing was stored: the idempotency key was used before with the same request."""
    FULL = "full"
    """The mailbox is full; nothing was stored, and the idempotency key is free."""


class WaitingDelivery(NamedTuple):
    """A bulk delivery that the pacer may put into its mailbox now."""

    delivery_id: str
    ordering_key: str
    delivery: Delivery | None = None
    """The delivery itself, if it is for a recipient of a broadcast; None if the store
    has it."""


class DeliveryStore(Protocol):
    """Stores deliveries in the mailboxes of their recipients, and a record of each.

    Every method may be repeated with the same arguments after a lost reply. While the
    store does not answer, new deliveries are refused and not kept in memory, because
    only the store can recognize a repeated idempotency key; `begin_part`,
    `retract_part` and `commit_delivery` wait until it answers.
    """

    async def put_delivery(
        self, delivery: Delivery, *, acquire: bool = True, begins: bool = False
    ) -> MailboxLease | DeliveryPutResult:
        """Store a delivery and its record, behind all mail that its mailbox contains.

        A delivery whose `not_before` is in the future is stored outside of the mailbox
        until `enter_due_deliveries`, and a bulk delivery until `enter_bulk_delivery`.
        If the delivery has a collapse key, earlier deliveries of the caller with that
        key to the same recipient are cancelled in the same step, unless a call of
        theirs has begun.

        Args:
            delivery: the delivery.
            acquire: True to acquire the lease if the mailbox is free (see
                `MailboxStore`); False to leave the delivery to the next scan.
            begins: True if the caller will make the first Bot API call at once, so that
                the store may record the start of that call in the same step as the put;
                see `MailboxLease.begun_delivery_id`. The store does not do so if it
                acquires no lease, if other mail is first, or if the chat has a
                cool-down.

        Returns:
            The lease if it was acquired, otherwise the result of the put.

        Raises:
            IdempotencyKeyReused: the key was used with another request; nothing was
                stored.
            StoreUnavailable: the store does not answer or is full. The delivery may be
                stored or not: repeat the call.
        """

    async def get_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return the record of a delivery, in any state.

        Returns None if there never was one with this id, or if it ended more than
        `RECORD_SECONDS` ago.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    async def cancel_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Cancel a delivery of which no Bot API call has begun, and return its record.

        Its mail is removed, and its state becomes CANCELLED. If a call has begun or the
        delivery has ended, nothing changes.

        Returns:
            The record after the call; its state says whether the delivery is cancelled.
            None if there is no such delivery.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    async def begin_part(
        self,
        lease: MailboxLease,
        delivery_id: str,
        part: int,
        sent_parts: Sequence[SentPart],
        *,
        resolves_doubt: bool = False,
    ) -> DeliveryRecord:
        """Record that a Bot API call of a delivery begins. Await this before the call.

        If this owner is lost during the call, the next one learns from the record that
        the call may have had its effect.

        The returned record is the one before this call, and says whether the call may
        be made. It may not if the state is final, because the delivery was cancelled.
        It may not, unless `resolves_doubt`, if `is_part_begun`: an earlier owner was
        lost during the call `next_part`, whose effect is unknown. It may not if
        `next_part` is greater than `part` without `is_part_begun`: an earlier owner has
        got further. In these cases nothing was changed. Otherwise the begin is
        recorded.

        Args:
            lease: the lease of the mailbox.
            delivery_id: the id of the delivery at the head of the mailbox.
            part: the number of the call, from 0.
            sent_parts: the messages that the previous calls sent.
            resolves_doubt: True to begin this call although an earlier owner was lost
                during one; the caller has decided to repeat or to skip that one.

        Raises:
            LeaseLost: the lease's token is not the current one; nothing was changed.
        """

    async def retract_part(self, lease: MailboxLease, delivery_id: str) -> None:
        """Record that the begun call certainly had no effect, and is not running.

        The next owner may then make the call without doubt. If it is the first call of
        the delivery, the state becomes ACCEPTED again, so that the delivery can be
        cancelled. Nothing changes if the owner of another lease began the last call.

        Args:
            lease: the lease under which the call was begun.
            delivery_id: the id of the delivery at the head of the mailbox.

        Raises:
            LeaseLost: the lease's token is not the current one. The call is retracted
                nevertheless if this lease began it.
        """

    async def commit_delivery(
        self,
        lease: MailboxLease,
        delivery_id: str,
        state: bytes,
        result: DeliveryResult,
        *,
        dead_letter_reason: str | None = None,
        release: bool = False,
        recipient: BroadcastRecipient | None = None,
    ) -> Envelope | None:
        """Remove an ended delivery, save its end, and return the next mail.

        This is `MailboxStore.commit` for a delivery. In the same atomic step its record
        gets the state of `result`, and a report is stored for `take_reports` if the
        delivery's policy wants one.

        Args:
            lease: the lease under which the delivery was sent; it is extended.
            delivery_id: the id of the delivery.
            state: the new user state of the mailbox.
            result: how the delivery ended.
            dead_letter_reason: the reason to copy the delivery to the dead letters;
                None not to.
            release: True to release the lease with the remaining mail.
            recipient: the recipient, if the delivery belongs to a broadcast: then its
                end is counted there instead of being kept in a record. With the state
                SCHEDULED the recipient waits again, or counts as doubtful if a call was
                begun. None for other deliveries.

        Returns:
            The next mail in the mailbox, or None if the lease ended, because the
            mailbox is empty or was released.

        Raises:
            LeaseLost: the lease's token is not the current one; nothing was changed.
        """

    async def enter_due_deliveries(self, limit: int) -> int:
        """Put scheduled deliveries whose `not_before` has come into their mailboxes.

        A delivery whose mailbox is full waits a second longer. No lease is acquired.

        Args:
            limit: the maximum number of deliveries.

        Returns:
            The number of deliveries that were put. 0 also if the store does not answer.
        """

    async def list_bulk_deliveries(self, limit: int) -> Sequence[WaitingDelivery]:
        """Return up to `limit` bulk deliveries that may enter, oldest first.

        They wait outside of their mailboxes. Those whose `not_before` has not come are
        left out. If there are more than `limit`, the order is approximate. The sequence
        is empty if the store does not answer. Nothing is changed.
        """

    async def enter_bulk_delivery(self, waiting: WaitingDelivery) -> bool:
        """Put a bulk delivery into its mailbox, without acquiring the lease.

        Returns:
            True if it was put. False if it was cancelled, if it was put before, if its
            mailbox is full (it waits a second longer) or if the store does not answer.
        """

    async def take_reports(self, limit: int) -> Sequence[DeliveryRecord]:
        """Return up to `limit` records of ended deliveries, to tell a service of them.

        The oldest come first. A record is returned again until `confirm_reports`, and
        several workers may get the same one. The sequence is empty if the store does
        not answer.
        """

    async def confirm_reports(self, reports: Sequence[DeliveryRecord]) -> None:
        """Stop returning these reports from `take_reports`: a service has them now.

        Nothing is raised if the store does not answer; the reports are then returned
        again.
        """


class RecipientIndex(Protocol):
    """Finds the Telegram user that belongs to an internal user id.

    The internal id is the one that the session service gave to a user of a bot. A
    delivery may name its recipient by it.
    """

    async def record_recipient(
        self, bot_id: int, internal_user_id: str, telegram_user_id: int
    ) -> None:
        """Store that an internal user id of a bot belongs to a Telegram user.

        Called for each new session. Replaces an earlier entry for the same internal id.
        Nothing is raised if the store does not answer: the entry may then be missing
        until the next session.
        """

    async def find_recipient(self, bot_id: int, internal_user_id: str) -> int | None:
        """Return the Telegram user id for an internal user id of a bot.

        Returns None if no session of that user was recorded, or if the entry is forged.

        Raises:
            StoreUnavailable: the store does not answer.
        """
