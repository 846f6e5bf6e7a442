"""Keeps the leases of running actors alive.

Concurrency: one task, `run`, started and cancelled by the scheduler. Actors wait
in `ensure_valid` for its next round. It cancels actors whose lease was lost.
"""

import asyncio
import logging
from collections.abc import Mapping

from gateway.domain.ports import LEASE_SECONDS, Clock, MailboxLease, MailboxStore

logger = logging.getLogger(__name__)

RENEW_INTERVAL_SECONDS = 1.0
"""Leases older than this are renewed, this often: twice in vain is survived."""


class LeaseRenewer:
    """Renews the leases of those claims that have a task."""

    def __init__(
        self,
        mailboxes: MailboxStore,
        clock: Clock,
        actor_tasks: Mapping[MailboxLease, asyncio.Task[None]],
    ) -> None:
        self._mailboxes = mailboxes
        self._clock = clock
        self._actor_tasks = actor_tasks
        self._renewed = asyncio.Event()

    async def run(self) -> None:
        """Renew for ever."""
        while True:
            await asyncio.sleep(RENEW_INTERVAL_SECONDS)
            await self._renew_expiring_by(
                self._clock.uptime() + LEASE_SECONDS - RENEW_INTERVAL_SECONDS
            )

    async def renew_expired(self) -> None:
        """Renew at once the leases that have run out already, if there are any."""
        await self._renew_expiring_by(self._clock.uptime())

    def lasts(self, lease: MailboxLease) -> bool:
        """Tell whether the claim's lease has not run out."""
        return self._clock.uptime() < lease.expires_at

    async def ensure_valid(self, lease: MailboxLease) -> None:
        """Return when the claim's lease lasts: at once unless it has run out."""
        while not self.lasts(lease):
            await self._renewed.wait()

    async def _renew_expiring_by(self, deadline: float) -> None:
        """Renew the leases that end by then."""
        due = [lease for lease in self._actor_tasks if lease.expires_at <= deadline]
        lost = await self._mailboxes.renew(due) if due else ()
        for lease in lost:
            task = self._actor_tasks.get(lease)
            # A commit that frees the lane may be what the renewal came after.
            if task is not None and not task.done() and not lease.is_committing:
                logger.warning("claim lost", extra={"lane": lease.ordering_key})
                task.cancel()
        self._renewed.set()
        self._renewed.clear()
