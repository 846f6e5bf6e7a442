"""What the actors need from the rooms around them. The rooms match by shape.

The ports to services and to the user are in `services.py` and `messenger.py`. Nothing
here is inherited from: mypy proves the match at the line in `parts.py` where a room
meets the actors.
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
"""How long a claim lasts without being renewed."""


class Clock(Protocol):
    """Time, as a part that tests can move."""

    def now(self) -> float:
        """Seconds since the epoch: comparable between machines."""

    def uptime(self) -> float:
        """Seconds since the machine's start, suspension included, never set back.

        CLOCK_MONOTONIC stands still while a machine is suspended, in which a lease
        would seem to live on.
        """


class MailboxLease:
    """The right to work on a lane, as long as its lease lasts.

    Claims are compared by identity: the old claim of a lane and its next one may
    exist at the same moment.

    Attributes:
        ordering_key: the lane.
        token: the fencing token, random per claim; the store compares it.
        state: the stored state of the lane, None where there is none.
        next_update: the update with the lowest `update_id` of the lane.
        expires_at: the end of the lease by `Clock.uptime`. Counted from before the
            request that extended it was sent, so the store's own end is never earlier.
        owner_losses: how many owners vanished with this head: it may be what ends them.
            0 again once the head was committed.
        owner_crashes: how many of them vanished in the middle of a step of it.
        is_suspected: whether the head may be what ends its owners.
        is_committing: True while its owner waits for a commit, whose answer tells
            whether the claim was lost.
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
        """Whether the head is to be given up, because it ends its owners."""
        return (
            self.owner_crashes >= POISON_CRASHES or self.owner_losses >= POISON_LOSSES
        )

    def clear_suspicion(self) -> None:
        """Forget what the owners before went through: there is another head now."""
        self.owner_losses = self.owner_crashes = 0
        self.is_suspected = False


class PutResult(StrEnum):
    """What became of a put that gave no claim."""

    STORED = "stored"
    """It waits for the lane's owner, or for a sweep."""
    DUPLICATE = "already"
    """It was there before."""
    FULL = "full"
    """The lane holds as many updates as it may; nothing was stored."""


class MailboxStore(Protocol):
    """Where accepted updates live until they are done. One mailbox per lane.

    A lane is free (no mail), claimed (one worker has its current token and a lease)
    or waiting (mail, but no claim or one whose lease ended). Every method may be
    repeated with the same arguments after a lost answer.
    """

    @property
    def in_memory(self) -> int:
        """How many accepted updates are in this process's memory, and end with it."""

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Append an update to its mailbox, unless its `update_id` is there already.

        Args:
            envelope: the update.
            acquire: claim the lane if it is free. A waiting lane is never claimed here.
            enforce_limit: refuse the update if the mailbox is full.

        Returns:
            A claim if the lane was free, else what became of the update.

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
        """Remove a finished update, save the state, and go on to the next update.

        All of it happens or nothing. Extends the lease.

        Args:
            lease: the claim that the update was worked on under.
            update_id: the finished update; it need not be there any more.
            state: the lane's new state.
            dead_letter_reason: a reason to put the update into the dead letters. Empty:
                none.
            release: give the lane back with the mail that is left.

        Returns:
            The update with the lowest `update_id`, or None if the lane is not ours
            any more: it is free, or was given back.

        Raises:
            LeaseLost: the claim's token is not the current one; nothing was changed.
        """

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Extend the leases of these claims. Returns those that were lost."""

    async def release(self, lease: MailboxLease) -> None:
        """Give a lane back with its mail. Without effect if the claim was lost."""

    async def claimable(self, limit: int) -> Sequence[str]:
        """List lanes with mail that anybody may claim, longest waiting first.

        Where very many wait, the order is kept roughly.
        """

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Claim a waiting lane.

        An owner that let its lease run out, and did not give the lane back, counts as
        a death of the update at the head; as a crash, too, if a step of it had been
        noted as running. It does not count if the head was a suspect of which no step
        had been noted yet. A commit ends the count.

        A suspect that saw one more death, and no crash so far, is not claimed, but
        waits for a while, see `PAUSES`.

        Returns:
            The claim, or None if the lane is not waiting, or not any more.
        """

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Note for a suspected head whether it is processed, or waits for others.

        Without effect if the claim was lost, or the head is not suspected. Nothing is
        raised if the store does not answer.

        Args:
            lease: the claim.
            running: a step begins; else it ended.
        """

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Keep a dead letter that never was in a mailbox."""
