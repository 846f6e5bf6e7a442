"""The scan: a worker's regular search of the file for work that nobody does."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import json

from gateway.mailboxes.serialization import DeadLetterLimits
from gateway.mailboxes.sqlite.dead_letters import (
    count_dead_letters,
    has_expired_dead_letters,
)
from gateway.mailboxes.sqlite.transactions import Transaction


class Cancellation(NamedTuple):
    """A user's cancellation of the streamed reply that a draft shows."""

    ordering_key: str
    draft_id: int


class Scan(NamedTuple):
    """What a scan found. The counts are of all workers."""

    ordering_keys: Sequence[str] = ()
    """The keys of claimable mailboxes, longest waiting first."""
    longest_wait: float = 0.0
    mailbox_count: int = 0
    dead_letter_count: int = 0
    rejected_count: int = 0
    has_due_deliveries: bool = False
    has_reports: bool = False
    has_expired_dead_letters: bool = False
    cancellations: Sequence[Cancellation] = ()
    """The cancellations since the previous scan."""
    last_cancellation_id: int | None = None


def scan_mailboxes(
    transaction: Transaction,
    limit: int,
    skipped_bots: Sequence[str],
    previous: Scan,
    limits: DeadLetterLimits,
    *,
    counts: bool,
) -> Scan:
    """Find claimable mailboxes, due deliveries, reports and cancellations.

    Args:
        transaction: the transaction, in which nothing is written.
        limit: the maximum number of claimable mailboxes.
        skipped_bots: the ids of bots whose mailboxes are left out.
        previous: the previous scan of this worker; only later cancellations are
            returned.
        limits: limits on the age of dead letters.
        counts: True to count mailboxes and dead letters; False to keep the counts of
            the previous scan.
    """
    execute = transaction.execute
    rows = execute(
        "SELECT ordering_key FROM mailboxes INDEXED BY mailboxes_by_time"
        " WHERE claimable_at <= ?"
        " AND substr(ordering_key, 1, instr(ordering_key || '/', '/') - 1)"
        " NOT IN (SELECT value FROM json_each(?))"
        " ORDER BY claimable_at LIMIT ?",
        (transaction.uptime, json.encode(skipped_bots), limit),
    ).fetchall()
    (oldest,) = execute("SELECT min(claimable_at) FROM mailboxes").fetchone()
    mailbox_count, letters = previous.mailbox_count, previous[3:5]
    if counts:
        (mailbox_count,) = execute("SELECT count(*) FROM mailboxes").fetchone()
        letters = count_dead_letters(transaction)
    last_id, cancellations = _read_cancellations(
        transaction, previous.last_cancellation_id
    )
    (has_due,) = execute(
        "SELECT EXISTS (SELECT 1 FROM deliveries WHERE waits_until <= ?"
        " AND is_bulk = 0)",
        (transaction.now,),
    ).fetchone()
    (has_reports,) = execute(
        "SELECT EXISTS (SELECT 1 FROM deliveries WHERE is_reported = 1)"
    ).fetchone()
    return Scan(
        [ordering_key for (ordering_key,) in rows],
        0.0 if oldest is None else max(0.0, transaction.uptime - oldest),
        mailbox_count,
        *letters,
        bool(has_due),
        bool(has_reports),
        has_expired_dead_letters(transaction, limits),
        cancellations,
        last_id,
    )


def _read_cancellations(
    transaction: Transaction, last_id: int | None
) -> tuple[int, list[Cancellation]]:
    """Return the last id, and what was added after the given one."""
    if last_id is None:  # the first scan of this worker, which had no streams before
        (last,) = transaction.execute("SELECT max(id) FROM cancellations").fetchone()
        return last or 0, []
    rows = transaction.execute(
        "SELECT id, ordering_key, draft_id FROM cancellations WHERE id > ? ORDER BY id",
        (last_id,),
    ).fetchall()
    found = [Cancellation(ordering_key, draft) for _, ordering_key, draft in rows]
    return (rows[-1][0] if rows else last_id), found
