"""Activates, bounds and drains actors.

Concurrency: one task per claimed lane, at most `max_active` of them, and as many again
whose reply waits to be sent once more; one task that renews leases (see `renewer.py`)
and one that sweeps for waiting lanes. All run in this event loop.

- Ordered: the updates of one lane, because a lane has at most one claim. Lanes run in
  parallel, in no order.
- A task is started in the code that got the claim, with no await in between: a
  cancelled request cannot orphan a claim.
- Tasks are kept by claim, not by lane, whose old claim may end after its next began.
  A callback of the task removes it: a task that is cancelled before its first step runs
  no code of its own.
- A fault inside a turn is the actor's. A fault outside (the store) ends the actor; its
  lease runs out and a sweep goes on from the last commit.
- `drain` ends it all; nothing else cancels an actor but the loss of its lease.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from gateway.actors.leases import Renewer
from gateway.actors.poison import Probation
from gateway.actors.replies.overflow import Refusals
from gateway.actors.user_actor import Actor
from gateway.background import FIRST_PAUSE, BackgroundTasks
from gateway.domain.errors import LeaseLost
from gateway.domain.ports import Clock, MailboxLease, MailboxStore, PutResult
from gateway.domain.update import Envelope
from gateway.logs import describe

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 0.5
"""How often waiting lanes are looked for; jittered, so that workers do not meet."""

DRAIN_SWEEP_SECONDS = 0.05
"""How often they are looked for while this worker ends and has nothing else to do."""

FAIR_TURNS = 16
"""After so many updates a lane goes back to the end of the queue, if there is one."""


class ActorSystem:
    """All actors of this process."""

    def __init__(
        self,
        mailboxes: MailboxStore,
        actor: Actor,
        refusals: Refusals,
        *,
        tell_stop: Callable[[str, int], None],
        clock: Clock,
        max_active: int,
        background: BackgroundTasks | None = None,
    ) -> None:
        self._mailboxes = mailboxes
        self._actor = actor
        self._refusals = refusals
        self._tell_stop = tell_stop
        self._max_active = max_active
        self._background = background or BackgroundTasks()
        self._running: dict[MailboxLease, asyncio.Task[None]] = {}
        self._clock = clock
        self._renewer = Renewer(mailboxes, clock, self._running)
        self._probation = Probation(mailboxes)
        self._asked = 0
        """Claims asked for and not answered yet: they count against the bound."""
        self._stuck = 0
        """Actors that wait for a commit beyond their lease: the store fails."""
        self._waiting: set[MailboxLease] = set()
        """Claims whose reply waits to be sent once more: the Bot API fails."""
        self._backlog = False
        """Lanes are known to wait: fresh ones must not overtake them."""
        self._draining = False
        self._closed = False
        self._place_free = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    @property
    def active(self) -> int:
        """How many actors run."""
        return len(self._running)

    @property
    def waiting_replies(self) -> int:
        """How many replies wait to be sent once more."""
        return len(self._waiting)

    def start(self) -> None:
        """Start renewing and sweeping."""
        self._loops = [
            self._background.start(
                "renew leases", self._renewer.run, longest_pause=FIRST_PAUSE
            ),
            self._background.start(
                "sweep mailboxes", self._sweep_forever, longest_pause=FIRST_PAUSE
            ),
        ]

    async def accept(self, envelope: Envelope) -> None:
        """Put an update into its mailbox; it is safe there when this returns."""
        update = envelope.update
        if update is not None and update.stopped_draft_id:
            # It overtakes what is before it in the mailbox: that is what it stops.
            self._tell_stop(envelope.ordering_key, update.stopped_draft_id)
        bounded = update is None or not update.bypasses_limits
        if self._may_claim():
            self._asked += 1
            try:
                placed = await self._mailboxes.put(envelope, enforce_limit=bounded)
                if isinstance(placed, MailboxLease):
                    self._activate(placed)
            finally:
                self._asked -= 1
        else:
            placed = await self._mailboxes.put(
                envelope, acquire=False, enforce_limit=bounded
            )
            self._backlog = True
            if self._room() > 0:
                self._place_free.set()
        if placed is PutResult.FULL:
            self._refusals.refuse(envelope)

    async def drain(self, within: float) -> int:
        """Finish what runs, at most `within` seconds; then cut it short.

        Lanes in a durable store are given back after their current update, or when the
        time is over. What is in this process's memory would be lost with it, so all of
        that is served.

        Returns:
            How many actors had to be cut short.
        """
        self._draining = True
        try:
            async with asyncio.timeout(within):
                await self._finish()
        except TimeoutError:
            logger.warning("drain cut short", extra={"actors": self.active})
        # First of all nothing may start any more: a freed place wakes the sweep.
        self._closed = True
        await _end(self._loops)
        cut = list(self._running.items())
        await _end([task for _, task in cut])
        await self._refusals.close()
        await asyncio.gather(*(self._mailboxes.release(lease) for lease, _ in cut))
        return len(cut)

    async def _finish(self) -> None:
        while self._running or self._mailboxes.in_memory:
            if self._running:
                await asyncio.wait(self._running.values())
            else:
                await self._sweep()
                if not self._running:  # it may be on its way to a durable store
                    await asyncio.sleep(DRAIN_SWEEP_SECONDS)

    def _gives_back(self) -> bool:
        """Tell whether this worker leaves what waits to the others."""
        return self._draining and not self._mailboxes.in_memory

    def _room(self) -> int:
        # A Bot API that fails for some chats takes the places of no others; one that
        # fails for all must not fill the memory.
        waiting = min(len(self._waiting), self._max_active)
        taken = len(self._running) - self._stuck - waiting + self._asked
        return self._max_active - taken

    def _may_claim(self) -> bool:
        if self._closed or self._gives_back():
            return False
        return not self._backlog and self._room() > 0

    def _activate(self, lease: MailboxLease) -> None:
        task = asyncio.create_task(self._run(lease), name=lease.ordering_key)
        self._running[lease] = task
        task.add_done_callback(partial(self._remove, lease))

    def _remove(self, lease: MailboxLease, _: asyncio.Task[None]) -> None:
        del self._running[lease]
        self._probation.remove(lease)
        if self._backlog:
            self._place_free.set()

    async def wait(self, lease: MailboxLease, pause: Awaitable[None]) -> None:
        """Await the pause before a reply is sent again. See `Lease.wait`."""
        self._waiting.add(lease)
        if self._backlog and self._room() > 0:
            self._place_free.set()
        try:
            await pause
        finally:
            self._waiting.discard(lease)

    async def _run(self, lease: MailboxLease) -> None:
        try:
            held = _KeptLease(lease, self._renewer, self._probation, self)
            await self._actor.run(held)
        except LeaseLost:
            logger.warning("claim lost", extra={"lane": lease.ordering_key})
        except Exception as error:  # noqa: BLE001 - the lease runs out, a sweep goes on
            logger.error(  # noqa: TRY400 - a traceback's last line may quote the user
                "actor stopped",
                extra={"lane": lease.ordering_key, "error": describe(error)},
            )

    async def _sweep_forever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter
                    await self._place_free.wait()
            self._place_free.clear()
            if self._gives_back():
                continue
            await self._sweep()

    async def _sweep(self) -> None:
        """Claim waiting lanes, longest waiting first, as far as there is room."""
        # After the process stood still it would otherwise take its own lanes away from
        # its own actors.
        await self._renewer.renew_ended()
        now = self._clock.uptime()
        self._stuck = sum(
            lease.is_committing and lease.expires_at <= now for lease in self._running
        )
        room = max(self._room(), 0)
        ordering_keys = await self._mailboxes.claimable(room + 1)
        self._backlog = len(ordering_keys) > room
        await asyncio.gather(
            *(self._claim(ordering_key) for ordering_key in ordering_keys[:room])
        )

    async def _claim(self, ordering_key: str) -> None:
        """Claim a lane and start its actor, if it still waits."""
        if self._closed or self._room() <= 0:
            return
        self._asked += 1
        try:
            lease = await self._mailboxes.acquire(ordering_key)
        finally:
            self._asked -= 1
        if lease is not None:
            self._activate(lease)

    def wanted_back(self, handled: int) -> bool:
        """Tell whether a lane is to be given back after so many updates."""
        if self._draining:
            return self._gives_back()
        # Below 0: replies that waited can be sent again, and their users go on.
        return self._backlog and (handled >= FAIR_TURNS or self._room() < 0)


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _KeptLease:
    """A lease that is renewed here."""

    __slots__ = ("_probation", "_renewer", "_system", "claim")

    def __init__(
        self,
        lease: MailboxLease,
        renewer: Renewer,
        probation: Probation,
        system: ActorSystem,
    ) -> None:
        self.claim = lease
        self._renewer = renewer
        self._probation = probation
        self._system = system

    async def hold(self) -> None:
        if self.claim.is_suspected:
            await self._probation.end_step(self.claim)
        if not self._renewer.lasts(self.claim):
            await self._renewer.hold(self.claim)

    async def wait(self, pause: Awaitable[None]) -> None:
        await self._system.wait(self.claim, pause)
        await self.hold()

    async def begin_step(self) -> None:
        await self._probation.begin_step(self.claim)

    async def end_step(self) -> None:
        await self._probation.end_step(self.claim)

    def wanted_back(self, handled: int) -> bool:
        return self._system.wanted_back(handled)
