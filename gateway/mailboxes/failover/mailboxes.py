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
from gateway.domain.errors import MailboxesFull, MailboxesUnavailable
from gateway.domain.ports import Claim, Clock, Placed
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
    def queued(self) -> int:
        """How many updates lie in this process's memory."""
        return self._memory.queued

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
        self, envelope: Envelope, *, claim: bool = True, bounded: bool = True
    ) -> Claim | Placed:
        """Append an update to its mailbox. See `Mailboxes.put`."""
        lane = envelope.lane
        if not self._whole and (self._away.has(lane) or self._memory.holds(lane)):
            # In a Redis that answers the lane may have mail: a sweep will ask.
            failing = self._transport.failing_at(shard_number(lane))
            claim = claim and failing and self._memory_serves(lane)
            return await self._memory.put(envelope, claim=claim, bounded=bounded)
        try:
            return await self._durable.put(envelope, claim=claim, bounded=bounded)
        except MailboxesUnavailable as error:
            if isinstance(error, MailboxesFull):
                self._way_back.wait()
            self._way_back.doubt(envelope)
            self._go_away(lane)
            # Others that were given up just now may come before it: a sweep will tell.
            return await self._memory.put(envelope, claim=False, bounded=bounded)

    async def commit(
        self,
        claim: Claim,
        update_id: int,
        state: bytes,
        *,
        dead: str = "",
        give_back: bool = False,
    ) -> Envelope | None:
        """Remove an update, save the state, go on. See `Mailboxes.commit`."""
        if self._durable.made(claim):
            following = await self._durable.commit(
                claim, update_id, state, dead=dead, give_back=give_back
            )
            self._hold_back((claim,))
            return following
        give_back = give_back or not self._away.has(claim.lane)
        following = await self._memory.commit(
            claim, update_id, state, dead=dead, give_back=give_back
        )
        self._way_back.note_done(claim.lane, update_id)
        return following

    async def renew(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Extend the leases of these claims. Returns those that were lost."""
        if self._whole and not self._transport.down:
            return await self._durable.renew(claims)
        here = [claim for claim in claims if not self._durable.made(claim)]
        lost = list(await self._memory.renew(here))
        if not self._transport.down:
            there = [claim for claim in claims if self._durable.made(claim)]
            lost += await self._durable.renew(there)
            self._hold_back(there)
        return lost

    async def release(self, claim: Claim) -> None:
        """Give a lane back with its mail. Without effect if the claim was lost."""
        if not self._durable.made(claim):
            await self._memory.release(claim)
        elif not self._away.has(claim.lane):
            await self._durable.release(claim)

    async def waiting(self, limit: int) -> Sequence[str]:
        """List lanes with mail that anybody may claim. See `Mailboxes.waiting`."""
        if self._whole and not self._transport.down:
            return await self._durable.waiting(limit)
        here = await self._memory.waiting(limit)
        lanes = [lane for lane in here if self._memory_serves(lane)]
        if len(lanes) < limit and not self._transport.down:
            lanes += await self._durable.waiting(limit - len(lanes))
        return lanes

    async def claim(self, lane: str) -> Claim | None:
        """Claim a waiting lane. See `Mailboxes.claim`."""
        if not self._away.has(lane):
            if self._memory.holds(lane):  # it comes to Redis first
                return None
            return await self._durable.claim(lane)
        if not self._memory_serves(lane) or not await self._is_left(lane):
            return None
        return await self._memory.claim(lane)

    async def note_step(self, claim: Claim, *, running: bool) -> None:
        """Note whether a suspected update is processed. See `Mailboxes.note_step`."""
        if not self._durable.made(claim):
            await self._memory.note_step(claim, running=running)
        elif not self._transport.failing_at(shard_number(claim.lane)):
            await self._durable.note_step(claim, running=running)

    async def bury(self, letter: DeadLetter) -> None:
        """Keep a dead letter that never was in a mailbox."""
        if not self._away.has(letter.lane):
            with contextlib.suppress(MailboxesUnavailable):
                await self._durable.bury(letter)
                return
        await self._memory.bury(letter)
        self._find_way_back()

    @property
    def _whole(self) -> bool:
        """True: all mail is in Redis, and new mail goes there."""
        return not self._away and not self._memory.lanes

    def _memory_serves(self, lane: str) -> bool:
        """Tell whether actors may be started from memory for this lane."""
        return self._away.serves(lane, self._clock.uptime())

    async def _is_left(self, lane: str) -> bool:
        """Tell whether nobody serves a lane from Redis.

        A Redis that answers is full: its claims last, and its commits go on.
        """
        if self._transport.failing_at(shard_number(lane)):
            return True
        try:
            return not await self._durable.holds(lane)
        except MailboxesUnavailable:
            return True

    def _hold_back(self, claims: Collection[Claim]) -> None:
        """Keep those from being acted on whose lanes are served from memory."""
        if self._memory.lanes:
            for claim in claims:
                if self._memory.is_claimed(claim.lane):
                    claim.until = 0.0

    def _go_away(self, lane: str) -> None:
        """Let memory take over for a lane's shard and those that fail with it."""
        if self._away.has(lane):
            return
        beside = self._transport.beside(shard_number(lane))
        # Not served yet: others that are given up just now may come first.
        self._away.add(beside)
        self._durable.give_up_puts(beside)
        self._find_way_back()

    def _find_way_back(self) -> None:
        if self._returning is None or self._returning.done():
            self._returning = self._background.start(
                "return to redis", self._way_back.take, longest_pause=FULL_SECONDS
            )
