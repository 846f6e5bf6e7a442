"""The ports through which the actors use the mailbox store and the clock.

The ports to the services and to the user are in `services.py` and `messenger.py`.
Implementations do not inherit from the protocols: mypy checks that they match in
`bootstrap.py`, where they are passed to the actors.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Protocol

from gateway.domain.suspicion import (
    MAX_UNSUSPECTED_LOSSES,
    POISON_CRASHES,
    POISON_LOSSES,
)
from gateway.domain.update import DeadLetter, Envelope

LEASE_SECONDS = 3.0
"""How long a lease lasts without being renewed."""


class Clock(Protocol):
    """The time, as a dependency that tests can replace."""

    def now(self) -> float:
        """Return the seconds since the epoch, comparable between machines."""

    def uptime(self) -> float:
        """Return the seconds since the machine's start, including suspension.

        Never goes backwards. CLOCK_MONOTONIC does not count while the machine is
        suspended, so a lease would seem to be valid after it has expired.
        """


class MailboxLease:
    """The right to process the updates of a mailbox until the lease expires.

    Leases are compared by identity: an old lease of a mailbox and its successor may
    exist at the same time.

    Attributes:
        ordering_key: the ordering key of the mailbox.
        token: the fencing token, random for each lease; the store compares it.
        state: the stored user state of the mailbox, or None if there is none.
        next_update: the update with the lowest `update_id` in the mailbox.
        expires_at: the end of the lease by `Clock.uptime`. It is counted from before
            the request that extended the lease was sent, so the lease never expires
            earlier in the store.
        owner_losses: how many owners were lost while this update was the next one. It
            may be the cause. 0 again after the update was committed.
        owner_crashes: how many of these owners were lost during a step of the update.
        is_suspected: whether the next update is suspected of crashing its owners.
        is_committing: whether the owner waits for a commit; the reply to it says
            whether the lease was lost.
    """

    __slots__ = (
        "expires_at",
        "is_committing",
        "is_suspected",
        "next_update",
        "ordering_key",
        "owner_crashes",
        "owner_losses",
        "state",
        "token",
    )

    def __init__(
        self,
        ordering_key: str,
        token: str,
        state: bytes | None,
        next_update: Envelope,
        expires_at: float,
        *,
        owner_losses: int = 0,
        owner_crashes: int = 0,
    ) -> None:
        self.ordering_key = ordering_key
        self.token = token
        self.state = state
        self.next_update = next_update
        self.expires_at = expires_at
        self.owner_losses = owner_losses
        self.owner_crashes = owner_crashes
        self.is_suspected = owner_losses > MAX_UNSUSPECTED_LOSSES
        self.is_committing = False

    @property
    def is_poison(self) -> bool:
        """Whether the next update crashes its owners and becomes a dead letter."""
        return (
            self.owner_crashes >= POISON_CRASHES or self.owner_losses >= POISON_LOSSES
        )

    def clear_suspicion(self) -> None:
        """Reset the counts of lost owners, because the next update has changed."""
        self.owner_losses = self.owner_crashes = 0
        self.is_suspected = False


class PutResult(StrEnum):
    """The result of a put that did not acquire a lease."""

    STORED = "stored"
    """The update waits for the owner of the mailbox, or for a scan."""
    DUPLICATE = "already"
    """The update was in the mailbox already."""
    FULL = "full"
    """The mailbox is full; nothing was stored."""


class MailboxStore(Protocol):
    """Stores accepted updates until they are done, in one mailbox per ordering key.

    A mailbox is free (it has no updates), leased (one worker has its current token and
    a valid lease) or claimable (it has updates, but no lease or an expired one). Every
    method may be repeated with the same arguments after a lost reply.
    """

    @property
    def in_memory(self) -> int:
        """The number of accepted updates that are only in this process's memory.

        They are lost if the process ends.
        """

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Append an update to its mailbox, unless its `update_id` is there already.

        Args:
            envelope: the update.
            acquire: whether to acquire the lease if the mailbox is free. A claimable
                mailbox is never acquired here.
            enforce_limit: whether to refuse the update if the mailbox is full.

        Returns:
            The lease if it was acquired, otherwise the result of the put.

        Raises:
            StoreUnavailable: the store does not answer or is full.
        """

    async def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        dead_letter_reason: str = "",
        release: bool = False,
    ) -> Envelope | None:
        """Remove a finished update, save the state, and return the next update.

        The operation is atomic. It extends the lease.

        Args:
            lease: the lease under which the update was processed.
            update_id: the id of the finished update; the mailbox need not contain it
                any more.
            state: the new user state of the mailbox.
            dead_letter_reason: the reason to move the update to the dead letters, or an
                empty string if it was handled.
            release: whether to release the lease with the remaining updates.

        Returns:
            The update with the lowest `update_id`, or None if the lease ended, because
            the mailbox is empty or was released.

        Raises:
            LeaseLost: the lease's token is not the current one; nothing was changed.
        """

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Extend leases, and return those that were lost."""

    async def release(self, lease: MailboxLease) -> None:
        """Release a lease and keep the updates. Has no effect if the lease was lost."""

    async def claimable(self, limit: int) -> Sequence[str]:
        """Return the ordering keys of claimable mailboxes, longest waiting first.

        If there are very many of them, the order is approximate.
        """

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Acquire the lease of a claimable mailbox.

        An owner whose lease expired without a release counts as an owner loss of the
        next update, and also as a crash if a step of the update was recorded as
        running. It does not count if the update was a suspect without any recorded
        step. A commit resets the counts.

        If the loss makes the update a suspect, or it is one already, and there was no
        crash so far, the lease is not acquired: the mailbox pauses, see
        `SUSPECT_PAUSES`.

        Returns:
            The lease, or None if the mailbox is not claimable.
        """

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Record whether a step of a suspected update is running.

        Has no effect if the lease was lost or the update is not suspected. Does not
        raise if the store does not answer.

        Args:
            lease: the lease of the mailbox.
            running: True if a step begins, False if it ended.
        """

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Add a dead letter that was never in a mailbox."""
