"""Deliveries in the file, in the mailboxes of their recipients or outside of them."""

from collections.abc import Sequence
from typing import TypeVar

from gateway.domain.broadcast import BroadcastRecipient
from gateway.domain.delivery import (
    Delivery,
    DeliveryRecord,
    DeliveryResult,
    SentPart,
)
from gateway.domain.delivery_store import DeliveryPutResult, WaitingDelivery
from gateway.domain.errors import LeaseLost, StoreUnavailable
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.update import Envelope
from gateway.mailboxes.sqlite.delivery_records import (
    begin_part,
    cancel_delivery,
    commit_delivery,
    confirm_reports,
    enter_bulk_delivery,
    enter_due_deliveries,
    list_bulk_deliveries,
    list_open_ids,
    list_reports,
    put_delivery,
    read_record,
    retract_part,
)
from gateway.mailboxes.sqlite.mail import FinishedMail, Grant, LeaseKey
from gateway.mailboxes.sqlite.mailboxes import SqliteMailboxStore, make_lease
from gateway.mailboxes.sqlite.transactions import Transaction, TransactionRunner

T = TypeVar("T")


class SqliteDeliveryStore:
    """The `DeliveryStore` of all workers that use the same file.

    If the file fails, methods that a delivery in progress needs (`begin_part`,
    `retract_part`, `commit_delivery`) try again until it works; what is said of each
    method of `DeliveryStore` holds for all others.

    Args:
        mailboxes: the mailbox store in the same file.
        runner: runs the transactions on the file.
    """

    def __init__(
        self, mailboxes: SqliteMailboxStore, runner: TransactionRunner
    ) -> None:
        self._mailboxes = mailboxes
        self._runner = runner
        self._policy = mailboxes.policy

    async def put_delivery(
        self,
        delivery: Delivery,
        *,
        acquire: bool = True,
        begins: bool = False,
    ) -> MailboxLease | DeliveryPutResult:
        """Store a delivery behind other mail. See `DeliveryStore.put_delivery`.

        The start of a call is not recorded together with the put, so `begins` has no
        effect.
        """
        token = self._mailboxes.make_token() if acquire else ""
        reply: Grant | DeliveryPutResult = await self._mailboxes.execute_acquiring(
            lambda transaction: put_delivery(
                transaction, self._policy, delivery, token
            ),
            delivery.ordering_key,
            token,
        )
        return make_lease(reply) if isinstance(reply, Grant) else reply

    async def get_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return the record of a delivery. See `DeliveryStore.get_delivery`."""

        def read(transaction: Transaction) -> DeliveryRecord | None:
            found = read_record(transaction, delivery_id)
            return None if found is None else found.record

        return await self._runner.submit(read, is_read_only=True)

    async def cancel_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Cancel a delivery that is not begun. See `DeliveryStore`."""
        return await self._runner.submit(
            lambda transaction: cancel_delivery(transaction, delivery_id)
        )

    async def begin_part(
        self,
        lease: MailboxLease,
        delivery_id: str,
        part: int,
        sent_parts: Sequence[SentPart],
        *,
        resolves_doubt: bool = False,
    ) -> DeliveryRecord:
        """Record that a Bot API call begins. See `DeliveryStore.begin_part`.

        Tries again while the file fails.
        """
        return await self._runner.execute_until_done(
            lambda transaction: begin_part(
                transaction,
                LeaseKey(lease.ordering_key, lease.token),
                delivery_id,
                part,
                sent_parts,
                resolves_doubt=resolves_doubt,
            )
        )

    async def retract_part(self, lease: MailboxLease, delivery_id: str) -> None:
        """Record that the begun call had no effect.

        See `DeliveryStore.retract_part`.
        """
        key = LeaseKey(lease.ordering_key, lease.token)
        is_owner = await self._runner.execute_until_done(
            lambda transaction: retract_part(transaction, key, delivery_id)
        )
        if not is_owner:
            raise LeaseLost("the lease's token is not the mailbox's current one")

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
        """Remove an ended delivery, and return the next mail.

        See `DeliveryStore.commit_delivery`. `recipient` is ignored: the file keeps no
        broadcasts.
        """
        following, expires_at = await self._runner.execute_until_done(
            lambda transaction: commit_delivery(
                transaction,
                self._policy,
                LeaseKey(lease.ordering_key, lease.token),
                delivery_id,
                result,
                FinishedMail(None, state, dead_letter_reason, release),
            )
        )
        if following is not None:
            lease.expires_at = expires_at
        return following

    async def enter_due_deliveries(self, limit: int) -> int:
        """Put scheduled deliveries whose time has come into their mailboxes.

        See `DeliveryStore.enter_due_deliveries`. Does nothing unless the last scan of
        this worker found such deliveries.
        """
        if not self._mailboxes.last_scan.has_due_deliveries:
            return 0
        try:
            return await self._runner.submit(
                lambda transaction: enter_due_deliveries(
                    transaction, self._policy, limit
                )
            )
        except StoreUnavailable:
            return 0

    async def list_bulk_deliveries(self, limit: int) -> Sequence[WaitingDelivery]:
        """Return bulk deliveries that wait, oldest first.

        See `DeliveryStore.list_bulk_deliveries`.
        """
        try:
            return await self._runner.submit(
                lambda transaction: list_bulk_deliveries(transaction, limit),
                is_read_only=True,
            )
        except StoreUnavailable:
            return ()

    async def enter_bulk_delivery(self, waiting: WaitingDelivery) -> bool:
        """Put a bulk delivery into its mailbox.

        See `DeliveryStore.enter_bulk_delivery`.
        """
        try:
            return await self._runner.submit(
                lambda transaction: enter_bulk_delivery(
                    transaction, self._policy, waiting.delivery_id
                )
            )
        except StoreUnavailable:
            return False

    async def list_open_ids(self, limit: int) -> Sequence[str]:
        """Return the ids of up to `limit` deliveries that have not ended.

        Those that were accepted first come first.

        Raises:
            StoreUnavailable: the file cannot be read.
        """
        return await self._runner.submit(
            lambda transaction: list_open_ids(transaction, limit), is_read_only=True
        )

    async def take_reports(self, limit: int) -> Sequence[DeliveryRecord]:
        """Return the oldest reports. See `DeliveryStore.take_reports`.

        Returns none unless the last scan of this worker found some.
        """
        if not self._mailboxes.last_scan.has_reports:
            return ()
        try:
            return await self._runner.submit(
                lambda transaction: list_reports(transaction, limit),
                is_read_only=True,
            )
        except StoreUnavailable:
            return ()

    async def confirm_reports(self, reports: Sequence[DeliveryRecord]) -> None:
        """Remove reports that a service has received.

        If the file fails, they stay, and `take_reports` returns them again.
        """
        delivery_ids = [report.delivery_id for report in reports]
        try:
            await self._runner.submit(
                lambda transaction: confirm_reports(transaction, delivery_ids)
            )
        except StoreUnavailable:
            return
