"""Deliveries beside updates against a plain model of them, under any order of calls.

The model of `machine.py` gets the records of deliveries. Each record has the parts that
were begun and by whom. A number stands for an idempotency key: a request for another
user with the same number is another request under a used key.
"""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import (
    MultipleResults,
    initialize,
    invariant,
    multiple,
    rule,
)

from gateway.domain.delivery import (
    Delivery,
    DeliveryResult,
    DeliveryState,
    ReportPolicy,
    SentPart,
)
from gateway.domain.delivery_store import DeliveryPutResult
from gateway.domain.errors import IdempotencyKeyReused
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.update import Envelope
from gateway.mailboxes.delivery_serialization import wrap_delivery
from tests.factories import build_delivery
from tests.integration.mailboxes.machine import (
    ORDERING_KEYS,
    RARELY,
    REASONS,
    MailboxMachine,
)
from tests.support.stores import LEASE, LIMIT

NUMBERS = st.integers(1, 6)
DELAYS = st.sampled_from([None, None, None, 0.5 * LEASE])
COLLAPSE_KEYS = st.sampled_from(["", "", "state"])
ENDS = st.sampled_from([DeliveryState.SENT, DeliveryState.BLOCKED])
STEP = 2**-20

WAITING = (DeliveryState.ACCEPTED, DeliveryState.SCHEDULED)


@dataclass
class Record:
    """What the model knows of a delivery."""

    delivery: Delivery
    due: float | None
    state: DeliveryState = DeliveryState.ACCEPTED
    changes: int = 1
    position: float = 0
    part: int = 0
    sent: tuple[SentPart, ...] = ()
    owner: MailboxLease | None = None
    is_reported: bool = False

    def end(self, state: DeliveryState) -> None:
        """Note the end."""
        self.state, self.changes, self.due = state, self.changes + 1, None
        policy = self.delivery.report
        self.is_reported = policy is ReportPolicy.ALL or (
            policy is ReportPolicy.FAILURES and state is not DeliveryState.SENT
        )


class DeliveryMachine(MailboxMachine):
    """Calls of both ports in any order."""

    leases = MailboxMachine.leases

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[int, Record] = {}
        self.refused: dict[int, str] = {}
        """The ordering key of the last delivery with a number that was refused."""
        self.newest: dict[str, int] = {}
        """The number of the last delivery with the collapse key, by ordering key."""

    @initialize(target=leases, then=st.sampled_from(["", "begun", "cancel", "lost"]))
    def begin_with_a_delivery(self, then: str) -> MultipleResults[MailboxLease]:
        """Begin a delivery, or none: it takes long to get there."""
        if not then:
            return multiple()
        lease = self.put_delivery("8", 1, True, None, "", ReportPolicy.ALL)
        assert isinstance(lease, MailboxLease)
        self.begin_part(lease, 1, 1, False)
        if then == "cancel":
            self.cancel(1)
        if then == "lost":
            successor = self.take_over("8")
            assert isinstance(successor, MailboxLease)
            self.begin_part(successor, 1, 2, False)
        return multiple(lease)

    @rule(lease=leases, part=st.integers(0, 2), resolves=st.booleans())
    def begin_part_of_head(
        self, lease: MailboxLease, part: int, resolves: bool
    ) -> None:
        """Begin a call of the delivery that is next in a mailbox."""
        mail = self.mail.get(lease.ordering_key)
        head = mail[min(mail)].delivery if mail else None
        if head is not None:
            self.begin_part(lease, int(head.delivery_id), part, resolves)

    @rule(
        target=leases,
        ordering_key=ORDERING_KEYS,
        number=NUMBERS,
        acquire=st.booleans(),
        delay=DELAYS,
        collapse_key=COLLAPSE_KEYS,
        report=st.sampled_from(ReportPolicy),
        begins=st.booleans(),
    )
    def put_delivery(
        self,
        ordering_key: str,
        number: int,
        acquire: bool,
        delay: float | None,
        collapse_key: str,
        report: ReportPolicy,
        *,
        begins: bool = False,
    ) -> MailboxLease | MultipleResults[MailboxLease]:
        """Put a delivery, a new one or one whose key was used."""
        time = self.run(self.store.tell_time())
        delivery = build_delivery(
            number,
            ordering_key,
            fingerprint=ordering_key.encode(),
            request=self.make_bytes(),
            expires_at=time + 366 * 86400,
            not_before=None if delay is None else time + delay,
            collapse_key=collapse_key,
            report=report,
        )
        putting = self.store.deliveries.put_delivery(
            delivery, acquire=acquire, begins=begins
        )
        used = self.records.get(number)
        if used is not None and used.delivery.ordering_key != ordering_key:
            try:
                self.call(putting)
            except IdempotencyKeyReused:
                return multiple()
            raise AssertionError("a used key was taken for a free one")
        try:
            answer = self.call(putting)
        except IdempotencyKeyReused:
            # In Redis a key is bound to its request even if the mailbox was full.
            assert self.refused.get(number, ordering_key) != ordering_key
            return multiple()
        if used is not None:
            assert answer is DeliveryPutResult.REPEATED
            return multiple()
        result = self.was_put(number, delivery, delay, answer, acquire)
        if isinstance(answer, MailboxLease) and answer.begun_delivery_id:
            assert begins
            assert answer.begun_delivery_id == delivery.delivery_id
            record = self.records[number]
            record.state, record.owner = DeliveryState.SENDING, answer
            record.changes += 1
        return result

    def was_put(
        self,
        number: int,
        delivery: Delivery,
        delay: float | None,
        answer: object,
        acquire: bool,
    ) -> MailboxLease | MultipleResults[MailboxLease]:
        """Check and note what became of a new delivery."""
        key = delivery.ordering_key
        replaced = None
        if delivery.collapse_key and key in self.newest:
            replaced = self.records.get(self.newest[key])
            if replaced is not None and replaced.state not in WAITING:
                replaced = None
        count = len(self.mail.get(key, {}))
        if replaced is not None and replaced.state is DeliveryState.ACCEPTED:
            count -= 1
        if delay is None and count >= LIMIT:
            assert answer is DeliveryPutResult.FULL
            self.refused[number] = key
            return multiple()
        is_free = key not in self.mail
        if replaced is not None:
            self.cancelled(replaced, keep_mailbox=delay is None)
        record = Record(delivery, None if delay is None else self.now + delay)
        self.records[number] = record
        if delivery.collapse_key:
            self.newest[key] = number
        if delay is not None:
            record.state = DeliveryState.SCHEDULED
            assert answer is DeliveryPutResult.SCHEDULED
            return multiple()
        self.entered(record)
        if acquire and is_free:
            return self.acquired(key, answer)
        assert answer is DeliveryPutResult.STORED
        return multiple()

    @rule(lease=leases, number=NUMBERS, part=st.integers(0, 2), resolves=st.booleans())
    def begin_part(
        self, lease: MailboxLease, number: int, part: int, resolves: bool
    ) -> None:
        """Begin a Bot API call under any lease."""
        record = self.records.get(number)
        if record is None or record.delivery.ordering_key != lease.ordering_key:
            return
        if record.state is DeliveryState.SCHEDULED:
            return  # no owner has it
        sent = tuple(SentPart(7, each) for each in range(part))
        lost, before = self.call_with_lease(
            lease,
            self.store.deliveries.begin_part(
                lease,
                record.delivery.delivery_id,
                part,
                sent,
                resolves_doubt=resolves,
            ),
        )
        if lost:
            return
        assert before is not None
        is_doubtful = record.owner not in {None, lease} and not record.state.is_final
        assert before.state is record.state
        assert before.is_part_begun == is_doubtful
        assert tuple(before.sent_parts) == record.sent
        if record.state.is_final or (is_doubtful and not resolves):
            return
        if record.owner is None and record.part > part:
            return
        record.changes += record.state is not DeliveryState.SENDING
        record.state = DeliveryState.SENDING
        record.part, record.sent, record.owner = part, sent, lease

    @rule(lease=leases, number=NUMBERS)
    def retract_part(self, lease: MailboxLease, number: int) -> None:
        """Retract what any lease has begun."""
        record = self.records.get(number)
        if record is None or record.delivery.ordering_key != lease.ordering_key:
            return
        if record.state is DeliveryState.SCHEDULED:
            return  # no owner has it
        self.call_with_lease(
            lease,
            self.store.deliveries.retract_part(lease, record.delivery.delivery_id),
        )
        if record.state.is_final or record.owner is not lease:
            return
        record.owner = None
        if record.part == 0:
            record.state = DeliveryState.ACCEPTED
            record.changes += 1

    @rule(lease=leases, number=NUMBERS, end=ENDS, dead=REASONS, give_back=RARELY)
    def commit_any_delivery(
        self,
        lease: MailboxLease,
        number: int,
        end: DeliveryState,
        dead: str | None,
        give_back: bool,
    ) -> None:
        """Finish any delivery of a mailbox, be it there or not."""
        record = self.records.get(number)
        if (
            record is not None
            and record.delivery.ordering_key == lease.ordering_key
            and record.state is not DeliveryState.SCHEDULED
        ):
            self.commit_delivery(lease, record, end, dead, give_back)

    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        """Cancel a delivery in any state."""
        delivery_id = build_delivery(number).delivery_id
        answer = self.call(self.store.deliveries.cancel_delivery(delivery_id))
        record = self.records.get(number)
        if record is None:
            assert answer is None
            return
        if record.state in WAITING:
            self.cancelled(record)
        assert answer is not None
        assert answer.state is record.state

    @rule(limit=st.integers(1, 9))
    def enter_due_deliveries(self, limit: int) -> None:
        """Let scheduled deliveries enter after a scan."""
        self.run(self.store.mailboxes.claimable(9))
        due = [
            record
            for record in self.records.values()
            if record.state is DeliveryState.SCHEDULED and (record.due or 0) <= self.now
        ]
        if any(self.is_full(record.delivery.ordering_key, len(due)) for record in due):
            return  # which one waits is up to the store
        limit = max(limit, len(due))
        assert self.call(self.store.deliveries.enter_due_deliveries(limit)) == len(due)
        for record in sorted(due, key=lambda it: it.delivery.not_before or 0):
            record.state, record.due = DeliveryState.ACCEPTED, None
            record.changes += 1
            self.entered(record)

    @rule(confirmed=st.booleans())
    def take_reports(self, confirmed: bool) -> None:
        """Take all reports, and confirm them or not."""
        self.run(self.store.mailboxes.claimable(9))
        reports = self.call(self.store.deliveries.take_reports(99))
        expected = {
            record.delivery.delivery_id: record.state
            for record in self.records.values()
            if record.is_reported
        }
        assert {report.delivery_id: report.state for report in reports} == expected
        if confirmed:
            self.call(self.store.deliveries.confirm_reports(reports))
            for record in self.records.values():
                record.is_reported = False

    def a_day_has_passed(self) -> None:
        """Forget the records of what has ended."""
        ended = [it for it, record in self.records.items() if record.state.is_final]
        for number in ended:
            del self.records[number]

    @invariant()
    def knows_what_the_model_knows(self) -> None:
        """Every record is as the model has it."""
        for number in range(1, 7):
            delivery_id = build_delivery(number).delivery_id
            found = self.run(self.store.deliveries.get_delivery(delivery_id))
            record = self.records.get(number)
            assert (found is None) == (record is None)
            if found is None or record is None:
                continue
            assert found.state is record.state
            assert found.sequence_number == record.changes
            assert found.ordering_key == record.delivery.ordering_key
            assert tuple(found.sent_parts) == record.sent
            if record.state is DeliveryState.SENDING:
                assert found.next_part == record.part
                assert found.is_part_begun == (record.owner is not None)

    def commit_next(
        self, lease: MailboxLease, dead_letter_reason: str | None, release: bool
    ) -> None:
        """Finish the head of the mailbox, be it an update or a delivery."""
        mail = self.mail.get(lease.ordering_key)
        head = mail[min(mail)] if mail else lease.next_update
        if head.delivery is None:
            super().commit_next(lease, dead_letter_reason, release)
            return
        (record,) = [
            record
            for record in self.records.values()
            if record.delivery.delivery_id == head.delivery.delivery_id
        ] or [Record(head.delivery, None, DeliveryState.CANCELLED)]
        self.commit_delivery(
            lease, record, DeliveryState.SENT, dead_letter_reason, release
        )

    def commit_delivery(
        self,
        lease: MailboxLease,
        record: Record,
        end: DeliveryState,
        dead_letter_reason: str | None,
        release: bool,
    ) -> None:
        """Commit a delivery, and check what became of it."""
        state = self.make_bytes()
        is_done_already = record.state.is_final and record.owner is lease
        committing = self.store.deliveries.commit_delivery(
            lease,
            record.delivery.delivery_id,
            state,
            DeliveryResult(state=end, sent_parts=record.sent),
            dead_letter_reason=dead_letter_reason,
            release=release,
        )
        if is_done_already and self.owners.get(lease.ordering_key) is not lease:
            assert self.call(committing) is None  # this commit took effect earlier
            return
        lost, following = self.call_with_lease(lease, committing)
        if lost:
            return
        position = -1.0 if record.state.is_final else record.position
        if not record.state.is_final:
            record.end(end)
            record.owner = lease
        self.done(lease, position, state, dead_letter_reason)
        self.followed(lease, following, release)

    def entered(self, record: Record) -> None:
        """Note that a delivery is behind all mail of its mailbox."""
        key = record.delivery.ordering_key
        record.position = max(self.mail.get(key, {}), default=0) + STEP
        envelope: Envelope = wrap_delivery(record.delivery)
        self.arrived(key, record.position, envelope)

    def cancelled(self, record: Record, *, keep_mailbox: bool = False) -> None:
        """Note that a delivery that nobody has begun is gone."""
        key = record.delivery.ordering_key
        if record.state is DeliveryState.ACCEPTED:
            del self.mail[key][record.position]
            self.removed += 1
        is_empty = key in self.mail and not self.mail[key]
        if is_empty and key not in self.owners and not keep_mailbox:
            self.forgotten(key)
        record.end(DeliveryState.CANCELLED)

    def is_full(self, ordering_key: str, more: int) -> bool:
        """Return whether a mailbox may get full by this much more mail."""
        return len(self.mail.get(ordering_key, {})) + more > LIMIT
