"""Counts the slots for actors, and decides whether one more may start.

A running actor takes a slot. A mailbox for which there is no free slot waits in the
store: it is in the backlog, which new mailboxes must not overtake. When a slot becomes
free, the scheduler scans for the mailboxes that wait.

Concurrency: used in one event loop. Nothing is awaited while a count changes.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterator

from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import Clock

MAX_CONSECUTIVE_UPDATES = 16
"""After this number of updates and deliveries an actor releases its mailbox, if others
are waiting."""


class AdmissionControl:
    """Limits the number of running actors.

    Args:
        running: the leases of the running actors; the scheduler adds and removes them.
        clock: the time.
        max_active: the number of slots.

    Attributes:
        pending_acquisitions: the number of running requests to the store that may
            acquire a lease. Each takes a slot. The scheduler changes the number.
        has_backlog: whether mailboxes are waiting for a slot. The scheduler sets it
            anew at each scan.
        slot_freed: set when a slot becomes free while mailboxes are waiting. The
            scheduler waits for it, and clears it before it scans.
    """

    def __init__(
        self, running: Collection[MailboxLease], clock: Clock, max_active: int
    ) -> None:
        self._running = running
        self._clock = clock
        self._max_active = max_active
        self.pending_acquisitions = 0
        self.has_backlog = False
        self.slot_freed = asyncio.Event()
        self._stalled_commits = 0
        """Actors whose lease expired while they wait for a commit: the store fails."""
        self._paused: set[MailboxLease] = set()
        """Leases whose reply waits for a retry: the Bot API fails."""

    @property
    def paused_actors(self) -> int:
        """The number of actors that wait to repeat a Bot API call."""
        return len(self._paused)

    @property
    def free_slots(self) -> int:
        """The number of actors that may start.

        It is below 0 if actors continued after a pause while no slot was free: a pause
        frees the slot of an actor, and its end does not wait for another one.
        """
        # Paused actors take no slots, so that a Bot API that fails for some chats does
        # not slow down others. The limit keeps one that fails for all from filling the
        # memory.
        taking_no_slot = self._stalled_commits + min(
            len(self._paused), self._max_active
        )
        taken = len(self._running) - taking_no_slot + self.pending_acquisitions
        return self._max_active - taken

    def add_to_backlog(self) -> None:
        """Record that a mailbox waits for a slot. Wake the scheduler if one is free."""
        self.has_backlog = True
        if self.free_slots > 0:
            self.slot_freed.set()

    def recount_stalled_commits(self) -> None:
        """Count the actors whose lease expired while they wait for a commit.

        They take no slot until the next count: it is the store that delays them.
        """
        now = self._clock.uptime()
        self._stalled_commits = sum(
            lease.is_committing and lease.expires_at <= now for lease in self._running
        )

    def should_make_way(self, handled: int) -> bool:
        """Return whether an actor has to release its mailbox for one that is waiting.

        The caller checks whether any mailbox is waiting.

        Args:
            handled: the number of updates and deliveries that the actor has processed.
        """
        return handled >= MAX_CONSECUTIVE_UPDATES or self.free_slots < 0

    @contextlib.contextmanager
    def pause(self, lease: MailboxLease) -> Iterator[None]:
        """Count the actor with this lease as taking no slot inside the `with` block.

        This is for an actor that waits before it repeats a Bot API call. Another actor
        may use its slot; at the end of the block it continues nevertheless.
        """
        self._paused.add(lease)
        if self.has_backlog and self.free_slots > 0:
            self.slot_freed.set()
        try:
            yield
        finally:
            self._paused.discard(lease)
