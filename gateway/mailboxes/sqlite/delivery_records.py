"""Operations on deliveries and their records in the file, within a transaction.

A position is a number by which the mail of a mailbox is sorted: see `mail.py`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import msgpack, structs

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
from gateway.domain.update import Envelope
from gateway.mailboxes.delivery_serialization import wrap_delivery
from gateway.mailboxes.sqlite.mail import (
    FinishedMail,
    Grant,
    LeaseKey,
    MailPolicy,
    add_mailbox,
    commit_mail,
    count_mail,
    find_end,
)
from gateway.mailboxes.sqlite.transactions import Transaction

FULL_RETRY_SECONDS = 1.0
"""The delay before a delivery tries again to enter a full mailbox."""

_encode = msgpack.Encoder().encode
_decode_delivery = msgpack.Decoder(Delivery).decode
_decode_parts = msgpack.Decoder(tuple[SentPart, ...]).decode

_COLUMNS = (
    "delivery_id, ordering_key, caller, idempotency_key, state, sequence_number,"
    " reason, description, next_part, sent_parts, maybe_repeated, accepted_at,"
    " updated_at, owner, position, fingerprint, report"
)


class StoredRecord(NamedTuple):
    """A record as the file has it, with data that only the store uses."""

    record: DeliveryRecord
    owner: str
    """The token of the lease under which the last call was begun or the end was
    committed; empty if there is none."""
    position: float | None
    """The position of the delivery in its mailbox; None if it is not there."""
    report: str

    @property
    def is_waiting(self) -> bool:
        """Whether no call of the delivery has begun: ACCEPTED or SCHEDULED."""
        return self.record.state in {DeliveryState.ACCEPTED, DeliveryState.SCHEDULED}


def read_record(transaction: Transaction, delivery_id: str) -> StoredRecord | None:
    """Return the record of a delivery; None if there is none or it has expired."""
    row = transaction.execute(
        f"SELECT {_COLUMNS} FROM deliveries WHERE delivery_id = ?"  # noqa: S608
        " AND (expires_at IS NULL OR expires_at > ?)",
        (delivery_id, transaction.now),
    ).fetchone()
    return None if row is None else _read(row)


def _read(row: Any) -> StoredRecord:  # noqa: ANN401 - a row
    state = DeliveryState(row[4])
    owner, position, fingerprint, report = row[13:]
    record = DeliveryRecord(
        delivery_id=row[0],
        ordering_key=row[1],
        caller=row[2],
        idempotency_key=row[3],
        state=state,
        sequence_number=row[5],
        reason=row[6],
        description=row[7],
        next_part=row[8],
        is_part_begun=bool(owner) and not state.is_final,
        sent_parts=_decode_parts(row[9]),
        maybe_repeated=bool(row[10]),
        accepted_at=row[11],
        updated_at=row[12],
        fingerprint=fingerprint,
    )
    return StoredRecord(record, owner, position, report)


def put_delivery(
    transaction: Transaction, policy: MailPolicy, delivery: Delivery, token: str
) -> Grant | DeliveryPutResult:
    """Store a delivery. See `DeliveryStore.put_delivery`.

    Args:
        transaction: the transaction.
        policy: the settings of the mailboxes.
        delivery: the delivery.
        token: the token of the lease to acquire if the mailbox is free; an empty string
            to acquire none.

    Returns:
        The lease if it was acquired, otherwise the result. FULL also if the mailbox has
        no position behind its mail: see `find_end`.

    Raises:
        IdempotencyKeyReused: the key was used with another request.
        StoreFull: the disk is nearly full.
    """
    found = read_record(transaction, delivery.delivery_id)
    if found is not None:
        if found.record.fingerprint != delivery.fingerprint:
            raise IdempotencyKeyReused("the key was used with another request")
        return DeliveryPutResult.REPEATED
    transaction.check_space()
    replaced = _find_replaced(transaction, delivery)
    now = transaction.now
    waits = delivery.is_bulk or (
        delivery.not_before is not None and delivery.not_before > now
    )
    if not waits:
        count = count_mail(transaction, delivery.ordering_key)
        replaces_mail = replaced is not None and replaced.position is not None
        if count - replaces_mail >= policy.limit:
            return DeliveryPutResult.FULL
        if find_end(transaction, delivery.ordering_key) is None:
            return DeliveryPutResult.FULL
    if replaced is not None:
        _cancel(transaction, replaced, "collapsed", keeps_mailbox=not waits)
    waits_until = None
    if waits:
        due = delivery.not_before or 0.0
        waits_until = max(due, now) if delivery.is_bulk else due
    _insert_record(transaction, delivery, waits_until)
    if waits:
        return DeliveryPutResult.SCHEDULED
    return _append(transaction, policy, delivery, token)


def _find_replaced(transaction: Transaction, delivery: Delivery) -> StoredRecord | None:
    """Return the delivery that this one replaces, or None if there is none."""
    if not delivery.collapse_key:
        return None
    row = transaction.execute(
        f"SELECT {_COLUMNS} FROM deliveries WHERE ordering_key = ? AND caller = ?"  # noqa: S608
        " AND collapse_key = ? AND collapse_key <> '' ORDER BY rowid DESC LIMIT 1",
        (delivery.ordering_key, delivery.caller, delivery.collapse_key),
    ).fetchone()
    last = None if row is None else _read(row)
    return last if last is not None and last.is_waiting else None


def _insert_record(
    transaction: Transaction, delivery: Delivery, waits_until: float | None
) -> None:
    waits = waits_until is not None
    transaction.execute(
        "INSERT OR REPLACE INTO deliveries (delivery_id, ordering_key, caller,"
        " idempotency_key, fingerprint, collapse_key, report, state, sequence_number,"
        " sent_parts, accepted_at, updated_at, delivery, is_bulk, waits_until)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)",
        (
            delivery.delivery_id,
            delivery.ordering_key,
            delivery.caller,
            delivery.idempotency_key,
            delivery.fingerprint,
            delivery.collapse_key,
            delivery.report.value,
            (DeliveryState.SCHEDULED if waits else DeliveryState.ACCEPTED).value,
            _encode(()),
            delivery.accepted_at,
            transaction.now,
            _encode(delivery) if waits else None,
            delivery.is_bulk,
            waits_until,
        ),
    )


def _append(
    transaction: Transaction, policy: MailPolicy, delivery: Delivery, token: str
) -> Grant | DeliveryPutResult:
    """Append a delivery, which has a record, to its mailbox."""
    ordering_key = delivery.ordering_key
    position = find_end(transaction, ordering_key)
    added = add_mailbox(transaction, policy, ordering_key, position or 0.0, token)
    transaction.execute(
        "INSERT INTO mail VALUES (?, ?, ?, x'', ?)",
        (ordering_key, position, delivery.accepted_at, _encode(delivery)),
    )
    transaction.execute(
        "UPDATE deliveries SET position = ? WHERE delivery_id = ?",
        (position, delivery.delivery_id),
    )
    if added is None or not token:
        return DeliveryPutResult.STORED
    expires_at = transaction.uptime + policy.lease_seconds
    return Grant(token, added.state, wrap_delivery(delivery), expires_at)


def cancel_delivery(
    transaction: Transaction, delivery_id: str
) -> DeliveryRecord | None:
    """Cancel a delivery that is not begun. See `DeliveryStore.cancel_delivery`."""
    found = read_record(transaction, delivery_id)
    if found is None or not found.is_waiting:
        return None if found is None else found.record
    _cancel(transaction, found, "cancelled")
    found = read_record(transaction, delivery_id)
    return None if found is None else found.record


def _cancel(
    transaction: Transaction,
    found: StoredRecord,
    reason: str,
    *,
    keeps_mailbox: bool = False,
) -> None:
    """End a delivery that nobody has begun.

    Args:
        transaction: the transaction.
        found: the record.
        reason: the reason in the record.
        keeps_mailbox: whether to keep its mailbox, although it may be empty.
    """
    ordering_key = found.record.ordering_key
    if found.position is not None:
        transaction.execute(
            "DELETE FROM mail WHERE ordering_key = ? AND position = ?",
            (ordering_key, found.position),
        )
    if not keeps_mailbox:
        transaction.execute(
            "DELETE FROM mailboxes WHERE ordering_key = ?1 AND token = ''"
            " AND NOT EXISTS (SELECT 1 FROM mail WHERE mail.ordering_key = ?1)",
            (ordering_key,),
        )
    result = DeliveryResult(state=DeliveryState.CANCELLED, reason=reason)
    _end(transaction, found, result, owner="")


def _end(
    transaction: Transaction, found: StoredRecord, result: DeliveryResult, owner: str
) -> None:
    """Save the end of a delivery, and its report if it asked for one."""
    is_reported = found.report == ReportPolicy.ALL or (
        found.report == ReportPolicy.FAILURES and result.state is not DeliveryState.SENT
    )
    transaction.execute(
        "UPDATE deliveries SET state = ?, reason = ?, description = ?, sent_parts = ?,"
        " maybe_repeated = ?, sequence_number = sequence_number + 1, updated_at = ?,"
        " owner = ?, position = NULL, delivery = NULL, waits_until = NULL,"
        " expires_at = ?, is_reported = ? WHERE delivery_id = ?",
        (
            result.state.value,
            result.reason,
            result.description,
            _encode(tuple(result.sent_parts)),
            result.maybe_repeated,
            transaction.now,
            owner,
            transaction.now + RECORD_SECONDS,
            is_reported,
            found.record.delivery_id,
        ),
    )


def _is_owner(transaction: Transaction, lease: LeaseKey) -> bool:
    (is_owner,) = transaction.execute(
        "SELECT EXISTS (SELECT 1 FROM mailboxes WHERE ordering_key = ? AND token = ?"
        " AND token <> '')",
        lease,
    ).fetchone()
    return bool(is_owner)


def begin_part(
    transaction: Transaction,
    lease: LeaseKey,
    delivery_id: str,
    part: int,
    sent_parts: Sequence[SentPart],
    *,
    resolves_doubt: bool,
) -> DeliveryRecord:
    """Record that a Bot API call begins. See `DeliveryStore.begin_part`.

    If there is no record, the result is a failed one, so that nothing is sent.

    Raises:
        LeaseLost: the lease's token is not the current one; nothing was changed.
    """
    if not _is_owner(transaction, lease):
        raise LeaseLost("the lease's token is not the mailbox's current one")
    found = read_record(transaction, delivery_id)
    if found is None:
        return _make_lost_record(transaction, lease.ordering_key, delivery_id)
    before = found.record
    if before.state.is_final:
        return before
    if found.owner == lease.token:
        before = structs.replace(before, is_part_begun=False)
    if before.is_part_begun and not resolves_doubt:
        return before
    if not found.owner and before.next_part > part:  # that part was retracted
        return before
    transaction.execute(
        "UPDATE deliveries SET state = 'sending', next_part = ?, sent_parts = ?,"
        " owner = ?, updated_at = ?,"
        " sequence_number = sequence_number + (state <> 'sending')"
        " WHERE delivery_id = ?",
        (part, _encode(tuple(sent_parts)), lease.token, transaction.now, delivery_id),
    )
    return before


def retract_part(transaction: Transaction, lease: LeaseKey, delivery_id: str) -> bool:
    """Record that the begun call had no effect. See `DeliveryStore.retract_part`.

    Returns:
        Whether the lease is the current one of its mailbox.
    """
    transaction.execute(
        "UPDATE deliveries SET owner = '', updated_at = ?,"
        " sequence_number = sequence_number + (next_part = 0),"
        " state = iif(next_part = 0, 'accepted', state)"
        " WHERE delivery_id = ? AND state = 'sending' AND owner = ?",
        (transaction.now, delivery_id, lease.token),
    )
    return _is_owner(transaction, lease)


def _make_lost_record(
    transaction: Transaction, ordering_key: str, delivery_id: str
) -> DeliveryRecord:
    """Return a record of a delivery of which nothing may be sent."""
    return DeliveryRecord(
        delivery_id=delivery_id,
        ordering_key=ordering_key,
        caller="",
        idempotency_key="",
        state=DeliveryState.FAILED,
        sequence_number=0,
        reason="record_lost",
        accepted_at=transaction.now,
        updated_at=transaction.now,
    )


def commit_delivery(
    transaction: Transaction,
    policy: MailPolicy,
    lease: LeaseKey,
    delivery_id: str,
    result: DeliveryResult,
    finished: FinishedMail,
) -> tuple[Envelope | None, float]:
    """Remove an ended delivery. See `DeliveryStore.commit_delivery`.

    Args:
        transaction: the transaction.
        policy: the settings of the mailboxes.
        lease: the lease under which the delivery was sent.
        delivery_id: the id of the delivery.
        result: how the delivery ended.
        finished: the state and the options of the commit; its position is ignored.

    Returns:
        The next mail (None if the lease ended), and the new end of the lease by
        `Clock.uptime`.

    Raises:
        LeaseLost: the token is not the current one; nothing was changed.
    """
    found = read_record(transaction, delivery_id)
    is_final = found is not None and found.record.state.is_final
    if (
        is_final
        and found is not None
        and found.owner == lease.token
        and not _is_owner(transaction, lease)
    ):
        return None, 0.0  # this commit took effect earlier
    position = None if found is None else found.position
    reply = commit_mail(
        transaction, policy, lease, finished._replace(position=position)
    )
    if found is not None and not is_final:
        _end(transaction, found, result, owner=lease.token)
    return reply


def enter_due_deliveries(
    transaction: Transaction, policy: MailPolicy, limit: int
) -> int:
    """Put up to `limit` scheduled deliveries that are due into their mailboxes.

    Returns:
        The number of deliveries that were put; the others wait a second longer, because
        their mailbox is full.
    """
    rows = transaction.execute(
        "SELECT delivery_id, delivery FROM deliveries WHERE is_bulk = 0"
        " AND waits_until <= ? ORDER BY waits_until LIMIT ?",
        (transaction.now, limit),
    ).fetchall()
    return sum(_enter(transaction, policy, *row) for row in rows)


def enter_bulk_delivery(
    transaction: Transaction, policy: MailPolicy, delivery_id: str
) -> bool:
    """Put a bulk delivery into its mailbox, and return whether it was put.

    False if it was put before, was cancelled, or its mailbox is full.
    """
    row = transaction.execute(
        "SELECT delivery_id, delivery FROM deliveries WHERE delivery_id = ?"
        " AND waits_until IS NOT NULL",
        (delivery_id,),
    ).fetchone()
    return row is not None and _enter(transaction, policy, *row)


def _enter(
    transaction: Transaction, policy: MailPolicy, delivery_id: str, stored: bytes
) -> bool:
    """Put a delivery that waits outside into its mailbox, unless that is full."""
    delivery = _decode_delivery(stored)
    ordering_key = delivery.ordering_key
    is_full = count_mail(transaction, ordering_key) >= policy.limit
    if is_full or find_end(transaction, ordering_key) is None:
        transaction.execute(
            "UPDATE deliveries SET waits_until = ? WHERE delivery_id = ?",
            (transaction.now + FULL_RETRY_SECONDS, delivery_id),
        )
        return False
    transaction.execute(
        "UPDATE deliveries SET state = 'accepted', delivery = NULL, waits_until = NULL,"
        " sequence_number = sequence_number + 1, updated_at = ? WHERE delivery_id = ?",
        (transaction.now, delivery_id),
    )
    _append(transaction, policy, delivery, "")
    return True


def list_bulk_deliveries(transaction: Transaction, limit: int) -> list[WaitingDelivery]:
    """Return up to `limit` bulk deliveries that may enter, oldest first."""
    rows = transaction.execute(
        "SELECT delivery_id, ordering_key FROM deliveries WHERE is_bulk = 1"
        " AND waits_until <= ? ORDER BY waits_until LIMIT ?",
        (transaction.now, limit),
    ).fetchall()
    return [WaitingDelivery(*row) for row in rows]


def list_reports(transaction: Transaction, limit: int) -> list[DeliveryRecord]:
    """Return up to `limit` records whose end is still to be reported, oldest first."""
    rows = transaction.execute(
        f"SELECT {_COLUMNS} FROM deliveries WHERE is_reported = 1"  # noqa: S608
        " AND expires_at > ? ORDER BY updated_at LIMIT ?",
        (transaction.now, limit),
    ).fetchall()
    return [_read(row).record for row in rows]


def confirm_reports(transaction: Transaction, delivery_ids: Sequence[str]) -> None:
    """Stop listing these deliveries in `list_reports`: a service has the reports."""
    for delivery_id in delivery_ids:
        transaction.execute(
            "UPDATE deliveries SET is_reported = 0 WHERE delivery_id = ?",
            (delivery_id,),
        )


def replay_delivery(
    transaction: Transaction, policy: MailPolicy, delivery: Delivery
) -> bool:
    """Put a failed delivery, whose record may have expired, back into its mailbox.

    Messages that were sent are not sent again: the next owner finds them in the record,
    and continues as after an owner that was lost.

    Returns:
        True if it was put. False, with nothing changed, if its record has another state
        than FAILED, or if the mailbox has no position behind its mail.
    """
    found = read_record(transaction, delivery.delivery_id)
    if found is not None and found.record.state is not DeliveryState.FAILED:
        return False
    if find_end(transaction, delivery.ordering_key) is None:
        return False
    if found is None:
        _insert_record(transaction, delivery, None)
    else:
        has_sent = bool(found.record.sent_parts)
        transaction.execute(
            "UPDATE deliveries SET state = ?, owner = ?, reason = '', description = '',"
            " sequence_number = sequence_number + 1, updated_at = ?, expires_at = NULL,"
            " is_reported = 0 WHERE delivery_id = ?",
            (
                (DeliveryState.SENDING if has_sent else DeliveryState.ACCEPTED).value,
                "replayed" if has_sent else "",
                transaction.now,
                delivery.delivery_id,
            ),
        )
    _append(transaction, policy, delivery, "")
    return True


def list_open_ids(transaction: Transaction, limit: int) -> list[str]:
    """Return the ids of up to `limit` deliveries that have not ended.

    Those that were accepted first come first.
    """
    rows = transaction.execute(
        "SELECT delivery_id FROM deliveries WHERE expires_at IS NULL"
        " ORDER BY accepted_at LIMIT ?",
        (limit,),
    ).fetchall()
    return [delivery_id for (delivery_id,) in rows]
