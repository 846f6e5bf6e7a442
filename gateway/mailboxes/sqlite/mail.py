"""Operations on mailboxes and leases in the file, each within a transaction.

A mailbox has a row in `mailboxes` while it has mail or an owner. Its mail is sorted by
a number, the position: that of an update is its `update_id`; that of a delivery is
`DELIVERY_STEP` higher than the position of the mail before it. Only the owner knows the
token in the row of the mailbox. An operation under a lease compares the token first and
changes nothing if it is another one.
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
    """The progress of the first mail of a mailbox if it is suspected, as it is stored.

    It decides what the loss of an owner means: see `domain/poison.py`.
    """

    WAITING = 0
    """It waits for something else, such as a service. Updates that are not suspected
    are always in this stage."""
    QUEUED = 1
    """Its actor has not started to process it."""
    RUNNING = 2
    """A step of it is running."""


class Grant(NamedTuple):
    """A lease that an operation granted; `make_lease` makes a `MailboxLease` of it."""

    token: str
    state: bytes | None
    head: Envelope
    expires_at: float
    owner_losses: int = 0
    owner_crashes: int = 0


class LeaseKey(NamedTuple):
    """What identifies a lease: the key of its mailbox, and its fencing token."""

    ordering_key: str
    token: str


class FinishedMail(NamedTuple):
    """What a commit removes and saves.

    With a `dead_letter_reason` the mail becomes a dead letter; with `release` the lease
    ends although mail remains.
    """

    position: float | None
    """The position of the mail, which need not be there any more; None if it certainly
    is not."""
    state: bytes
    dead_letter_reason: str | None = None
    release: bool = False


class MailPolicy(NamedTuple):
    """The settings that hold for all mailboxes in the file."""

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
    """Store an update in its mailbox. See `MailboxStore.put`.

    Args:
        transaction: the transaction.
        policy: the settings of the mailboxes.
        envelope: the update.
        token: the token of the lease to acquire if the mailbox is free; an empty string
            to acquire none.
        enforce_limit: whether to refuse the update if the mailbox is full.

    Returns:
        The lease if it was acquired, otherwise the result of the put.

    Raises:
        StoreFull: the disk is nearly full; nothing was stored.
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
    """A mailbox that was added, with the stored state of its user, if there is one."""

    state: bytes | None


def add_mailbox(
    transaction: Transaction,
    policy: MailPolicy,
    ordering_key: str,
    position: float,
    token: str,
) -> AddedMailbox | None:
    """Add the row of a mailbox, without mail; return None if there is one already.

    Args:
        transaction: the transaction.
        policy: the settings of the mailboxes.
        ordering_key: the key of the mailbox.
        position: the position of the mail that the caller adds next.
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
    """Return the number of updates and deliveries in a mailbox; 0 if there is none."""
    (count,) = transaction.execute(
        "SELECT count(*) FROM mail WHERE ordering_key = ?", (ordering_key,)
    ).fetchone()
    return int(count)


def find_end(transaction: Transaction, ordering_key: str) -> float | None:
    """Return the position for a delivery behind all mail of a mailbox.

    Returns None if so many deliveries are there that this is the position of the next
    update.
    """
    (last,) = transaction.execute(
        "SELECT max(position) FROM mail WHERE ordering_key = ?", (ordering_key,)
    ).fetchone()
    position = float(last or 0) + DELIVERY_STEP
    return None if position.is_integer() else position


def read_head(transaction: Transaction, ordering_key: str) -> Envelope | None:
    """Return the first mail of a mailbox; None if it has none."""
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
        lease: the lease under which the mail was processed.
        finished: what to remove and save.

    Returns:
        The next mail (None if the lease ended), and the new end of the lease by
        `Clock.uptime`.

    Raises:
        LeaseLost: the token is not the current one; nothing was changed.
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
    """Acquire the lease of a claimable mailbox. See `MailboxStore.acquire`.

    Args:
        transaction: the transaction.
        policy: the settings of the mailboxes.
        lease: the key of the mailbox, and the token that the lease is to have.

    Returns:
        The lease; None if the mailbox is not claimable, or pauses now.
    """
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
    """Set a new end of leases, if their tokens are current.

    Args:
        transaction: the transaction.
        leases: pairs of an ordering key and a token.
        expires_at: the new end of the leases by `Clock.uptime`.

    Returns:
        For each lease whether its token was current, so that it was extended.
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
    """End a lease, so that any worker may acquire the mailbox.

    Has no effect if the token is not the current one.
    """
    transaction.execute(
        "UPDATE mailboxes SET claimable_at = ?, token = ''"
        " WHERE ordering_key = ? AND token = ? AND token <> ''",
        (transaction.uptime, ordering_key, token),
    )


def record_step(
    transaction: Transaction, ordering_key: str, token: str, stage: SuspectStage
) -> None:
    """Store the stage of a suspected update. See `MailboxStore.record_step`."""
    transaction.execute(
        "UPDATE mailboxes SET stage = ? WHERE ordering_key = ? AND token = ?"
        " AND token <> '' AND owner_losses > ?",
        (stage, ordering_key, token, MAX_UNSUSPECTED_LOSSES),
    )
