"""Limits how many suspected updates take a step at the same time.

`domain/poison.py` decides which updates are suspected, and which one is poison.

A step is processing by the gateway itself: parsing and routing an update, and rendering
the reply. While an update waits for its service or for the Bot API it takes no step, so
hundreds of suspects may wait at the same time. The store records each step.

Concurrency: called by the actors of suspected updates, in one event loop. The steps
start in the order in which they were asked for. Nothing is awaited while the set of
running steps changes. When an actor ends, for any reason, `remove` has to be called.
"""

import asyncio
from collections import deque

from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import MailboxStore

MAX_CONCURRENT_SUSPECTS = 16
"""The maximum number of suspects that take a step at the same time in a worker. If the
worker ends meanwhile, each of them counts a crash and takes further steps alone."""


class SuspectStepLimiter:
    """Decides when a suspected update may be parsed, routed or rendered: its steps.

    Args:
        mailboxes: records when a step begins and ends, so that a crash of this worker
            is counted against the updates whose steps were running.
    """

    def __init__(self, mailboxes: MailboxStore) -> None:
        self._mailboxes = mailboxes
        self._queue: deque[tuple[MailboxLease, asyncio.Future[None]]] = deque()
        self._running: set[MailboxLease] = set()

    async def begin_step(self, lease: MailboxLease) -> None:
        """Wait until a step of a suspected update may start, and record the start.

        Returns at once if a step of it is running already.

        Args:
            lease: the lease of the mailbox with the update at its head.
        """
        if lease in self._running:
            return
        permission = asyncio.get_running_loop().create_future()
        self._queue.append((lease, permission))
        self._start_waiting_steps()
        await permission
        await self._mailboxes.record_step(lease, running=True)

    async def end_step(self, lease: MailboxLease) -> None:
        """Record the end of the running step, if any, so that the next may start."""
        if lease in self._running:
            await self._mailboxes.record_step(lease, running=False)
            self.remove(lease)

    def remove(self, lease: MailboxLease) -> None:
        """Let other steps start, because that of the update with this lease has ended.

        Nothing is recorded in the store. Has no effect if no step of it is running.
        """
        if lease in self._running:
            self._running.remove(lease)
            self._start_waiting_steps()

    def _start_waiting_steps(self) -> None:
        while self._queue:
            lease, permission = self._queue[0]
            if not permission.cancelled():
                if not self._can_start(lease):
                    return
                self._running.add(lease)
                permission.set_result(None)
            self._queue.popleft()

    def _can_start(self, lease: MailboxLease) -> bool:
        """Return whether a step may start while the present ones are running."""
        if not self._running:
            return True
        must_run_alone = lease.owner_crashes or any(
            other.owner_crashes for other in self._running
        )
        return not must_run_alone and len(self._running) < MAX_CONCURRENT_SUSPECTS
