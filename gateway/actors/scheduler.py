"""Starts, schedules and drains actors.

Concurrency: one task per leased mailbox, limited by `admission.py`; one task that
renews leases (see `leases.py`); and one that scans for claimable mailboxes. All run in
one event loop, and end in `drain`.

- The updates of a mailbox are processed in order, because a mailbox has at most one
  valid lease. Mailboxes are processed in parallel, in no order.
- An actor's task is started by the code that acquired the lease, without an await in
  between, so that a cancelled request cannot orphan a lease.
- Tasks are stored by lease and not by ordering key, because a mailbox's old actor may
  still be running when its next lease begins. A done callback removes the task, because
  a task cancelled before it starts never reaches its own `finally`.
- The actor handles errors that occur while it processes an update. An error outside,
  such as one of the store, ends the actor. Its lease expires; a later scan finds the
  mailbox, and a new actor continues from the last commit.
- Only `drain` or the loss of its lease cancels an actor.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from functools import partial
from typing import Any, Protocol

import anyio

from gateway.actors.admission import AdmissionControl
from gateway.actors.leases import ActorLease, LeaseRenewer
from gateway.actors.replies.reply_sender import LARGE_REPLY_BYTES
from gateway.actors.suspect_steps import SuspectStepLimiter
from gateway.background import (
    FIRST_DELAY_SECONDS,
    BackgroundTask,
    BackgroundTasks,
    cancel_and_wait,
)
from gateway.domain.broadcast import EnterResult
from gateway.domain.delivery import Delivery
from gateway.domain.delivery_store import DeliveryPutResult, DeliveryStore
from gateway.domain.errors import LeaseLost
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import Clock, MailboxStore, PutResult
from gateway.domain.update import Envelope, StoppedReply
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

SCAN_SECONDS = 0.5
"""The interval between scans, with jitter so that workers scan at different times."""

MAX_DUE_DELIVERIES = 100
"""How many deliveries whose time has come a scan puts into their mailboxes at most."""

DRAIN_SCAN_SECONDS = 0.05
"""The interval between scans while this worker drains and no actor is running."""


MAX_UNSERVED_BOTS = 1000
"""The maximum number of bots of other gateways that scans skip. With more, the list is
emptied, and the next scans find them again."""


class MailboxServer(Protocol):
    """Processes the updates and deliveries of mailboxes, such as a `UserActor`."""

    def serve_mailbox(
        self, lease: ActorLease, should_release: Callable[[int], bool]
    ) -> Coroutine[Any, Any, None]:
        """Process the mail of a mailbox until it is empty or has to be released.

        See `UserActor.serve_mailbox`.
        """


class EnterRecipient(Protocol):
    """Puts the delivery for a recipient of a broadcast into its mailbox."""

    async def __call__(
        self, delivery: Delivery, *, acquire: bool
    ) -> MailboxLease | EnterResult:
        """Put it there, and acquire the mailbox if it is free and `acquire` is True.

        See `BroadcastStore.enter_recipient`.
        """


class RefusedUpdates(Protocol):
    """Handles updates that a full mailbox refused, such as a `FullMailboxNotifier`."""

    def report_refused(self, envelope: Envelope) -> None:
        """Count an update that was refused because its mailbox is full.

        Must not wait: if it notifies the user, it does so in a task of its own.
        """

    async def close(self) -> None:
        """Cancel the notices that are being sent."""


class State(Enum):
    """The state of the scheduler. It only moves forward."""

    RUNNING = auto()
    """Actors start as long as there are slots."""
    DRAINING = auto()
    """Running actors finish. Scans start new ones only for updates that would be lost
    with this process: those in its memory."""
    CLOSED = auto()
    """No actor starts."""


class ActorScheduler:
    """Runs all actors of this process.

    Args:
        mailboxes: the mailbox store, which other gateways may use too.
        deliveries: the deliveries in these mailboxes.
        actor: processes the updates and deliveries of mailboxes.
        full_mailbox_notifier: is told which updates were refused.
        publish_cancellation: tells all workers that a user stopped a reply: called with
            the ordering key and the id of the draft.
        clock: the time.
        max_active: the maximum number of running actors.
        background: runs the background tasks.
        is_served: returns whether this process serves the mailbox with an ordering key.
            The scheduler starts no actors for other mailboxes.
    """

    def __init__(  # noqa: PLR0913 - most by name
        self,
        mailboxes: MailboxStore,
        deliveries: DeliveryStore,
        actor: MailboxServer,
        full_mailbox_notifier: RefusedUpdates,
        *,
        publish_cancellation: Callable[[str, int], None],
        clock: Clock,
        max_active: int,
        background: BackgroundTasks,
        is_served: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._is_served = is_served
        self._unserved_bots: set[str] = set()
        """Bots with mailboxes that this process does not serve, as scans found them."""
        self._mailboxes = mailboxes
        self._deliveries = deliveries
        self._actor = actor
        self._full_mailbox_notifier = full_mailbox_notifier
        self._publish_cancellation = publish_cancellation
        self._clock = clock
        self._background = background
        self._state = State.RUNNING
        self._actor_tasks: dict[MailboxLease, asyncio.Task[None]] = {}
        self._admission = AdmissionControl(self._actor_tasks, clock, max_active)
        self._renewer = LeaseRenewer(mailboxes, clock, self._actor_tasks)
        self._step_limiter = SuspectStepLimiter(mailboxes)
        self._loop_tasks: list[BackgroundTask] = []

    @property
    def active_actors(self) -> int:
        """The number of running actors."""
        return len(self._actor_tasks)

    @property
    def waiting_replies(self) -> int:
        """The number of actors that wait to repeat a Bot API call."""
        return self._admission.paused_actors

    def start(self) -> None:
        """Start renewing leases and scanning for mailboxes."""
        self._loop_tasks = [
            self._background.start(
                "renew leases", self._renewer.run, max_delay=FIRST_DELAY_SECONDS
            ),
            self._background.start(
                "scan mailboxes", self._scan_forever, max_delay=FIRST_DELAY_SECONDS
            ),
        ]

    async def enqueue(self, envelope: Envelope, *, acquire: bool = True) -> None:
        """Store an update in its mailbox and start an actor if possible.

        If the mailbox is full, refuse the update and notify its user. If the update
        stops a streamed reply, tell all workers.

        Args:
            envelope: the update.
            acquire: True to start an actor for it, now or after a scan; False to only
                store the update, for example of a paused bot.

        Raises:
            StoreUnavailable: the store does not answer or is full; the update may not
                be stored.
        """
        update = envelope.update
        if isinstance(update, StoppedReply):
            # The cancellation must not wait in the mailbox behind the update it stops.
            self._publish_cancellation(envelope.ordering_key, update.draft_id)
        enforce_limit = update is None or not update.bypasses_limits
        admission = self._admission
        may_start = (
            acquire and self._state is State.RUNNING and not admission.has_backlog
        )
        if may_start and admission.free_slots > 0:
            admission.pending_acquisitions += 1
            try:
                result = await self._mailboxes.put(
                    envelope, enforce_limit=enforce_limit
                )
                if isinstance(result, MailboxLease):
                    self._start_actor(result)
            finally:
                admission.pending_acquisitions -= 1
        else:
            result = await self._mailboxes.put(
                envelope, acquire=False, enforce_limit=enforce_limit
            )
            if acquire:
                admission.add_to_backlog()
        if result is PutResult.FULL:
            self._full_mailbox_notifier.report_refused(envelope)

    async def enqueue_delivery(self, delivery: Delivery) -> DeliveryPutResult:
        """Store a delivery in its mailbox and start an actor if possible.

        Returns:
            Where the delivery is, or why it was not stored.

        Raises:
            IdempotencyKeyReused: the key was used with another request.
            StoreUnavailable: the store does not answer or is full.
        """
        admission = self._admission
        is_served = self._is_served(delivery.ordering_key)
        may_start = (
            is_served and self._state is State.RUNNING and not admission.has_backlog
        )
        if not may_start or admission.free_slots <= 0:
            result = await self._deliveries.put_delivery(delivery, acquire=False)
            if is_served:
                admission.add_to_backlog()
        else:
            admission.pending_acquisitions += 1
            try:
                # A large delivery is not begun before it is rendered in a thread.
                is_small = len(delivery.request) <= LARGE_REPLY_BYTES
                result = await self._deliveries.put_delivery(delivery, begins=is_small)
                if isinstance(result, MailboxLease):
                    self._start_actor(result)
            finally:
                admission.pending_acquisitions -= 1
        if isinstance(result, MailboxLease):
            return DeliveryPutResult.STORED
        return result

    async def enter_recipient(
        self, delivery: Delivery, enter: EnterRecipient
    ) -> EnterResult:
        """Put the delivery for a recipient of a broadcast into its mailbox.

        An actor of this process starts at once if possible. A scan would start the
        actors of several such mailboxes at the same time, and exceed Telegram's limit.

        Args:
            delivery: the delivery.
            enter: puts it there, see `BroadcastStore.enter_recipient`.

        Returns:
            Whether the delivery entered the mailbox, or why it did not.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        admission = self._admission
        acquire = (
            self._state is State.RUNNING
            and self._is_served(delivery.ordering_key)
            and not admission.has_backlog
            and admission.free_slots > 0
        )
        admission.pending_acquisitions += acquire
        try:
            result = await enter(delivery, acquire=acquire)
            if isinstance(result, MailboxLease):
                self._start_actor(result)
                return EnterResult.ENTERED
            return result
        finally:
            admission.pending_acquisitions -= acquire

    async def drain(self, max_seconds: float) -> int:
        """Finish the running work, and cancel the actors that do not finish in time.

        Leases in a durable store are released after the current update, or at the end
        of the time limit. Updates in this process's memory would be lost with it, so
        all of them are processed.

        Args:
            max_seconds: the time limit in seconds.

        Returns:
            The number of actors that were cancelled.
        """
        self._state = State.DRAINING
        with anyio.move_on_after(max_seconds) as time_limit:
            await self._finish_work()
        if time_limit.cancelled_caught:
            logger.warning(
                "drain_timed_out", extra={"active_actors": self.active_actors}
            )
        # Nothing may start from now on: each actor that ends triggers a scan.
        self._state = State.CLOSED
        await cancel_and_wait(*self._loop_tasks)
        unfinished = list(self._actor_tasks.items())
        await cancel_and_wait(*(task for _, task in unfinished))
        await self._full_mailbox_notifier.close()
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

    def _leaves_work_to_others(self) -> bool:
        """Return whether other workers take the updates that are waiting."""
        return self._state is not State.RUNNING and not self._mailboxes.in_memory

    def _should_release(self, handled: int) -> bool:
        """Return whether to release a lease after this number of updates."""
        if self._state is State.RUNNING:
            admission = self._admission
            return admission.has_backlog and admission.should_make_way(handled)
        return self._leaves_work_to_others()

    def _start_actor(self, lease: MailboxLease) -> None:
        actor_lease = ActorLease(
            lease, self._clock, self._renewer, self._step_limiter, self._admission
        )
        task = asyncio.create_task(
            self._actor.serve_mailbox(actor_lease, self._should_release),
            name=lease.ordering_key,
        )
        self._actor_tasks[lease] = task
        task.add_done_callback(partial(self._remove_actor, lease))

    def _remove_actor(self, lease: MailboxLease, task: asyncio.Task[None]) -> None:
        """Free the slot of an actor that has ended, and log its error."""
        del self._actor_tasks[lease]
        if lease.owner_losses:  # it may be suspected
            self._step_limiter.remove(lease)
        if self._admission.has_backlog:
            self._admission.slot_freed.set()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LeaseLost):
            logger.warning("lease_lost", extra={"ordering_key": lease.ordering_key})
        elif error is not None:  # after a scan an actor continues
            logger.error(
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
                    await self._admission.slot_freed.wait()
            self._admission.slot_freed.clear()
            if not self._leaves_work_to_others():
                await self._scan_mailboxes()

    async def _scan_mailboxes(self) -> None:
        """Acquire claimable mailboxes, longest waiting first, while there are slots."""
        # After a pause of the process, it would otherwise acquire the mailboxes of its
        # own actors, whose leases have expired.
        await self._renewer.renew_expired()
        await self._deliveries.enter_due_deliveries(MAX_DUE_DELIVERIES)
        self._admission.recount_stalled_commits()
        free_slots = max(self._admission.free_slots, 0)
        # Mailboxes of others must not hide those that this process serves.
        self._unserved_bots = {
            it for it in self._unserved_bots if not self._is_served(f"{it}/")
        }
        found = await self._mailboxes.claimable(free_slots + 1, self._unserved_bots)
        ordering_keys = [it for it in found if self._is_served(it)]
        if len(ordering_keys) < len(found):
            others = {*found} - {*ordering_keys}
            self._unserved_bots |= {it.partition("/")[0] for it in others}
            if len(self._unserved_bots) > MAX_UNSERVED_BOTS:
                self._unserved_bots.clear()
        self._admission.has_backlog = len(ordering_keys) > free_slots
        await asyncio.gather(
            *(
                self._acquire(ordering_key)
                for ordering_key in ordering_keys[:free_slots]
            )
        )

    async def _acquire(self, ordering_key: str) -> None:
        """Acquire a mailbox and start its actor, if it is still claimable."""
        if self._state is State.CLOSED or self._admission.free_slots <= 0:
            return
        self._admission.pending_acquisitions += 1
        try:
            lease = await self._mailboxes.acquire(ordering_key)
        finally:
            self._admission.pending_acquisitions -= 1
        if lease is not None:
            self._start_actor(lease)
