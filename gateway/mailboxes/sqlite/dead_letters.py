"""Operations on the dead letters in the file, each within a transaction."""

from collections.abc import Iterator
from typing import Any

from msgspec import msgpack

from gateway.domain.delivery import Delivery
from gateway.domain.update import DeadLetter
from gateway.mailboxes.serialization import REJECTED_REASONS, DeadLetterLimits
from gateway.mailboxes.sqlite.transactions import Transaction

_encode = msgpack.Encoder().encode
_decode_delivery = msgpack.Decoder(Delivery).decode

_COLUMNS = "id, update_id, ordering_key, reason, dead_lettered_at, body, delivery"


def add_dead_letter(
    transaction: Transaction, limits: DeadLetterLimits, dead_letter: DeadLetter
) -> None:
    """Store a dead letter, and remove the oldest ones above the limit of its group.

    Rejected bodies (see `REJECTED_REASONS`) and all others are two groups.
    """
    is_rejected = dead_letter.reason in REJECTED_REASONS
    delivery = dead_letter.delivery
    transaction.execute(
        "INSERT INTO dead_letters (is_rejected, update_id, ordering_key, reason,"
        " dead_lettered_at, added_at, body, delivery) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            is_rejected,
            dead_letter.update_id,
            dead_letter.ordering_key,
            dead_letter.reason,
            dead_letter.dead_lettered_at,
            transaction.now,
            dead_letter.body,
            None if delivery is None else _encode(delivery),
        ),
    )
    limit = limits.max_rejected if is_rejected else limits.max_updates
    transaction.execute(
        "DELETE FROM dead_letters WHERE is_rejected = ?1 AND id <= (SELECT id"
        " FROM dead_letters WHERE is_rejected = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (is_rejected, limit),
    )


def has_expired_dead_letters(
    transaction: Transaction, limits: DeadLetterLimits
) -> bool:
    """Return whether the oldest dead letter is older than the retention time."""
    (oldest,) = transaction.execute(
        "SELECT added_at FROM dead_letters ORDER BY id LIMIT 1"
    ).fetchone() or (None,)
    return oldest is not None and oldest <= transaction.now - limits.retention_seconds


def remove_expired_dead_letters(
    transaction: Transaction, limits: DeadLetterLimits
) -> None:
    """Remove the dead letters that are older than the retention time."""
    transaction.execute(
        "DELETE FROM dead_letters WHERE added_at <= ?",
        (transaction.now - limits.retention_seconds,),
    )


def remove_dead_letter(transaction: Transaction, letter_id: int) -> bool:
    """Remove a dead letter, and return whether there was one with this id."""
    removed = transaction.execute("DELETE FROM dead_letters WHERE id = ?", (letter_id,))
    return bool(removed.rowcount)


def count_dead_letters(transaction: Transaction) -> tuple[int, int]:
    """Return two numbers: of updates and deliveries, and of rejected bodies."""
    counts = dict(
        transaction.execute(
            "SELECT is_rejected, count(*) FROM dead_letters GROUP BY is_rejected"
        ).fetchall()
    )
    return counts.get(0, 0), counts.get(1, 0)


def iterate_dead_letters(
    transaction: Transaction,
) -> Iterator[tuple[int, DeadLetter]]:
    """Iterate over all dead letters with their ids, oldest first.

    They are read one at a time, because their bodies may be large; iterate within the
    transaction.
    """
    rows = transaction.execute(f"SELECT {_COLUMNS} FROM dead_letters ORDER BY id")  # noqa: S608 - constants
    return map(_read, rows)


def read_dead_letter(transaction: Transaction, letter_id: int) -> DeadLetter | None:
    """Return the dead letter with an id; None if there is none."""
    row = transaction.execute(
        f"SELECT {_COLUMNS} FROM dead_letters WHERE id = ?",  # noqa: S608 - constants
        (letter_id,),
    ).fetchone()
    return None if row is None else _read(row)[1]


def _read(row: Any) -> tuple[int, DeadLetter]:  # noqa: ANN401 - a row
    letter_id, update_id, ordering_key, reason, dead_lettered_at, body, delivery = row
    return letter_id, DeadLetter(
        update_id=update_id,
        ordering_key=ordering_key,
        reason=reason,
        dead_lettered_at=dead_lettered_at,
        body=body,
        delivery=None if delivery is None else _decode_delivery(delivery),
    )
