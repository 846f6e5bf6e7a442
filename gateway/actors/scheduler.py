"""Starts, limits and drains actors.

Concurrency: one task per leased mailbox, at most `max_active` of them, and the same
number again whose replies wait for a retry; one task that renews leases (see
`leases.py`); and one that scans for claimable mailboxes. All run in one event loop.

- The updates of a mailbox are processed in order, because a mailbox has at most one
  valid lease. Mailboxes are processed in parallel, in no order.
- An actor's task is started by the code that acquired the lease, without an await in
  between, so that a cancelled request cannot orphan a lease.
- Tasks are stored by lease and not by ordering key, because the old lease of a mailbox
  may end after the next one began. A done callback removes a task: a task that is
  cancelled before it starts runs no code of its own.
- The actor handles errors while it processes an update. An error outside, such as one
  of the store, ends the actor. Its lease expires, and after a scan an actor continues
  after the last commit.
- Actors are only cancelled by `drain` and by the loss of their lease.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from gateway.actors.leases import LeaseRenewer
from gateway.actors.poison import SuspectStepLimiter
from gateway.actors.replies.overflow import OverflowNotifier
from gateway.actors.user_actor import UserActor
from gateway.background import FIRST_DELAY_SECONDS, BackgroundTasks
from gateway.domain.errors import LeaseLost
from gateway.domain.ports import Clock, MailboxLease, MailboxStore, PutResult
from gateway.domain.update import Envelope
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

SCAN_SECONDS = 0.5
"""The interval between scans, with jitter so that workers scan at different times."""

DRAIN_SCAN_SECONDS = 0.05
"""The interval while this worker drains and no actor is running."""

MAX_CONSECUTIVE_UPDATES = 16
"""After this number of updates a lease is released if other mailboxes are waiting."""


class ActorScheduler:
    """Runs all actors of this process."""

    def __init__(
        self,
        mailboxes: MailboxStore,
        actor: UserActor,
        overflow_notifier: OverflowNotifier,
        *,
        publish_cancellation: Callable[[str, int], None],
        clock: Clock,
        max_active: int,
        background: BackgroundTasks | None = None,
    ) -> None:
        self._mailboxes = mailboxes
        self._actor = actor
        self._overflow_notifier = overflow_notifier
        self._publish_cancellation = publish_cancellation
        self._max_active = max_active
        self._background = background or BackgroundTasks()
        self._actor_tasks: dict[MailboxLease, asyncio.Task[None]] = {}
        self._clock = clock
        self._renewer = LeaseRenewer(mailboxes, clock, self._actor_tasks)
        self._step_limiter = SuspectStepLimiter(mailboxes)
        self._pending_acquisitions = 0
        """Requests that may acquire a lease; they count against the limit of actors."""
        self._stalled_commits = 0
        """Actors whose lease expired while they wait for a commit: the store fails."""
        self._paused_leases: set[MailboxLease] = set()
        """Leases whose reply waits for a retry: the Bot API fails."""
        self._has_backlog = False
        """Whether mailboxes are waiting, which new ones must not overtake."""
        self._is_draining = False
        self._is_closed = False
        self._slot_freed = asyncio.Event()
        self._loop_tasks: list[asyncio.Task[None]] = []

    @property
    def active_actors(self) -> int:
        """The number of running actors."""
        return len(self._actor_tasks)

    @property
    def waiting_replies(self) -> int:
        """The number of replies that wait for a retry."""
        return len(self._paused_leases)

    def start(self) -> None:
        """Start to renew leases and to scan for mailboxes."""
        self._loop_tasks = [
            self._background.start(
                "renew leases", self._renewer.run, max_delay=FIRST_DELAY_SECONDS
            ),
            self._background.start(
                "scan mailboxes", self._scan_forever, max_delay=FIRST_DELAY_SECONDS
            ),
        ]

    async def enqueue(self, envelope: Envelope) -> None:
        """Put an update into its mailbox, and return when it is stored safely."""
        update = envelope.update
        if update is not None and update.stopped_draft_id:
            # The cancellation must not wait in the mailbox behind the update it stops.
            self._publish_cancellation(envelope.ordering_key, update.stopped_draft_id)
        enforce_limit = update is None or not update.bypasses_limits
        if self._can_acquire():
            self._pending_acquisitions += 1
            try:
                result = await self._mailboxes.put(
                    envelope, enforce_limit=enforce_limit
                )
                if isinstance(result, MailboxLease):
                    self._start_actor(result)
            finally:
                self._pending_acquisitions -= 1
        else:
            result = await self._mailboxes.put(
                envelope, acquire=False, enforce_limit=enforce_limit
            )
            self._has_backlog = True
            if self._count_free_slots() > 0:
                self._slot_freed.set()
        if result is PutResult.FULL:
            self._overflow_notifier.report_refused(envelope)

    async def drain(self, max_seconds: float) -> int:
        """Finish the work, and cancel the actors that do not finish in time.

        Leases in a durable store are released after the current update, or at the end
        of the time limit. Updates in this process's memory would be lost with it, so
        all of them are processed.

        Args:
            max_seconds: the time limit in seconds.

        Returns:
            The number of actors that were cancelled.
        """
        self._is_draining = True
        try:
            async with asyncio.timeout(max_seconds):
                await self._finish_work()
        except TimeoutError:
            logger.warning(
                "drain_timed_out", extra={"active_actors": self.active_actors}
            )
        # Nothing may start from now on: each actor that ends triggers a scan.
        self._is_closed = True
        await _cancel_and_wait(self._loop_tasks)
        unfinished = list(self._actor_tasks.items())
        await _cancel_and_wait([task for _, task in unfinished])
        await self._overflow_notifier.close()
        await asyncio.gather(
            *(self._mailboxes.release(lease) for lease, _ in unfinished)
        )
        return len(unfinished)

    async def _finish_work(self) -> None:
        while self._actor_tasks or self._mailboxes.in_memory:
            if self._actor_tasks:
                await asyncio.wait(self._actor_tasks.values())
            else:
                await self._scan_mailboxes()
                if not self._actor_tasks:  # failback may be moving the updates
                    await asyncio.sleep(DRAIN_SCAN_SECONDS)

    def _hands_over_work(self) -> bool:
        """Return whether this worker leaves waiting updates to other workers."""
        return self._is_draining and not self._mailboxes.in_memory

    def _count_free_slots(self) -> int:
        # Paused actors take no slots, so that a Bot API that fails for some chats does
        # not slow down others. The limit keeps one that fails for all from filling the
        # memory.
        paused = min(len(self._paused_leases), self._max_active)
        taken = (
            len(self._actor_tasks)
            - self._stalled_commits
            - paused
            + self._pending_acquisitions
        )
        return self._max_active - taken

    def _can_acquire(self) -> bool:
        if self._is_closed or self._hands_over_work():
            return False
        return not self._has_backlog and self._count_free_slots() > 0

    def _start_actor(self, lease: MailboxLease) -> None:
        task = asyncio.create_task(self._run_actor(lease), name=lease.ordering_key)
        self._actor_tasks[lease] = task
        task.add_done_callback(partial(self._remove_actor, lease))

    def _remove_actor(self, lease: MailboxLease, _: asyncio.Task[None]) -> None:
        del self._actor_tasks[lease]
        self._step_limiter.remove(lease)
        if self._has_backlog:
            self._slot_freed.set()

    async def await_pause(self, lease: MailboxLease, pause: Awaitable[None]) -> None:
        """Await the pause before a retry. See `ActorLease.await_pause`."""
        self._paused_leases.add(lease)
        if self._has_backlog and self._count_free_slots() > 0:
            self._slot_freed.set()
        try:
            await pause
        finally:
            self._paused_leases.discard(lease)

    async def _run_actor(self, lease: MailboxLease) -> None:
        try:
            actor_lease = _RenewedLease(lease, self._renewer, self._step_limiter, self)
            await self._actor.serve_mailbox(actor_lease)
        except LeaseLost:
            logger.warning("lease_lost", extra={"ordering_key": lease.ordering_key})
        except Exception as error:  # noqa: BLE001 - after a scan an actor continues
            logger.error(  # noqa: TRY400 - a traceback's last line may quote the user
                "actor_failed",
                extra={
                    "ordering_key": lease.ordering_key,
                    "error": summarize_error(error),
                },
            )

    async def _scan_forever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SCAN_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter
                    await self._slot_freed.wait()
            self._slot_freed.clear()
            if self._hands_over_work():
                continue
            await self._scan_mailboxes()

    async def _scan_mailboxes(self) -> None:
        """Acquire claimable mailboxes, longest waiting first, while there are slots."""
        # After a pause of the process, it would otherwise acquire the mailboxes of its
        # own actors, whose leases have expired.
        await self._renewer.renew_expired()
        now = self._clock.uptime()
        self._stalled_commits = sum(
            lease.is_committing and lease.expires_at <= now
            for lease in self._actor_tasks
        )
        free_slots = max(self._count_free_slots(), 0)
        ordering_keys = await self._mailboxes.claimable(free_slots + 1)
        self._has_backlog = len(ordering_keys) > free_slots
        await asyncio.gather(
            *(
                self._acquire(ordering_key)
                for ordering_key in ordering_keys[:free_slots]
            )
        )

    async def _acquire(self, ordering_key: str) -> None:
        """Acquire a mailbox and start its actor, if it is still claimable."""
        if self._is_closed or self._count_free_slots() <= 0:
            return
        self._pending_acquisitions += 1
        try:
            lease = await self._mailboxes.acquire(ordering_key)
        finally:
            self._pending_acquisitions -= 1
        if lease is not None:
            self._start_actor(lease)

    def should_release(self, handled: int) -> bool:
        """Return whether to release a lease after this number of updates."""
        if self._is_draining:
            return self._hands_over_work()
        # The number is below 0 when paused actors continue: others have to make way.
        return self._has_backlog and (
            handled >= MAX_CONSECUTIVE_UPDATES or self._count_free_slots() < 0
        )


async def _cancel_and_wait(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _RenewedLease:
    """The lease of an actor of this scheduler."""

    __slots__ = ("_renewer", "_scheduler", "_step_limiter", "mailbox_lease")

    def __init__(
        self,
        lease: MailboxLease,
        renewer: LeaseRenewer,
        step_limiter: SuspectStepLimiter,
        scheduler: ActorScheduler,
    ) -> None:
        self.mailbox_lease = lease
        self._renewer = renewer
        self._step_limiter = step_limiter
        self._scheduler = scheduler

    async def ensure_valid(self) -> None:
        if self.mailbox_lease.is_suspected:
            await self._step_limiter.end_step(self.mailbox_lease)
        if not self._renewer.lasts(self.mailbox_lease):
            await self._renewer.ensure_valid(self.mailbox_lease)

    async def await_pause(self, pause: Awaitable[None]) -> None:
        await self._scheduler.await_pause(self.mailbox_lease, pause)
        await self.ensure_valid()

    async def begin_step(self) -> None:
        await self._step_limiter.begin_step(self.mailbox_lease)

    async def end_step(self) -> None:
        await self._step_limiter.end_step(self.mailbox_lease)

    def should_release(self, handled: int) -> bool:
        return self._scheduler.should_release(handled)
