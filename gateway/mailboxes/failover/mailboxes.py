"""Mailboxes in Redis, and in this process's memory while Redis fails.

A put waits a while for a Redis that fails. Then its shard is away: its updates go into
memory. They are served from there when Redis was asked once more, in vain, and no claim
that was made in it can still be in its lease. A full Redis is away for puts at once;
its commits go on.

When a shard takes updates again, nothing new starts from memory. What waits there is
brought to Redis, whose mailboxes sort by `update_id`, while no worker claims anything
(see `replay_buffer.py`); what runs from memory is finished first. Until then a lane
that has mail here gets its new updates here. A claim in Redis of a lane that is served
from memory keeps its place, but must not be acted on: its lease is held to have run
out.

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
from gateway.mailboxes.failover.failback import FULL_RETRY_SECONDS, Failback
from gateway.mailboxes.failover.unavailable_shards import UnavailableShards
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.keys import get_shard_number
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore

CLOSE_TIMEOUT_SECONDS = 2.0
"""At the end of the process: for so long what memory holds is brought to Redis."""


class FailoverMailboxStore:
    """The `MailboxStore` of a worker that has a Redis.

    Args:
        durable: the mailboxes in Redis; its puts are given up after a while.
        memory: the mailboxes of this process.
        transport: the way to Redis, which `redis_store` uses too.
        clock: measures leases.
        background: runs the task that brings mail back to Redis.
    """

    def __init__(
        self,
        redis_store: RedisMailboxStore,
        memory_store: MemoryMailboxStore,
        client: ClusterClient,
        clock: Clock,
        background: BackgroundTasks | None = None,
    ) -> None:
        self._redis_store = redis_store
        self._memory_store = memory_store
        self._client = client
        self._clock = clock
        self._unavailable = UnavailableShards()
        self._background = background or BackgroundTasks()
        self._failback = Failback(
            redis_store, memory_store, client, clock, self._unavailable
        )
        self._failback_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Nothing to do before the first fault."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Bring to Redis what memory still holds, if that goes quickly."""
        if self._failback_task is not None:
            if not self._client.is_down:
                await asyncio.wait([self._failback_task], timeout=CLOSE_TIMEOUT_SECONDS)
            self._failback_task.cancel()
            await asyncio.gather(self._failback_task, return_exceptions=True)

    @property
    def mode(self) -> str:
        """Where new updates go: "redis", or "memory" for some of them at least."""
        return "redis" if self._is_all_in_redis else "memory"

    @property
    def is_degraded(self) -> bool:
        """True: Redis fails, or memory still holds what came in meanwhile."""
        return self._client.is_failing or not self._is_all_in_redis

    @property
    def problem(self) -> str:
        """What an operator has to mend in Redis, in words. Empty: nothing is known."""
        return self._client.problem

    @property
    def in_memory(self) -> int:
        """How many updates lie in this process's memory."""
        return self._memory_store.in_memory

    @property
    def mailbox_count(self) -> int:
        """How many lanes have mail, those of all workers in Redis included."""
        return self._redis_store.mailbox_count + self._memory_store.mailbox_count

    @property
    def longest_wait(self) -> float:
        """For how many seconds the lane that waits longest has been waiting."""
        return max(self._redis_store.longest_wait, self._memory_store.longest_wait)

    @property
    def session_count(self) -> int:
        """How many states are kept in memory."""
        return self._memory_store.session_count

    @property
    def dead_letter_count(self) -> int:
        """How many dead letters are kept."""
        return self._redis_store.dead_letter_count + len(
            self._memory_store.dead_letters
        )

    @property
    def rejected_count(self) -> int:
        """How many bodies are kept in Redis that are no update, malformed or forged."""
        return self._redis_store.rejected_count

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Append an update to its mailbox. See `MailboxStore.put`."""
        ordering_key = envelope.ordering_key
        if not self._is_all_in_redis and (
            self._unavailable.includes(ordering_key)
            or self._memory_store.has_updates(ordering_key)
        ):
            # In a Redis that answers the lane may have mail: a sweep will ask.
            is_failing = self._client.is_shard_failing(get_shard_number(ordering_key))
            acquire = acquire and is_failing and self._memory_may_serve(ordering_key)
            return await self._memory_store.put(
                envelope, acquire=acquire, enforce_limit=enforce_limit
            )
        try:
            return await self._redis_store.put(
                envelope, acquire=acquire, enforce_limit=enforce_limit
            )
        except StoreUnavailable as error:
            if isinstance(error, StoreFull):
                self._failback.back_off()
            self._failback.record_uncertain_put(envelope)
            self._fail_over(ordering_key)
            # Others that were given up just now may come before it: a sweep will tell.
            return await self._memory_store.put(
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
        """Remove an update, save the state, go on. See `MailboxStore.commit`."""
        if self._redis_store.has_granted(lease):
            next_update = await self._redis_store.commit(
                lease,
                update_id,
                state,
                dead_letter_reason=dead_letter_reason,
                release=release,
            )
            self._suspend_leases((lease,))
            return next_update
        release = release or not self._unavailable.includes(lease.ordering_key)
        next_update = await self._memory_store.commit(
            lease,
            update_id,
            state,
            dead_letter_reason=dead_letter_reason,
            release=release,
        )
        self._failback.record_done(lease.ordering_key, update_id)
        return next_update

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Extend the leases of these claims. Returns those that were lost."""
        if self._is_all_in_redis and not self._client.is_down:
            return await self._redis_store.renew(leases)
        from_memory = [
            lease for lease in leases if not self._redis_store.has_granted(lease)
        ]
        lost = list(await self._memory_store.renew(from_memory))
        if not self._client.is_down:
            from_redis = [
                lease for lease in leases if self._redis_store.has_granted(lease)
            ]
            lost += await self._redis_store.renew(from_redis)
            self._suspend_leases(from_redis)
        return lost

    async def release(self, lease: MailboxLease) -> None:
        """Give a lane back with its mail. Without effect if the claim was lost."""
        if not self._redis_store.has_granted(lease):
            await self._memory_store.release(lease)
        elif not self._unavailable.includes(lease.ordering_key):
            await self._redis_store.release(lease)

    async def claimable(self, limit: int) -> Sequence[str]:
        """List lanes with mail that anybody may claim. See `MailboxStore.claimable`."""
        if self._is_all_in_redis and not self._client.is_down:
            return await self._redis_store.claimable(limit)
        from_memory = await self._memory_store.claimable(limit)
        ordering_keys = [
            ordering_key
            for ordering_key in from_memory
            if self._memory_may_serve(ordering_key)
        ]
        if len(ordering_keys) < limit and not self._client.is_down:
            ordering_keys += await self._redis_store.claimable(
                limit - len(ordering_keys)
            )
        return ordering_keys

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Claim a waiting lane. See `MailboxStore.acquire`."""
        if not self._unavailable.includes(ordering_key):
            if self._memory_store.has_updates(ordering_key):  # it comes to Redis first
                return None
            return await self._redis_store.acquire(ordering_key)
        if not self._memory_may_serve(
            ordering_key
        ) or not await self._is_unserved_in_redis(ordering_key):
            return None
        return await self._memory_store.acquire(ordering_key)

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Record a step of a suspected update. See `MailboxStore.record_step`."""
        if not self._redis_store.has_granted(lease):
            await self._memory_store.record_step(lease, running=running)
        elif not self._client.is_shard_failing(get_shard_number(lease.ordering_key)):
            await self._redis_store.record_step(lease, running=running)

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Keep a dead letter that never was in a mailbox."""
        if not self._unavailable.includes(dead_letter.ordering_key):
            with contextlib.suppress(StoreUnavailable):
                await self._redis_store.add_dead_letter(dead_letter)
                return
        await self._memory_store.add_dead_letter(dead_letter)
        self._start_failback()

    @property
    def _is_all_in_redis(self) -> bool:
        """True: all mail is in Redis, and new mail goes there."""
        return not self._unavailable and not self._memory_store.mailbox_count

    def _memory_may_serve(self, ordering_key: str) -> bool:
        """Tell whether actors may be started from memory for this lane."""
        return self._unavailable.memory_may_serve(ordering_key, self._clock.uptime())

    async def _is_unserved_in_redis(self, ordering_key: str) -> bool:
        """Tell whether nobody serves a lane from Redis.

        A Redis that answers is full: its claims last, and its commits go on.
        """
        if self._client.is_shard_failing(get_shard_number(ordering_key)):
            return True
        try:
            return not await self._redis_store.has_updates(ordering_key)
        except StoreUnavailable:
            return True

    def _suspend_leases(self, leases: Collection[MailboxLease]) -> None:
        """Keep those from being acted on whose lanes are served from memory."""
        if self._memory_store.mailbox_count:
            for lease in leases:
                if self._memory_store.is_leased(lease.ordering_key):
                    lease.expires_at = 0.0

    def _fail_over(self, ordering_key: str) -> None:
        """Let memory take over for a lane's shard and those that fail with it."""
        if self._unavailable.includes(ordering_key):
            return
        shards = self._client.list_shards_on_same_node(get_shard_number(ordering_key))
        # Not served yet: others that are given up just now may come first.
        self._unavailable.add(shards)
        self._redis_store.fail_pending_puts(shards)
        self._start_failback()

    def _start_failback(self) -> None:
        if self._failback_task is None or self._failback_task.done():
            self._failback_task = self._background.start(
                "return to redis", self._failback.run, max_delay=FULL_RETRY_SECONDS
            )
