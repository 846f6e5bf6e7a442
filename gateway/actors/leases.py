"""Keeps the leases of running actors alive.

Concurrency: one task, `run`, started and cancelled by the scheduler. Actors wait
in `ensure_valid` for the next renewal. The task cancels actors whose lease was lost.
"""

import asyncio
import logging
from collections.abc import Mapping

from gateway.domain.ports import LEASE_SECONDS, Clock, MailboxLease, MailboxStore

logger = logging.getLogger(__name__)

RENEW_INTERVAL_SECONDS = 1.0
"""The interval between renewals, and the age from which a lease is renewed. A lease
survives two failed renewals."""


class LeaseRenewer:
    """Renews the leases that have an actor."""

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
        """Renew leases until cancelled."""
        while True:
            await asyncio.sleep(RENEW_INTERVAL_SECONDS)
            await self._renew_expiring_by(
                self._clock.uptime() + LEASE_SECONDS - RENEW_INTERVAL_SECONDS
            )

    async def renew_expired(self) -> None:
        """Renew the leases that have expired already."""
        await self._renew_expiring_by(self._clock.uptime())

    def lasts(self, lease: MailboxLease) -> bool:
        """Return whether the lease has not expired."""
        return self._clock.uptime() < lease.expires_at

    async def ensure_valid(self, lease: MailboxLease) -> None:
        """Return when the lease is valid: at once unless it has expired."""
        while not self.lasts(lease):
            await self._renewed.wait()

    async def _renew_expiring_by(self, deadline: float) -> None:
        """Renew the leases that expire by the deadline."""
        due = [lease for lease in self._actor_tasks if lease.expires_at <= deadline]
        lost = await self._mailboxes.renew(due) if due else ()
        for lease in lost:
            task = self._actor_tasks.get(lease)
            # The renewal may have failed because a commit has released the lease.
            if task is not None and not task.done() and not lease.is_committing:
                logger.warning("lease_lost", extra={"ordering_key": lease.ordering_key})
                task.cancel()
        self._renewed.set()
        self._renewed.clear()
