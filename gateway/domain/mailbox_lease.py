"""The lease of a mailbox, and the rule that makes its next update a dead letter.

When a worker ends, for whatever reason, all updates that it was processing lose their
owner. Most of them were waiting for a service and did not cause it. An owner loss is
strong evidence against an update only if the worker ended during a step: parsing,
routing or replying. Such a loss is a crash. Steps take milliseconds. Recording the
start and the end of each step would cost round trips to the store, so they are recorded
only for suspects.
"""

from msgspec import Struct

from gateway.domain.update import Envelope

LEASE_SECONDS = 3.0
"""How long a lease lasts without being renewed."""

MAX_UNSUSPECTED_LOSSES = 1
"""Up to this many owner losses, an update is processed like any other."""

SUSPECT_PAUSES = (1.0, 2.0, 4.0)
"""Pauses in seconds after the owner loss that makes an update a suspect, after the next
loss, and after each further one. Other updates get done meanwhile. After a crash there
is no pause, because the next step is the most significant."""

POISON_CRASHES = 3
"""After this many crashes during its steps, an update becomes a dead letter. From the
second crash on no other suspect took a step in that worker at the same time, so there
is no other suspect to blame."""

POISON_LOSSES = 30
"""After this many owner losses an update becomes a dead letter, even if none was during
a step: the reply of its service may crash the workers. Because of the pauses this takes
minutes, in which updates that are only slow get done, even if workers are constantly
killed."""


class MailboxLease(Struct, eq=False):
    """The right to process the updates of a mailbox until the lease expires.

    Leases are compared by identity: an old lease of a mailbox and its successor may
    exist at the same time.

    Attributes:
        ordering_key: the ordering key of the mailbox.
        token: the fencing token, random for each lease; the store compares it.
        state: the stored user state of the mailbox, or None if there is none.
        next_update: the update with the lowest `update_id` in the mailbox.
        expires_at: the end of the lease by `Clock.uptime`. It is counted from just
            before the request was sent, so the owner sees the lease expire no later
            than the store does.
        owner_losses: how many owners were lost while this update was the next one. The
            update may be the cause. Reset to 0 by a commit.
        owner_crashes: how many of these owners were lost during a step of the update.
        is_committing: whether the owner waits for a commit; the reply to it says
            whether the lease was lost.
    """

    ordering_key: str
    token: str
    state: bytes | None
    next_update: Envelope
    expires_at: float
    owner_losses: int = 0
    owner_crashes: int = 0
    is_committing: bool = False

    def __repr__(self) -> str:
        """Show the key only: asyncio may log the rest, which has the user's text."""
        return f"MailboxLease({self.ordering_key!r})"

    @property
    def is_poison(self) -> bool:
        """Whether the next update crashes its owners and becomes a dead letter."""
        return (
            self.owner_crashes >= POISON_CRASHES or self.owner_losses >= POISON_LOSSES
        )
