"""Suspected updates take their steps in small groups, and the store notes each step.

A step is what the gateway itself does with an update: reading and routing it, and
making messages of the answer. While an update waits for its service or for the Bot API
it takes no step, so hundreds of suspects may wait at the same time.

Concurrency: called by the actors of suspected updates, in one event loop. Whoever asked
first begins first. Nothing is awaited while the group changes. An actor that ends, for
whatever reason, is removed by `remove`.
"""

import asyncio
from collections import deque

from gateway.domain.ports import MailboxLease, MailboxStore

MAX_CONCURRENT_SUSPECTS = 16
"""So many suspects take a step at the same time in a worker. If it ends then, each of
them has seen a crash, and takes its further steps alone."""


class SuspectStepLimiter:
    """Who may take a step now."""

    def __init__(self, mailboxes: MailboxStore) -> None:
        self._mailboxes = mailboxes
        self._queue: deque[tuple[MailboxLease, asyncio.Future[None]]] = deque()
        self._running: set[MailboxLease] = set()

    async def begin_step(self, lease: MailboxLease) -> None:
        """Wait until a suspected update may take a step, and note that it begins."""
        if lease in self._running:
            return
        permission = asyncio.get_running_loop().create_future()
        self._queue.append((lease, permission))
        self._start_waiting_steps()
        await permission
        await self._mailboxes.record_step(lease, running=True)

    async def end_step(self, lease: MailboxLease) -> None:
        """Note that the step ended, if there is one, and let others take theirs."""
        if lease in self._running:
            await self._mailboxes.record_step(lease, running=False)
            self.remove(lease)

    def remove(self, lease: MailboxLease) -> None:
        """Let others take their steps: this update takes none any more."""
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
        """Tell whether an update may take a step beside those that do so now."""
        if not self._running:
            return True
        must_run_alone = lease.owner_crashes or any(
            other.owner_crashes for other in self._running
        )
        return not must_run_alone and len(self._running) < MAX_CONCURRENT_SUSPECTS
