"""The operations on mailboxes and leases, each within a transaction.

A mailbox has a row in `mailboxes` while it has mail or an owner. Only the owner knows
the token in that row. An operation under a lease compares the token first and changes
nothing if it is another one.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from msgspec import msgpack

from gateway.domain.delivery import Delivery
from gateway.domain.errors import LeaseLost
from gateway.domain.poison import MAX_UNSUSPECTED_LOSSES, SUSPECT_PAUSES
from gateway.domain.ports import PutResult
from gateway.domain.update import DeadLetter, Envelope
from gateway.domain.user_state import STATE_TTL
from gateway.mailboxes.delivery_serialization import wrap_delivery
from gateway.mailboxes.serialization import DeadLetterLimits, make_dead_letter
from gateway.mailboxes.sqlite.dead_letters import add_dead_letter
from gateway.mailboxes.sqlite.transactions import Transaction

DELIVERY_STEP = 2**-20
"""The distance of a delivery from the mail before it. The sum with the id of an update
is exact."""

_decode_delivery = msgpack.Decoder(Delivery).decode


class SuspectStage(IntEnum):
    """The progress of a suspected update, as it is stored."""

    WAITING = 0
    """It waits for something else, such as a service. Updates that are not suspected
    are always in this stage."""
    QUEUED = 1
    """Its actor has not started to process it."""
    RUNNING = 2
    """A step of it is running."""


class Grant(NamedTuple):
    """A lease that was granted."""

    token: str
    state: bytes | None
    head: Envelope
    expires_at: float
    owner_losses: int = 0
    owner_crashes: int = 0


class LeaseKey(NamedTuple):
    """What identifies a lease."""

    ordering_key: str
    token: str


class FinishedMail(NamedTuple):
    """What a commit removes and saves."""

    position: float | None
    """The position of the mail, which need not be there any more; None if it certainly
    is not."""
    state: bytes
    dead_letter_reason: str | None = None
    release: bool = False


class MailPolicy(NamedTuple):
    """The settings of all mailboxes."""

    limit: int
    """The maximum number of updates and deliveries in a mailbox."""
    lease_seconds: float
    dead_letters: DeadLetterLimits


def put_update(
    transaction: Transaction,
    policy: MailPolicy,
    envelope: Envelope,
    token: str,
    *,
    enforce_limit: bool,
) -> Grant | PutResult:
    """Append an update to its mailbox, and acquire the lease of a free one.

    Args:
        transaction: the transaction.
        policy: the settings of the mailboxes.
        envelope: the update.
        token: the token of the lease; an empty string to acquire none.
        enforce_limit: whether to refuse the update if the mailbox is full.

    Raises:
        StoreFull: the disk is nearly full.
    """
    transaction.check_space()
    execute, ordering_key = transaction.execute, envelope.ordering_key
    position = envelope.update_id
    added = add_mailbox(transaction, policy, ordering_key, position, token)
    if added is None:
        (is_there,) = execute(
            "SELECT EXISTS (SELECT 1 FROM mail"
            " WHERE ordering_key = ? AND position = ?)",
            (ordering_key, position),
        ).fetchone()
        if is_there:
            return PutResult.DUPLICATE
        if enforce_limit and count_mail(transaction, ordering_key) >= policy.limit:
            return PutResult.FULL
    execute(
        "INSERT INTO mail VALUES (?, ?, ?, ?, NULL)",
        (ordering_key, position, envelope.arrived_at, envelope.body),
    )
    if added is None or not token:
        return PutResult.STORED
    expires_at = transaction.uptime + policy.lease_seconds
    return Grant(token, added.state, envelope, expires_at)


class AddedMailbox(NamedTuple):
    """The mailbox that was added, with the state of its user."""

    state: bytes | None


def add_mailbox(
    transaction: Transaction,
    policy: MailPolicy,
    ordering_key: str,
    position: float,
    token: str,
) -> AddedMailbox | None:
    """Add a mailbox. Return None if it exists.

    Args:
        transaction: the transaction.
        policy: the settings of the mailboxes.
        ordering_key: the key of the mailbox.
        position: the position of its first mail.
        token: the token of its lease; an empty string to make it claimable.
    """
    claimable_at = transaction.uptime + (policy.lease_seconds if token else 0)
    row = transaction.execute(
        "INSERT INTO mailboxes (ordering_key, claimable_at, token, suspect)"
        " VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING RETURNING"
        " (SELECT state FROM states WHERE states.ordering_key = ?1"
        " AND expires_at > ?5)",
        (ordering_key, claimable_at, token, position, transaction.now),
    ).fetchone()
    return None if row is None else AddedMailbox(row[0])


def count_mail(transaction: Transaction, ordering_key: str) -> int:
    """Return the number of updates and deliveries in a mailbox."""
    (count,) = transaction.execute(
        "SELECT count(*) FROM mail WHERE ordering_key = ?", (ordering_key,)
    ).fetchone()
    return int(count)


def find_end(transaction: Transaction, ordering_key: str) -> float | None:
    """Return the position behind all mail, or None if the next update may be there."""
    (last,) = transaction.execute(
        "SELECT max(position) FROM mail WHERE ordering_key = ?", (ordering_key,)
    ).fetchone()
    position = float(last or 0) + DELIVERY_STEP
    return None if position.is_integer() else position


def read_head(transaction: Transaction, ordering_key: str) -> Envelope | None:
    """Return the first mail of a mailbox, or None if it has none."""
    row = transaction.execute(
        "SELECT position, arrived_at, body, delivery FROM mail WHERE ordering_key = ?"
        " ORDER BY position LIMIT 1",
        (ordering_key,),
    ).fetchone()
    return None if row is None else _read_mail(ordering_key, row)


def _read_mail(
    ordering_key: str, row: tuple[float, float | None, bytes, bytes | None]
) -> Envelope:
    position, arrived_at, body, delivery = row
    if delivery is not None:
        return wrap_delivery(_decode_delivery(delivery))
    return Envelope(
        update_id=int(position),
        ordering_key=ordering_key,
        arrived_at=arrived_at,
        body=body,
    )


def commit_mail(
    transaction: Transaction,
    policy: MailPolicy,
    lease: LeaseKey,
    finished: FinishedMail,
) -> tuple[Envelope | None, float]:
    """Remove finished mail, save the state, and return the next mail.

    Args:
        transaction: the transaction.
        policy: the settings of the mailboxes.
        lease: the lease.
        finished: what to remove and save.

    Returns:
        The next mail, and the new end of the lease.

    Raises:
        LeaseLost: the token is not the current one.
    """
    execute = transaction.execute
    ordering_key, token = lease
    position, state, dead_letter_reason, release = finished
    expires_at = transaction.uptime + policy.lease_seconds
    is_empty = bool(
        execute(
            "DELETE FROM mailboxes WHERE ordering_key = ?1 AND token = ?2"
            " AND token <> '' AND NOT EXISTS (SELECT 1 FROM mail"
            " WHERE mail.ordering_key = ?1 AND position IS NOT ?3)",
            (ordering_key, token, position),
        ).rowcount
    )
    if not is_empty:
        is_owner = execute(
            "UPDATE mailboxes SET claimable_at = ?, token = ?, owner_losses = 0,"
            " owner_crashes = 0, stage = 0"
            " WHERE ordering_key = ? AND token = ? AND token <> ''",
            (
                transaction.uptime if release else expires_at,
                "" if release else token,
                ordering_key,
                token,
            ),
        ).rowcount
        if not is_owner:
            raise LeaseLost("the lease's token is not the mailbox's current one")
    if position is not None:
        _remove_mail(transaction, policy, ordering_key, position, dead_letter_reason)
    execute(
        "INSERT INTO states VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
        " SET state = excluded.state, expires_at = excluded.expires_at",
        (ordering_key, state, transaction.now + STATE_TTL),
    )
    if is_empty or release:
        return None, expires_at
    return read_head(transaction, ordering_key), expires_at


def _remove_mail(
    transaction: Transaction,
    policy: MailPolicy,
    ordering_key: str,
    position: float,
    dead_letter_reason: str | None,
) -> None:
    where = "WHERE ordering_key = ? AND position = ?"
    key = (ordering_key, position)
    if dead_letter_reason is not None:
        row = transaction.execute(
            f"SELECT position, arrived_at, body, delivery FROM mail {where}",  # noqa: S608
            key,
        ).fetchone()
        if row is not None:
            dead_letter: DeadLetter = make_dead_letter(
                _read_mail(ordering_key, row), dead_letter_reason, transaction.now
            )
            add_dead_letter(transaction, policy.dead_letters, dead_letter)
    transaction.execute(f"DELETE FROM mail {where}", key)  # noqa: S608 - a constant


def acquire_mailbox(
    transaction: Transaction, policy: MailPolicy, lease: LeaseKey
) -> Grant | None:
    """Acquire the lease of a claimable mailbox. See `MailboxStore.acquire`."""
    ordering_key, now = lease.ordering_key, transaction.uptime
    row = transaction.execute(
        "SELECT claimable_at, token, suspect, owner_losses, owner_crashes, stage"
        " FROM mailboxes WHERE ordering_key = ?",
        (ordering_key,),
    ).fetchone()
    if row is None or row[0] > now:
        return None
    _, owner, suspect, losses, crashes, stage = row
    (first,) = transaction.execute(
        "SELECT min(position) FROM mail WHERE ordering_key = ?", (ordering_key,)
    ).fetchone()
    if first is None:  # its last delivery was cancelled
        transaction.execute(
            "DELETE FROM mailboxes WHERE ordering_key = ?", (ordering_key,)
        )
        return None
    if suspect != first:
        losses, crashes, stage = 0, 0, SuspectStage.WAITING
    if owner and stage != SuspectStage.QUEUED:  # its lease ended without a release
        losses += 1
        crashes += stage == SuspectStage.RUNNING
        if pause := _find_pause(losses, crashes):
            suspicion = (first, losses, crashes, stage)
            _save_lease(transaction, ordering_key, "", now + pause, suspicion)
            return None
    is_suspected = losses > MAX_UNSUSPECTED_LOSSES
    stage = SuspectStage.QUEUED if is_suspected else SuspectStage.WAITING
    expires_at = now + policy.lease_seconds
    suspicion = (first, losses, crashes, stage)
    _save_lease(transaction, ordering_key, lease.token, expires_at, suspicion)
    return _read_grant(transaction, lease, expires_at, losses, crashes)


def _read_grant(
    transaction: Transaction,
    lease: LeaseKey,
    expires_at: float,
    losses: int,
    crashes: int,
) -> Grant | None:
    head = read_head(transaction, lease.ordering_key)
    if head is None:
        return None
    row = transaction.execute(
        "SELECT state FROM states WHERE ordering_key = ? AND expires_at > ?",
        (lease.ordering_key, transaction.now),
    ).fetchone()
    state = None if row is None else row[0]
    return Grant(lease.token, state, head, expires_at, losses, crashes)


def _find_pause(losses: int, crashes: int) -> float:
    """Return the seconds for which nobody may acquire the mailbox of a suspect."""
    suspected_losses = losses - MAX_UNSUSPECTED_LOSSES
    if suspected_losses <= 0 or crashes:
        return 0.0
    return SUSPECT_PAUSES[min(suspected_losses, len(SUSPECT_PAUSES)) - 1]


def _save_lease(
    transaction: Transaction,
    ordering_key: str,
    token: str,
    claimable_at: float,
    suspicion: tuple[float, int, int, int],
) -> None:
    transaction.execute(
        "UPDATE mailboxes SET token = ?, claimable_at = ?, suspect = ?,"
        " owner_losses = ?, owner_crashes = ?, stage = ? WHERE ordering_key = ?",
        (token, claimable_at, *suspicion, ordering_key),
    )


def renew_leases(
    transaction: Transaction, leases: Sequence[tuple[str, str]], expires_at: float
) -> list[bool]:
    """Set the end of leases.

    Args:
        transaction: the transaction.
        leases: the ordering keys and tokens.
        expires_at: the end of the leases.

    Returns:
        Whether each lease was current.
    """
    return [
        bool(
            transaction.execute(
                "UPDATE mailboxes SET claimable_at = ?"
                " WHERE ordering_key = ? AND token = ? AND token <> ''",
                (expires_at, *lease),
            ).rowcount
        )
        for lease in leases
    ]


def release_mailbox(transaction: Transaction, ordering_key: str, token: str) -> None:
    """Release a lease. Has no effect if the token is not the current one."""
    transaction.execute(
        "UPDATE mailboxes SET claimable_at = ?, token = ''"
        " WHERE ordering_key = ? AND token = ? AND token <> ''",
        (transaction.uptime, ordering_key, token),
    )


def record_step(
    transaction: Transaction, ordering_key: str, token: str, stage: SuspectStage
) -> None:
    """Record a step of a suspected update. See `MailboxStore.record_step`."""
    transaction.execute(
        "UPDATE mailboxes SET stage = ? WHERE ordering_key = ? AND token = ?"
        " AND token <> '' AND owner_losses > ?",
        (stage, ordering_key, token, MAX_UNSUSPECTED_LOSSES),
    )
