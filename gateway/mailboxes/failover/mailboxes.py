"""Mailboxes in Redis, and in this process's memory while Redis fails.

A put waits a while for a Redis that fails. Then its shard is away: its updates go into
memory. They are served from there when Redis was asked once more, in vain, and no claim
that was made in it can still be in its lease. A full Redis is away for puts at once;
its commits go on.

When a shard takes updates again, nothing new starts from memory. What waits there is
brought to Redis, whose mailboxes sort by `update_id`, while no worker claims anything
(see `recovery.py`); what runs from memory is finished first. Until then a lane that has
mail here gets its new updates here. A claim in Redis of a lane that is served from
memory keeps its place, but must not be acted on: its lease is held to have run out.

What memory holds ends with this process, and users have no session there that lasts.

Concurrency: all calls come from one event loop. One task, from the first update in
memory to the last, asks for the way back and brings the mail there; `__aexit__` ends
it. Nothing is removed from memory before Redis has it.
"""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from typing import Self

from gateway.background import BackgroundTasks
from gateway.domain.errors import StoreFull, StoreUnavailable
from gateway.domain.ports import Clock, MailboxLease, PutResult
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.failover.failback import FULL_SECONDS, WayBack
from gateway.mailboxes.failover.unavailable_shards import Away
from gateway.mailboxes.memory.mailboxes import MemoryMailboxes
from gateway.mailboxes.redis.client.cluster import ClusterTransport
from gateway.mailboxes.redis.keys import shard_number
from gateway.mailboxes.redis.mailboxes import RedisMailboxes

CLOSING_SECONDS = 2.0
"""At the end of the process: for so long what memory holds is brought to Redis."""


class FallbackMailboxes:
    """The `Mailboxes` of a worker that has a Redis.

    Args:
        durable: the mailboxes in Redis; its puts are given up after a while.
        memory: the mailboxes of this process.
        transport: the way to Redis, which `durable` uses too.
        clock: measures leases.
        background: runs the task that brings mail back to Redis.
    """

    def __init__(
        self,
        durable: RedisMailboxes,
        memory: MemoryMailboxes,
        transport: ClusterTransport,
        clock: Clock,
        background: BackgroundTasks | None = None,
    ) -> None:
        self._durable = durable
        self._memory = memory
        self._transport = transport
        self._clock = clock
        self._away = Away()
        self._background = background or BackgroundTasks()
        self._way_back = WayBack(durable, memory, transport, clock, self._away)
        self._returning: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Nothing to do before the first fault."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Bring to Redis what memory still holds, if that goes quickly."""
        if self._returning is not None:
            if not self._transport.down:
                await asyncio.wait([self._returning], timeout=CLOSING_SECONDS)
            self._returning.cancel()
            await asyncio.gather(self._returning, return_exceptions=True)

    @property
    def mode(self) -> str:
        """Where new updates go: "redis", or "memory" for some of them at least."""
        return "redis" if self._whole else "memory"

    @property
    def degraded(self) -> bool:
        """True: Redis fails, or memory still holds what came in meanwhile."""
        return self._transport.failing or not self._whole

    @property
    def problem(self) -> str:
        """What an operator has to mend in Redis, in words. Empty: nothing is known."""
        return self._transport.problem

    @property
    def in_memory(self) -> int:
        """How many updates lie in this process's memory."""
        return self._memory.in_memory

    @property
    def lanes(self) -> int:
        """How many lanes have mail, those of all workers in Redis included."""
        return self._durable.lanes + self._memory.lanes

    @property
    def longest_wait(self) -> float:
        """For how many seconds the lane that waits longest has been waiting."""
        return max(self._durable.longest_wait, self._memory.longest_wait)

    @property
    def sessions(self) -> int:
        """How many states are kept in memory."""
        return self._memory.sessions

    @property
    def buried(self) -> int:
        """How many dead letters are kept."""
        return self._durable.buried + len(self._memory.letters)

    @property
    def rejected(self) -> int:
        """How many bodies are kept in Redis that are no update, malformed or forged."""
        return self._durable.rejected

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Append an update to its mailbox. See `Mailboxes.put`."""
        ordering_key = envelope.ordering_key
        if not self._whole and (
            self._away.has(ordering_key) or self._memory.holds(ordering_key)
        ):
            # In a Redis that answers the lane may have mail: a sweep will ask.
            failing = self._transport.failing_at(shard_number(ordering_key))
            acquire = acquire and failing and self._memory_serves(ordering_key)
            return await self._memory.put(
                envelope, acquire=acquire, enforce_limit=enforce_limit
            )
        try:
            return await self._durable.put(
                envelope, acquire=acquire, enforce_limit=enforce_limit
            )
        except StoreUnavailable as error:
            if isinstance(error, StoreFull):
                self._way_back.wait()
            self._way_back.doubt(envelope)
            self._go_away(ordering_key)
            # Others that were given up just now may come before it: a sweep will tell.
            return await self._memory.put(
                envelope, acquire=False, enforce_limit=enforce_limit
            )

    async def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        dead_letter_reason: str = "",
        release: bool = False,
    ) -> Envelope | None:
        """Remove an update, save the state, go on. See `Mailboxes.commit`."""
        if self._durable.made(lease):
            following = await self._durable.commit(
                lease,
                update_id,
                state,
                dead_letter_reason=dead_letter_reason,
                release=release,
            )
            self._hold_back((lease,))
            return following
        release = release or not self._away.has(lease.ordering_key)
        following = await self._memory.commit(
            lease,
            update_id,
            state,
            dead_letter_reason=dead_letter_reason,
            release=release,
        )
        self._way_back.note_done(lease.ordering_key, update_id)
        return following

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Extend the leases of these claims. Returns those that were lost."""
        if self._whole and not self._transport.down:
            return await self._durable.renew(leases)
        here = [lease for lease in leases if not self._durable.made(lease)]
        lost = list(await self._memory.renew(here))
        if not self._transport.down:
            there = [lease for lease in leases if self._durable.made(lease)]
            lost += await self._durable.renew(there)
            self._hold_back(there)
        return lost

    async def release(self, lease: MailboxLease) -> None:
        """Give a lane back with its mail. Without effect if the claim was lost."""
        if not self._durable.made(lease):
            await self._memory.release(lease)
        elif not self._away.has(lease.ordering_key):
            await self._durable.release(lease)

    async def claimable(self, limit: int) -> Sequence[str]:
        """List lanes with mail that anybody may claim. See `Mailboxes.waiting`."""
        if self._whole and not self._transport.down:
            return await self._durable.claimable(limit)
        here = await self._memory.claimable(limit)
        ordering_keys = [
            ordering_key for ordering_key in here if self._memory_serves(ordering_key)
        ]
        if len(ordering_keys) < limit and not self._transport.down:
            ordering_keys += await self._durable.claimable(limit - len(ordering_keys))
        return ordering_keys

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Claim a waiting lane. See `Mailboxes.claim`."""
        if not self._away.has(ordering_key):
            if self._memory.holds(ordering_key):  # it comes to Redis first
                return None
            return await self._durable.acquire(ordering_key)
        if not self._memory_serves(ordering_key) or not await self._is_left(
            ordering_key
        ):
            return None
        return await self._memory.acquire(ordering_key)

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Note whether a suspected update is processed. See `Mailboxes.note_step`."""
        if not self._durable.made(lease):
            await self._memory.record_step(lease, running=running)
        elif not self._transport.failing_at(shard_number(lease.ordering_key)):
            await self._durable.record_step(lease, running=running)

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Keep a dead letter that never was in a mailbox."""
        if not self._away.has(dead_letter.ordering_key):
            with contextlib.suppress(StoreUnavailable):
                await self._durable.add_dead_letter(dead_letter)
                return
        await self._memory.add_dead_letter(dead_letter)
        self._find_way_back()

    @property
    def _whole(self) -> bool:
        """True: all mail is in Redis, and new mail goes there."""
        return not self._away and not self._memory.lanes

    def _memory_serves(self, ordering_key: str) -> bool:
        """Tell whether actors may be started from memory for this lane."""
        return self._away.serves(ordering_key, self._clock.uptime())

    async def _is_left(self, ordering_key: str) -> bool:
        """Tell whether nobody serves a lane from Redis.

        A Redis that answers is full: its claims last, and its commits go on.
        """
        if self._transport.failing_at(shard_number(ordering_key)):
            return True
        try:
            return not await self._durable.holds(ordering_key)
        except StoreUnavailable:
            return True

    def _hold_back(self, leases: Collection[MailboxLease]) -> None:
        """Keep those from being acted on whose lanes are served from memory."""
        if self._memory.lanes:
            for lease in leases:
                if self._memory.is_claimed(lease.ordering_key):
                    lease.expires_at = 0.0

    def _go_away(self, ordering_key: str) -> None:
        """Let memory take over for a lane's shard and those that fail with it."""
        if self._away.has(ordering_key):
            return
        beside = self._transport.beside(shard_number(ordering_key))
        # Not served yet: others that are given up just now may come first.
        self._away.add(beside)
        self._durable.give_up_puts(beside)
        self._find_way_back()

    def _find_way_back(self) -> None:
        if self._returning is None or self._returning.done():
            self._returning = self._background.start(
                "return to redis", self._way_back.take, longest_pause=FULL_SECONDS
            )
