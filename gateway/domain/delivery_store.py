"""The port of the store of deliveries, which is part of the mailbox store."""

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
    """The result of putting a delivery that did not acquire a lease."""

    STORED = "stored"
    """It is in the mailbox."""
    SCHEDULED = "scheduled"
    """It waits outside of the mailbox: for its time, or as a bulk delivery."""
    REPEATED = "repeated"
    """The idempotency key was used before with the same request."""
    FULL = "full"
    """The mailbox is full; nothing was stored, and the idempotency key is free."""


class WaitingDelivery(NamedTuple):
    """A bulk delivery that waits outside of its mailbox."""

    delivery_id: str
    ordering_key: str
    delivery: Delivery | None = None
    """The delivery for a recipient of a broadcast; None for one that is stored."""


class DeliveryStore(Protocol):
    """Stores deliveries in the mailboxes of their recipients, and their records.

    Every method may be repeated with the same arguments after a lost reply. While the
    store does not answer, deliveries are refused, because a repeated idempotency key
    cannot be recognized without it.
    """

    async def put_delivery(
        self, delivery: Delivery, *, acquire: bool = True, begins: bool = False
    ) -> MailboxLease | DeliveryPutResult:
        """Store a delivery behind everything that its mailbox contains.

        A delivery with a later `not_before` is stored outside of the mailbox, and so is
        a bulk delivery, which enters by `enter_bulk_delivery`. If the delivery has
        a collapse key, earlier deliveries with that key in the mailbox or outside of it
        that nobody has begun are cancelled in the same step.

        Args:
            delivery: the delivery.
            acquire: whether to acquire the lease if the mailbox is free.
            begins: whether the store may record in the same step that the first call
                begins, if the lease is acquired. It does not if other mail is first, or
                the chat has a cool-down. See `MailboxLease.begun_delivery_id`.

        Returns:
            The lease if it was acquired, otherwise the result of the put.

        Raises:
            IdempotencyKeyReused: the key was used with another request.
            StoreUnavailable: the store does not answer or is full.
        """

    async def get_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return the record of a delivery, or None if there is none.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    async def cancel_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Cancel a delivery that nobody has begun, and return its record.

        The record shows the present state if the delivery could not be cancelled. None
        if there is no such delivery.

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
        """Record, before a Bot API call, that it begins.

        Returns the record as it was before. If it has ended already, because it was
        cancelled, nothing may be sent. If `is_part_begun`, an earlier owner began
        `next_part` and was lost: the effect of that call is unknown. If only
        `next_part` is greater than `part`, an earlier owner was lost before it made
        that call. In all these cases nothing was changed, unless `resolves_doubt`.

        Args:
            lease: the lease of the mailbox.
            delivery_id: the id of the delivery at the head of the mailbox.
            part: the number of the call, from 0.
            sent_parts: the messages that were sent by the previous calls.
            resolves_doubt: whether to begin this part although an earlier owner began
                one: it is either repeated or skipped.

        Raises:
            LeaseLost: the lease's token is not the current one; nothing was changed.
        """

    async def retract_part(self, lease: MailboxLease, delivery_id: str) -> None:
        """Record that the begun call certainly took no effect, and is not running.

        A later owner does not doubt it. If it is the first call, the delivery is
        accepted again, so that it can be cancelled. Has no effect if the owner of this
        lease was not the last one that began a call.

        Raises:
            LeaseLost: the lease's token is not the current one.
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
        """Remove a delivery that ended, save its record, and return the next mail.

        As `MailboxStore.commit`, and in the same step: the record gets its final state,
        and a report is stored if the delivery asked for one. The end of the delivery
        for a `recipient` of a broadcast is counted there; with the result SCHEDULED the
        recipient waits again, unless a call was begun: then it is counted as doubtful.

        Raises:
            LeaseLost: the lease's token is not the current one; nothing was changed.
        """

    async def enter_due_deliveries(self, limit: int) -> int:
        """Put scheduled deliveries whose time has come into their mailboxes.

        Returns the number of deliveries that entered, at most `limit`.
        """

    async def list_bulk_deliveries(self, limit: int) -> Sequence[WaitingDelivery]:
        """Return bulk deliveries that wait outside of the mailboxes, oldest first.

        Those whose `not_before` has not come are left out. If there are very many, the
        order is approximate.
        """

    async def enter_bulk_delivery(self, waiting: WaitingDelivery) -> bool:
        """Put a bulk delivery into its mailbox.

        Returns whether it entered. It did not if it was cancelled, or if its mailbox is
        full or the store does not answer: then it waits a little longer.
        """

    async def take_reports(self, limit: int) -> Sequence[DeliveryRecord]:
        """Return the oldest reports that nobody has confirmed.

        Several workers may get the same report.
        """

    async def confirm_reports(self, reports: Sequence[DeliveryRecord]) -> None:
        """Remove reports that a service has received."""


class RecipientIndex(Protocol):
    """Finds the Telegram user that belongs to an internal user id of a bot."""

    async def record_recipient(
        self, bot_id: int, internal_user_id: str, telegram_user_id: int
    ) -> None:
        """Record the Telegram user of a new session. Replaces an earlier one."""

    async def find_recipient(self, bot_id: int, internal_user_id: str) -> int | None:
        """Return Telegram's id of a user, or None if no session was recorded.

        Raises:
            StoreUnavailable: the store does not answer.
        """
