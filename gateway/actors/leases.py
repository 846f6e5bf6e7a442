"""The leases that actors work under, and what keeps them alive.

Concurrency: one task, `LeaseRenewer.run`, started and cancelled by the scheduler. It
renews the leases of all actors, and cancels the actors whose lease was lost. After a
failure it is restarted at once. Actors wait in `ActorLease.ensure_valid` for the next
renewal. A lease may also turn out to be lost at a commit; then the actor ends with
`LeaseLost`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping

from gateway.actors.admission import AdmissionControl
from gateway.actors.suspect_steps import SuspectStepLimiter
from gateway.domain.mailbox_lease import LEASE_SECONDS, MailboxLease
from gateway.domain.poison import MAX_UNSUSPECTED_LOSSES
from gateway.domain.ports import Clock, MailboxStore

logger = logging.getLogger(__name__)

RENEW_INTERVAL_SECONDS = 1.0
"""The interval between renewals, and the age from which a lease is renewed. A lease
survives two failed renewals."""


class LeaseRenewer:
    """Renews the leases of running actors, and cancels the actors that lost theirs.

    Args:
        mailboxes: the store that granted the leases.
        clock: the time by which leases expire.
        actor_tasks: the running actors; the scheduler adds and removes them.
    """

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
        """Renew, once a second, the leases that were last renewed a second ago or more.

        It ends only by being cancelled.
        """
        while True:
            await asyncio.sleep(RENEW_INTERVAL_SECONDS)
            await self._renew_expiring_by(
                self._clock.uptime() + LEASE_SECONDS - RENEW_INTERVAL_SECONDS
            )

    async def renew_expired(self) -> None:
        """Renew the leases that have expired, and cancel the actors that lost theirs.

        After a pause of the process, this shows which of its leases are still its own.
        """
        await self._renew_expiring_by(self._clock.uptime())

    async def wait_for_renewal(self) -> None:
        """Wait until the store has answered the next renewal."""
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


class ActorLease:
    """The lease of a running actor, which a background task renews.

    Attributes:
        mailbox_lease: the lease as granted by the store.
        is_suspected: whether the present update is a suspect: owners of the mailbox
            were lost while they processed it, so it may crash this worker too.
    """

    __slots__ = (
        "_admission",
        "_clock",
        "_renewer",
        "_step_limiter",
        "is_suspected",
        "mailbox_lease",
    )

    def __init__(
        self,
        mailbox_lease: MailboxLease,
        clock: Clock,
        renewer: LeaseRenewer,
        step_limiter: SuspectStepLimiter,
        admission: AdmissionControl,
    ) -> None:
        self.mailbox_lease = mailbox_lease
        self.is_suspected = mailbox_lease.owner_losses > MAX_UNSUSPECTED_LOSSES
        self._clock = clock
        self._renewer = renewer
        self._step_limiter = step_limiter
        self._admission = admission

    async def ensure_valid(self) -> None:
        """Wait until the lease is known to be valid, which it usually is already.

        Await this before every call that another worker must not make at the same time.
        If the lease has expired, it waits until the store has renewed it, or until this
        actor is cancelled because the lease was lost. If the update is a suspect, this
        also ends its current step.
        """
        if self.is_suspected:
            await self._step_limiter.end_step(self.mailbox_lease)
        while self._clock.uptime() >= self.mailbox_lease.expires_at:
            await self._renewer.wait_for_renewal()

    async def await_pause(self, pause: Awaitable[None]) -> None:
        """Await the pause before a retry, then wait as `ensure_valid` does.

        The actor does not count against the limit of active actors meanwhile.

        Args:
            pause: what to await, such as a sleep.
        """
        with self._admission.pause(self.mailbox_lease):
            await pause
        await self.ensure_valid()

    async def begin_step(self) -> None:
        """Wait until a step of a suspected update may start, and record the start.

        A suspected update may crash its worker, so the number of steps that run at the
        same time is limited: see `SuspectStepLimiter`.
        """
        await self._step_limiter.begin_step(self.mailbox_lease)

    async def end_step(self) -> None:
        """Record the end of the running step of a suspected update, if there is one."""
        await self._step_limiter.end_step(self.mailbox_lease)

    def clear_suspicion(self) -> None:
        """Set the counts of lost owners to 0, because the update was committed.

        The next update of the mailbox is not suspected.
        """
        self.mailbox_lease.owner_losses = self.mailbox_lease.owner_crashes = 0
        self.is_suspected = False
