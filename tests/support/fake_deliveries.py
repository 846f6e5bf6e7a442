"""A hand-written stand-in for the store of deliveries, with one mailbox."""

from collections.abc import Sequence

from msgspec import structs

from gateway.domain.broadcast import BroadcastRecipient
from gateway.domain.delivery import (
    Delivery,
    DeliveryRecord,
    DeliveryResult,
    DeliveryState,
    SentPart,
)
from gateway.domain.delivery_store import DeliveryPutResult, WaitingDelivery
from gateway.domain.errors import LeaseLost
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.update import Envelope


class FakeDeliveryStore:
    """Keeps deliveries of one mailbox in a list, with their records.

    Attributes:
        records: the records by delivery id.
        committed: the states of the mailbox as they were committed.
        dead_letters: the reasons of dead letters.
    """

    def __init__(self) -> None:
        self.records: dict[str, DeliveryRecord] = {}
        self.committed: list[bytes] = []
        self.dead_letters: list[str] = []
        self.recipients: list[BroadcastRecipient | None] = []
        """The recipients of broadcasts whose ends were committed."""
        self.begun: list[int] = []
        """The parts that were begun, in their order."""
        self.is_leased = False
        self._mails: list[Envelope] = []
        self._token = 0
        self._owners: dict[str, str] = {}
        """The token of the lease that began the present part."""

    async def put_delivery(
        self, delivery: Delivery, *, acquire: bool = True, begins: bool = False
    ) -> MailboxLease | DeliveryPutResult:
        """Append the delivery."""
        if delivery.delivery_id in self.records:
            return DeliveryPutResult.REPEATED
        self.records[delivery.delivery_id] = DeliveryRecord(
            delivery_id=delivery.delivery_id,
            ordering_key=delivery.ordering_key,
            caller=delivery.caller,
            idempotency_key=delivery.idempotency_key,
            state=DeliveryState.ACCEPTED,
            sequence_number=1,
            accepted_at=delivery.accepted_at,
            updated_at=delivery.accepted_at,
        )
        self._mails.append(
            Envelope(
                update_id=0,
                ordering_key=delivery.ordering_key,
                arrived_at=delivery.accepted_at,
                body=b"",
                delivery=delivery,
            )
        )
        if not acquire or self.is_leased:
            return DeliveryPutResult.STORED
        return self.acquire()

    def acquire(self, *, owner_losses: int = 0, owner_crashes: int = 0) -> MailboxLease:
        """Return a new lease; the old one is lost."""
        self._token += 1
        self.is_leased = True
        mail = self._mails[0]
        return MailboxLease(
            ordering_key=mail.ordering_key,
            token=str(self._token),
            state=self.committed[-1] if self.committed else None,
            next_update=mail,
            expires_at=float("inf"),
            owner_losses=owner_losses,
            owner_crashes=owner_crashes,
        )

    async def get_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return the record."""
        return self.records.get(delivery_id)

    async def cancel_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Cancel what nobody has begun."""
        record = self.records.get(delivery_id)
        if record and record.state is DeliveryState.ACCEPTED:
            record.state, record.reason = DeliveryState.CANCELLED, "cancelled"
        return record

    async def begin_part(
        self,
        lease: MailboxLease,
        delivery_id: str,
        part: int,
        sent_parts: Sequence[SentPart],
        *,
        resolves_doubt: bool = False,
    ) -> DeliveryRecord:
        """Record that a part begins, unless an earlier owner began one."""
        self._check(lease)
        record = self.records[delivery_id]
        before = structs.replace(record)
        is_mine = self._owners.get(delivery_id) == lease.token
        in_doubt = record.is_part_begun and not is_mine
        if record.state.is_final or (in_doubt and not resolves_doubt):
            return before
        if not record.is_part_begun and record.next_part > part:
            return before
        self.begun.append(part)
        self._owners[delivery_id] = lease.token
        record.state = DeliveryState.SENDING
        record.next_part, record.is_part_begun = part, True
        record.sent_parts = tuple(sent_parts)
        return before

    async def retract_part(self, lease: MailboxLease, delivery_id: str) -> None:
        """Record that the begun part took no effect."""
        self._check(lease)
        record = self.records[delivery_id]
        if record.state.is_final or self._owners.get(delivery_id) != lease.token:
            return
        del self._owners[delivery_id]
        record.is_part_begun = False
        if record.next_part == 0:
            record.state = DeliveryState.ACCEPTED

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
        """Remove the first mail and keep the end of its delivery."""
        self._check(lease)
        mail = self._mails.pop(0)
        assert mail.delivery is not None
        assert mail.delivery.delivery_id == delivery_id
        record = self.records[delivery_id]
        if not record.state.is_final:
            record.state, record.reason = result.state, result.reason
            record.description = result.description
            record.sent_parts = result.sent_parts
            record.maybe_repeated = result.maybe_repeated
            record.is_part_begun = result.is_part_begun
        if dead_letter_reason is not None:
            self.dead_letters.append(dead_letter_reason)
        self.committed.append(state)
        self.recipients.append(recipient)
        if self._mails and not release:
            return self._mails[0]
        self.is_leased = False
        return None

    async def enter_due_deliveries(self, limit: int) -> int:
        """Let nothing enter: this store has no scheduled deliveries."""
        return 0

    async def list_bulk_deliveries(self, limit: int) -> Sequence[WaitingDelivery]:
        """Return nothing: this store has no bulk deliveries."""
        return ()

    async def enter_bulk_delivery(self, waiting: WaitingDelivery) -> bool:
        """Let nothing enter."""
        return False

    async def take_reports(self, limit: int) -> Sequence[DeliveryRecord]:
        """Return no report."""
        return ()

    async def confirm_reports(self, reports: Sequence[DeliveryRecord]) -> None:
        """Expect no report."""
        assert not reports

    def _check(self, lease: MailboxLease) -> None:
        if lease.token != str(self._token):
            raise LeaseLost
