"""The lease of a mailbox: the right of one worker to process its mail for a while."""

from msgspec import Struct

from gateway.domain.update import Envelope

LEASE_SECONDS = 3.0
"""How long a lease lasts without being renewed."""


class MailboxLease(Struct, eq=False, weakref=True):
    """The right to process the mail of a mailbox until the lease expires.

    The owner is the actor that got the lease; it is "lost" if the lease expires without
    a release, as after a crash. Leases are compared by identity: an old lease of a
    mailbox and its successor may exist at the same time.

    Attributes:
        ordering_key: the ordering key of the mailbox.
        token: the fencing token, unique to this lease. The store compares it at every
            write and raises LeaseLost if the mailbox has another one.
        state: the stored user state of the mailbox, or None if there is none.
        next_update: the first update or delivery in the mailbox.
        expires_at: the end of the lease by `Clock.uptime`. It is counted from just
            before the request was sent, so the owner sees the lease expire no later
            than the store does. 0 while the lease must not be used.
        owner_losses: how many owners were lost while this update was the first one. The
            update may be the cause. Reset to 0 by a commit.
        owner_crashes: how many of these owners were lost during a step of the update:
            see `poison.py`.
        begun_delivery_id: the id of the delivery whose first Bot API call the store has
            recorded as begun together with its put; empty if there is none. Its owner
            makes the call at once, or retracts it.
        is_committing: True while the owner waits for the reply to a commit, which will
            say whether the lease was lost.
    """

    ordering_key: str
    token: str
    state: bytes | None
    next_update: Envelope
    expires_at: float
    owner_losses: int = 0
    owner_crashes: int = 0
    begun_delivery_id: str = ""
    is_committing: bool = False

    def __repr__(self) -> str:
        """Show the key only: asyncio may log the rest, which has the user's text."""
        return f"MailboxLease({self.ordering_key!r})"
