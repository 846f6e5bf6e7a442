"""Deliveries in memory, which are lost when the process ends.

Implements `DeliveryStore` of `domain/delivery_store.py`.

Concurrency: all calls come from one event loop, and no method awaits anything. That
makes every method atomic.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from heapq import heappop, heappush, nsmallest
from itertools import islice
from math import inf

from msgspec import Struct, structs

from gateway.domain.broadcast import BroadcastRecipient
from gateway.domain.delivery import (
    RECORD_SECONDS,
    Delivery,
    DeliveryRecord,
    DeliveryResult,
    DeliveryState,
    ReportPolicy,
    SentPart,
)
from gateway.domain.delivery_store import DeliveryPutResult, WaitingDelivery
from gateway.domain.errors import IdempotencyKeyReused, LeaseLost
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import Clock
from gateway.domain.update import Envelope
from gateway.mailboxes.delivery_serialization import wrap_delivery
from gateway.mailboxes.memory.mailbox import Mailbox
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore

FULL_RETRY_SECONDS = 1.0
"""The delay before a scheduled delivery tries again to enter a full mailbox."""

EndRecipient = Callable[[BroadcastRecipient, DeliveryResult, bool], None]
"""Counts the end of the delivery for a recipient, and whether it was begun."""


class _Entry(Struct, eq=False):
    """A delivery and its record."""

    delivery: Delivery
    record: DeliveryRecord
    owner: str = ""
    """The token under which a part was begun or the end was committed."""


class MemoryDeliveryStore:
    """The `DeliveryStore` of one process, in its memory.

    No method raises StoreUnavailable.

    Args:
        mailboxes: the mailbox store of the same process; deliveries go into its
            mailboxes.
        clock: the clock of the mailbox store.
        limit: the maximum number of updates and deliveries in a mailbox.
    """

    def __init__(
        self, mailboxes: MemoryMailboxStore, clock: Clock, *, limit: int
    ) -> None:
        self._mailboxes = mailboxes
        self._clock = clock
        self._limit = limit
        self._entries: dict[str, _Entry] = {}
        self._ended: OrderedDict[str, float] = OrderedDict()
        """The ended deliveries with the times at which their records expire."""
        self._scheduled: list[tuple[float, str]] = []
        """A heap of the times and ids of deliveries that wait for their time."""
        self._bulk: dict[str, float] = {}
        """The times from which waiting bulk deliveries may enter, by their ids."""
        self._last_collapsible: dict[tuple[str, str, str], str] = {}
        """The id of the last delivery with an ordering key, caller and collapse key."""
        self._reports: dict[str, DeliveryRecord] = {}
        self._end_recipient: EndRecipient = lambda *_: None

    async def put_delivery(
        self, delivery: Delivery, *, acquire: bool = True, begins: bool = False
    ) -> MailboxLease | DeliveryPutResult:
        """Store a delivery behind other mail. See `DeliveryStore.put_delivery`.

        The start of a call is not recorded together with the put, so `begins` has no
        effect.
        """
        self._remove_expired(delivery.delivery_id)
        entry = self._entries.get(delivery.delivery_id)
        if entry is not None:
            if entry.delivery.fingerprint != delivery.fingerprint:
                raise IdempotencyKeyReused("the key was used with another request")
            return DeliveryPutResult.REPEATED
        replaced = self._find_replaced(delivery)
        is_scheduled = delivery.is_bulk or (
            delivery.not_before is not None and delivery.not_before > self._clock.now()
        )
        mailbox = self._mailboxes.find_mailbox(delivery.ordering_key)
        if mailbox is not None and not is_scheduled:
            replaces_mail = (
                replaced is not None and replaced.record.state is DeliveryState.ACCEPTED
            )
            if len(mailbox.mail) - replaces_mail >= self._limit:
                return DeliveryPutResult.FULL
        if replaced is not None:
            self._cancel(replaced, "collapsed", keeps_mailbox=not is_scheduled)
        if delivery.collapse_key:
            self._last_collapsible[_get_collapse_key(delivery)] = delivery.delivery_id
        entry = _Entry(delivery, _make_record(delivery, self._clock.now()))
        self._entries[delivery.delivery_id] = entry
        if is_scheduled:
            entry.record.state = DeliveryState.SCHEDULED
            due = delivery.not_before or 0.0
            if delivery.is_bulk:
                self._bulk[delivery.delivery_id] = max(due, self._clock.now())
                return DeliveryPutResult.SCHEDULED
            heappush(self._scheduled, (due, delivery.delivery_id))
            return DeliveryPutResult.SCHEDULED
        return self._append(delivery, acquire=acquire)

    async def get_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return the record of a delivery. See `DeliveryStore.get_delivery`."""
        self._remove_expired(delivery_id)
        entry = self._entries.get(delivery_id)
        return None if entry is None else structs.replace(entry.record)

    async def cancel_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Cancel a delivery that is not begun. See `DeliveryStore.cancel_delivery`."""
        self._remove_expired(delivery_id)
        entry = self._entries.get(delivery_id)
        if entry is None:
            return None
        if _is_waiting(entry.record):
            self._cancel(entry, "cancelled")
        return structs.replace(entry.record)

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

        Raises:
            LeaseLost: the lease's token is not the current one; nothing was changed.
            KeyError: there is no such delivery.
        """
        if self._mailboxes.find_leased_mailbox(lease) is None:
            raise LeaseLost("the lease's token is not the mailbox's current one")
        entry = self._entries[delivery_id]
        record = entry.record
        before = structs.replace(record)
        if record.state.is_final:
            return before
        if entry.owner == lease.token:
            before.is_part_begun = False
        if before.is_part_begun and not resolves_doubt:
            return before
        if not record.is_part_begun and record.next_part > part:
            return before
        if record.state is not DeliveryState.SENDING:
            record.sequence_number += 1
        record.state = DeliveryState.SENDING
        record.next_part, record.is_part_begun = part, True
        record.sent_parts = tuple(sent_parts)
        record.updated_at = self._clock.now()
        entry.owner = lease.token
        return before

    async def retract_part(self, lease: MailboxLease, delivery_id: str) -> None:
        """Record that the begun call had no effect.

        See `DeliveryStore.retract_part`.
        """
        entry = self._entries.get(delivery_id)
        if entry is not None and entry.owner == lease.token:
            self._retract(entry)
        if self._mailboxes.find_leased_mailbox(lease) is None:
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

        See `DeliveryStore.commit_delivery`.
        """
        entry = self._entries.get(delivery_id)
        mailbox = self._mailboxes.find_leased_mailbox(lease)
        if mailbox is None:
            if (
                entry is not None
                and entry.record.state.is_final
                and entry.owner == lease.token
            ):
                return None  # this commit took effect earlier
            raise LeaseLost("the lease's token is not the mailbox's current one")
        if entry is not None and recipient is not None:
            del self._entries[delivery_id]
            is_begun = entry.record.state is DeliveryState.SENDING
            self._end_recipient(recipient, result, is_begun)
        elif entry is not None and not entry.record.state.is_final:
            entry.owner = lease.token
            self._end(entry, result)
        return self._mailboxes.finish(
            lease,
            mailbox,
            mailbox.remove_delivery(delivery_id),
            state,
            dead_letter_reason,
            release=release,
        )

    async def enter_due_deliveries(self, limit: int) -> int:
        """Put scheduled deliveries whose time has come into their mailboxes.

        See `DeliveryStore.enter_due_deliveries`.
        """
        now = self._clock.now()
        entered = 0
        while self._scheduled and self._scheduled[0][0] <= now and entered < limit:
            _, delivery_id = heappop(self._scheduled)
            entry = self._entries.get(delivery_id)
            if entry is None or entry.record.state is not DeliveryState.SCHEDULED:
                continue
            if self._is_full(entry.delivery.ordering_key):
                heappush(self._scheduled, (now + FULL_RETRY_SECONDS, delivery_id))
                continue
            self._enter(entry)
            entered += 1
        return entered

    async def list_bulk_deliveries(self, limit: int) -> Sequence[WaitingDelivery]:
        """Return bulk deliveries that wait, oldest first.

        See `DeliveryStore.list_bulk_deliveries`.
        """
        now = self._clock.now()
        found: list[tuple[float, WaitingDelivery]] = []
        for delivery_id, due in list(self._bulk.items()):
            entry = self._entries.get(delivery_id)
            if entry is None or entry.record.state is not DeliveryState.SCHEDULED:
                del self._bulk[delivery_id]
            elif due <= now:
                waiting = WaitingDelivery(delivery_id, entry.delivery.ordering_key)
                found.append((due, waiting))
        return [waiting for _, waiting in nsmallest(limit, found)]

    async def enter_bulk_delivery(self, waiting: WaitingDelivery) -> bool:
        """Put a bulk delivery into its mailbox.

        See `DeliveryStore.enter_bulk_delivery`.
        """
        entry = self._entries.get(waiting.delivery_id)
        if entry is None or entry.record.state is not DeliveryState.SCHEDULED:
            return False
        if self._is_full(waiting.ordering_key):
            self._bulk[waiting.delivery_id] = self._clock.now() + FULL_RETRY_SECONDS
            return False
        self._bulk.pop(waiting.delivery_id, None)
        self._enter(entry)
        return True

    def set_recipient_callback(self, end_recipient: EndRecipient) -> None:
        """Set the function that counts how deliveries for recipients of broadcasts end.

        Args:
            end_recipient: called by `commit_delivery` with the recipient, the result,
                and whether a call of the delivery was begun. By default nothing is
                counted.
        """
        self._end_recipient = end_recipient

    def enter_recipient(
        self, delivery: Delivery, *, acquire: bool
    ) -> MailboxLease | DeliveryPutResult:
        """Put the delivery for a recipient of a broadcast into its mailbox.

        Its record exists only until its end, because nobody can ask for it.

        Args:
            delivery: the delivery.
            acquire: whether to acquire the lease if the mailbox is free.

        Returns:
            The lease if it was acquired; otherwise STORED, or FULL if nothing was
            stored.
        """
        if self._is_full(delivery.ordering_key):
            return DeliveryPutResult.FULL
        record = _make_record(delivery, self._clock.now())
        self._entries[delivery.delivery_id] = _Entry(delivery, record)
        return self._append(delivery, acquire=acquire)

    async def take_reports(self, limit: int) -> Sequence[DeliveryRecord]:
        """Return the oldest reports that no service has confirmed.

        See `DeliveryStore.take_reports`. A report is lost with its record after
        `RECORD_SECONDS`.
        """
        oldest = tuple(islice(self._reports, limit))
        self._remove_expired(*oldest)
        return [self._reports[each] for each in oldest if each in self._reports]

    async def confirm_reports(self, reports: Sequence[DeliveryRecord]) -> None:
        """Remove reports that a service has received. See `DeliveryStore`."""
        for report in reports:
            self._reports.pop(report.delivery_id, None)

    def _is_full(self, ordering_key: str) -> bool:
        mailbox = self._mailboxes.find_mailbox(ordering_key)
        return mailbox is not None and len(mailbox.mail) >= self._limit

    def _enter(self, entry: _Entry) -> None:
        """Put a delivery that waited outside into its mailbox."""
        entry.record.state = DeliveryState.ACCEPTED
        entry.record.sequence_number += 1
        entry.record.updated_at = self._clock.now()
        self._append(entry.delivery, acquire=False)

    def _append(
        self, delivery: Delivery, *, acquire: bool
    ) -> MailboxLease | DeliveryPutResult:
        """Append a delivery to its mailbox."""
        ordering_key = delivery.ordering_key
        envelope = wrap_delivery(delivery)
        mailbox = self._mailboxes.find_mailbox(ordering_key)
        self._mailboxes.in_memory += 1
        if mailbox is not None:
            mailbox.append_delivery(envelope)
            return DeliveryPutResult.STORED
        mailbox = Mailbox()
        mailbox.append_delivery(envelope)
        if acquire:
            return self._mailboxes.grant_lease(ordering_key, mailbox)
        self._mailboxes.make_claimable(ordering_key, mailbox)
        return DeliveryPutResult.STORED

    def _retract(self, entry: _Entry) -> None:
        record = entry.record
        if record.state is not DeliveryState.SENDING:
            return
        entry.owner = ""
        record.is_part_begun = False
        if record.next_part == 0:
            record.state = DeliveryState.ACCEPTED
            record.sequence_number += 1
        record.updated_at = self._clock.now()

    def _find_replaced(self, delivery: Delivery) -> _Entry | None:
        """Return the delivery that this one replaces, or None if there is none."""
        if not delivery.collapse_key:
            return None
        earlier = self._last_collapsible.get(_get_collapse_key(delivery))
        entry = self._entries.get(earlier or "")
        return entry if entry is not None and _is_waiting(entry.record) else None

    def _cancel(
        self, entry: _Entry, reason: str, *, keeps_mailbox: bool = False
    ) -> None:
        """End a delivery that nobody has begun.

        Args:
            entry: the delivery.
            reason: the reason in its record.
            keeps_mailbox: whether to keep its mailbox, although it may be empty.
        """
        ordering_key = entry.delivery.ordering_key
        mailbox = self._mailboxes.find_mailbox(ordering_key)
        if mailbox is not None:
            if mailbox.remove_delivery(entry.delivery.delivery_id):
                self._mailboxes.in_memory -= 1
            if not keeps_mailbox and not self._mailboxes.is_leased(ordering_key):
                self._mailboxes.drop_if_empty(ordering_key, mailbox)
        self._end(entry, DeliveryResult(state=DeliveryState.CANCELLED, reason=reason))

    def _end(self, entry: _Entry, result: DeliveryResult) -> None:
        """Save the end of a delivery, and its report if it asked for one."""
        record, delivery = entry.record, entry.delivery
        record.state = result.state
        record.reason, record.description = result.reason, result.description
        record.sent_parts = tuple(result.sent_parts)
        record.maybe_repeated = result.maybe_repeated
        record.is_part_begun = result.is_part_begun
        record.sequence_number += 1
        record.updated_at = self._clock.now()
        self._ended[delivery.delivery_id] = self._clock.uptime() + RECORD_SECONDS
        collapse_key = _get_collapse_key(delivery)
        if self._last_collapsible.get(collapse_key) == delivery.delivery_id:
            del self._last_collapsible[collapse_key]
        if delivery.report is ReportPolicy.ALL or (
            delivery.report is ReportPolicy.FAILURES
            and result.state is not DeliveryState.SENT
        ):
            self._reports[delivery.delivery_id] = structs.replace(record)

    def _remove_expired(self, *delivery_ids: str) -> None:
        """Remove these records and up to two others, if they have expired.

        Not more, so that no call pays for many.
        """
        now = self._clock.uptime()
        for delivery_id in (*delivery_ids, *islice(self._ended, 2)):
            if self._ended.get(delivery_id, inf) <= now:
                del self._ended[delivery_id], self._entries[delivery_id]
                self._reports.pop(delivery_id, None)


def _make_record(delivery: Delivery, now: float) -> DeliveryRecord:
    return DeliveryRecord(
        delivery_id=delivery.delivery_id,
        ordering_key=delivery.ordering_key,
        caller=delivery.caller,
        idempotency_key=delivery.idempotency_key,
        state=DeliveryState.ACCEPTED,
        sequence_number=1,
        accepted_at=delivery.accepted_at,
        updated_at=now,
        fingerprint=delivery.fingerprint,
    )


def _is_waiting(record: DeliveryRecord) -> bool:
    """Return whether nobody has begun to send the delivery."""
    return record.state in {DeliveryState.ACCEPTED, DeliveryState.SCHEDULED}


def _get_collapse_key(delivery: Delivery) -> tuple[str, str, str]:
    return delivery.ordering_key, delivery.caller, delivery.collapse_key
