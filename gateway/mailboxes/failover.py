"""Failover: mailboxes in Redis, and in this process's memory while Redis fails.

A put waits for a failing Redis until its timeout. Then its shard becomes unavailable,
and so do all others of the same server: their new updates are stored in memory. Memory
starts to serve them after one more probe of Redis has failed and every lease that Redis
granted has expired. If Redis is full, the shards become unavailable for puts at once,
but commits still go to Redis.

Failback: when a shard is available again, no new actor starts from memory, and each
running actor releases its mailbox after its current update. The claimable updates are
moved to Redis, whose mailboxes sort by `update_id`, while no worker acquires a lease
(see `replay_buffer.py`). As long as a mailbox has updates in memory, its new updates
still go to memory. A mailbox may have a lease from Redis and one from memory. The Redis
lease is then kept alive but treated as expired, so its actor waits.

Updates in memory are lost when this process ends, and so are the sessions there.

Concurrency: all calls come from one event loop. One task, which waits while memory has
no updates, probes Redis and moves the updates there; `__aexit__` ends it. It moves only
claimable mailboxes of available shards. No actor can acquire those in memory meanwhile.
An update is removed from memory only after Redis has stored it. After an error it tries
again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Collection, Iterable, Sequence
from math import inf
from typing import Self

import anyio

from gateway.background import BackgroundTask, BackgroundTasks, cancel_and_wait
from gateway.domain.errors import StoreFull, StoreUnavailable
from gateway.domain.mailbox_lease import LEASE_SECONDS, MailboxLease
from gateway.domain.ports import Clock, PutResult
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.keys import get_shard_number
from gateway.mailboxes.redis.mailboxes import REDIS_LEASE_PREFIX, RedisMailboxStore
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

PROBE_SECONDS = 0.1
"""The interval between attempts at a failback: short, so that many fit into one replay
pause."""

FULL_RETRY_SECONDS = 1.0
"""The interval between attempts while Redis answers, but is full."""

MAX_MIGRATED_MAILBOXES = 1000
"""The maximum number of mailboxes migrated in one attempt."""

CLOSE_TIMEOUT_SECONDS = 2.0
"""How long shutdown waits for updates in memory to be moved to Redis."""

UpdateKey = tuple[str, int]
"""The ordering key and the update id."""


class FailoverMailboxStore:
    """The `MailboxStore` of a worker that has a Redis, and of its memory if that fails.

    Use it in an `async with`: the background task that brings updates back to Redis
    runs in the block.

    Args:
        redis_store: the mailboxes in Redis; its puts must have a timeout.
        memory_store: the mailboxes in the memory of this process.
        client: the connections to Redis, which `redis_store` also uses.
        clock: measures leases and retries.
        background: runs the background task.
    """

    def __init__(
        self,
        redis_store: RedisMailboxStore,
        memory_store: MemoryMailboxStore,
        client: ClusterClient,
        clock: Clock,
        background: BackgroundTasks,
    ) -> None:
        self._redis_store = redis_store
        self._memory_store = memory_store
        self._client = client
        self._clock = clock
        self._background = background
        self._failback_task: BackgroundTask
        self._failback_needed = asyncio.Event()
        self._failback_completed = asyncio.Event()
        self._failback_completed.set()
        self._unavailable: dict[int, float] = {}
        """The shards that accept no updates, each with the time, by `Clock.uptime`,
        from which memory may serve its mailboxes; `inf` until a probe has failed."""
        self._uncertain: set[UpdateKey] = set()
        """Updates whose failed put may have taken effect in Redis."""
        self._done: list[UpdateKey] = []
        """The uncertain updates that were finished from memory."""
        self._retry_at = 0.0
        """The time of the next attempt at a failback, by `Clock.uptime`."""
        redis_store.deliveries.set_failover_callbacks(
            self._check_delivery, lambda lease: self._suspend_leases((lease,))
        )

    async def __aenter__(self) -> Self:
        """Start the background task, which waits until updates are stored in memory."""
        self._failback_task = self._background.start(
            "failback", self._run_failback, max_delay=FULL_RETRY_SECONDS
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        """Wait up to `CLOSE_TIMEOUT_SECONDS` until memory is empty, and end the task.

        Does not wait if Redis is down. Updates that are still in memory are lost.
        """
        if not self._client.is_down:
            with anyio.move_on_after(CLOSE_TIMEOUT_SECONDS):
                await self._failback_completed.wait()
        await cancel_and_wait(self._failback_task)

    @property
    def mode(self) -> str:
        """Where new updates are stored: "redis", or "memory" for some of them."""
        return "redis" if self._is_all_in_redis else "memory"

    @property
    def is_degraded(self) -> bool:
        """Whether Redis is failing or full, or memory has updates that Redis lacks."""
        return self._client.is_failing or not self._is_all_in_redis

    @property
    def problem(self) -> str:
        """The problem with Redis that an operator has to fix; empty if none."""
        return self._client.problem

    @property
    def in_memory(self) -> int:
        """The number of updates in memory, which are lost if the process ends."""
        return self._memory_store.in_memory

    def find_oldest_update_id(self, key_prefix: str) -> int | None:
        """Return the lowest id of the updates that are only in memory.

        Returns None if there are none.

        Args:
            key_prefix: look only at ordering keys that start with this, such as "<bot
                id>/".
        """
        return self._memory_store.find_oldest_update_id(key_prefix)

    @property
    def mailbox_count(self) -> int:
        """The number of mailboxes with updates: those in this memory and all in Redis.

        Those in Redis, of all workers, were counted by the last scan.
        """
        return self._redis_store.mailbox_count + self._memory_store.mailbox_count

    @property
    def longest_wait(self) -> float:
        """For how many seconds the mailbox that has waited longest has been claimable.

        0 if no mailbox is claimable. For Redis it is the value at the last scan.
        """
        return max(self._redis_store.longest_wait, self._memory_store.longest_wait)

    @property
    def session_count(self) -> int:
        """The number of user states in memory; those in Redis are not counted."""
        return self._memory_store.session_count

    @property
    def dead_letter_count(self) -> int:
        """The number of dead letters in Redis, at the last scan, and in memory."""
        return self._redis_store.dead_letter_count + len(
            self._memory_store.dead_letters
        )

    @property
    def rejected_count(self) -> int:
        """The number of bodies in Redis that never were updates, at the last scan."""
        return self._redis_store.rejected_count

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Store an update in Redis, or in memory if Redis fails.

        See `MailboxStore.put`. Never raises StoreUnavailable: after the timeout of the
        Redis put, memory stores the update, and the shards of that Redis server become
        unavailable.
        """
        ordering_key = envelope.ordering_key
        if (self._unavailable or self._memory_store.in_memory) and (
            self._is_unavailable(ordering_key)
            or self._memory_store.has_updates(ordering_key)
        ):
            # A Redis that answers may have earlier updates. Only `acquire`, which the
            # next scan calls, checks that.
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
                self._back_off()
            self._uncertain.add((ordering_key, envelope.update_id))
            self._fail_over(ordering_key)
            # Other puts that fail at this moment may have lower ids, so this update
            # waits for the next scan.
            return await self._memory_store.put(
                envelope, acquire=False, enforce_limit=enforce_limit
            )

    async def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        dead_letter_reason: str | None = None,
        release: bool = False,
    ) -> Envelope | None:
        """Remove a finished update and save the state. See `MailboxStore.commit`.

        It is done where the lease came from, Redis or memory. A lease from memory is
        released if Redis accepts updates of this mailbox again.
        """
        if _is_from_redis(lease):
            next_update = await self._redis_store.commit(
                lease,
                update_id,
                state,
                dead_letter_reason=dead_letter_reason,
                release=release,
            )
            if self._memory_store.in_memory:
                self._suspend_leases((lease,))
            return next_update
        release = release or not self._is_unavailable(lease.ordering_key)
        next_update = await self._memory_store.commit(
            lease,
            update_id,
            state,
            dead_letter_reason=dead_letter_reason,
            release=release,
        )
        key = lease.ordering_key, update_id
        if key in self._uncertain:  # it must not be processed from Redis again
            self._uncertain.discard(key)
            self._done.append(key)
        return next_update

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Extend leases from Redis and memory, and return those that were lost.

        While Redis is down its leases are neither extended nor returned. A Redis lease
        is marked as expired if an actor now processes the same mailbox from memory.
        """
        if self._is_all_in_redis and not self._client.is_down:
            return await self._redis_store.renew(leases)
        from_memory = [lease for lease in leases if not _is_from_redis(lease)]
        lost = list(await self._memory_store.renew(from_memory))
        if not self._client.is_down:
            from_redis = [lease for lease in leases if _is_from_redis(lease)]
            lost += await self._redis_store.renew(from_redis)
            self._suspend_leases(from_redis)
        return lost

    async def release(self, lease: MailboxLease) -> None:
        """End a lease and keep the updates. See `MailboxStore.release`."""
        if not _is_from_redis(lease):
            await self._memory_store.release(lease)
        elif not self._is_unavailable(lease.ordering_key):
            await self._redis_store.release(lease)

    async def claimable(
        self, limit: int, skipped_bots: Collection[str] = ()
    ) -> Sequence[str]:
        """List claimable mailboxes, memory first. See `MailboxStore.claimable`.

        Mailboxes in memory are listed only if memory may serve them: see the module.
        """
        if self._is_all_in_redis and not self._client.is_down:
            return await self._redis_store.claimable(limit, skipped_bots)
        from_memory = await self._memory_store.claimable(limit, skipped_bots)
        ordering_keys = [
            ordering_key
            for ordering_key in from_memory
            if self._memory_may_serve(ordering_key)
        ]
        if len(ordering_keys) < limit and not self._client.is_down:
            ordering_keys += await self._redis_store.claimable(
                limit - len(ordering_keys), skipped_bots
            )
        return ordering_keys

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Acquire the lease of a claimable mailbox. See `MailboxStore.acquire`.

        Returns None also if the mailbox has updates in memory that have to be moved to
        Redis first, and if it is unavailable in Redis but another worker may process it
        there.
        """
        if not self._is_unavailable(ordering_key):
            if self._memory_store.has_updates(ordering_key):
                return None  # Redis has to get these updates first, for the order
            return await self._redis_store.acquire(ordering_key)
        if not self._memory_may_serve(
            ordering_key
        ) or not await self._is_unserved_in_redis(ordering_key):
            return None
        return await self._memory_store.acquire(ordering_key)

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Record a step of a suspected update. See `MailboxStore.record_step`.

        Nothing is recorded while the Redis server of the mailbox is failing.
        """
        if not _is_from_redis(lease):
            await self._memory_store.record_step(lease, running=running)
        elif not self._client.is_shard_failing(get_shard_number(lease.ordering_key)):
            await self._redis_store.record_step(lease, running=running)

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Store a dead letter in Redis, or in memory until Redis accepts it.

        Does not raise StoreUnavailable.
        """
        if not self._is_unavailable(dead_letter.ordering_key or ""):
            with contextlib.suppress(StoreUnavailable):
                await self._redis_store.add_dead_letter(dead_letter)
                return
        await self._memory_store.add_dead_letter(dead_letter)
        self._request_failback()

    def _check_delivery(self, ordering_key: str) -> None:
        """Raise StoreUnavailable if a delivery must not be stored in Redis now.

        It is never stored in memory, and it must not overtake the updates there.
        """
        if self._is_unavailable(ordering_key) or self._memory_store.has_updates(
            ordering_key
        ):
            raise StoreUnavailable("Redis does not store this mailbox now")

    @property
    def _is_all_in_redis(self) -> bool:
        """Whether all updates are in Redis, and new ones are stored there."""
        return not self._unavailable and not self._memory_store.in_memory

    def _is_unavailable(self, ordering_key: str) -> bool:
        """Return whether the shard of an ordering key is unavailable."""
        return get_shard_number(ordering_key) in self._unavailable

    def _memory_may_serve(self, ordering_key: str) -> bool:
        """Return whether an actor may process this mailbox from memory."""
        allowed_at = self._unavailable.get(get_shard_number(ordering_key), inf)
        return self._clock.uptime() >= allowed_at

    async def _is_unserved_in_redis(self, ordering_key: str) -> bool:
        """Return whether no worker can be processing the mailbox from Redis.

        A shard that is unavailable although its server answers is full: its leases
        last, and its commits still work.
        """
        if self._client.is_shard_failing(get_shard_number(ordering_key)):
            return True
        try:
            return not await self._redis_store.has_updates(ordering_key)
        except StoreUnavailable:
            return True

    def _suspend_leases(self, leases: Collection[MailboxLease]) -> None:
        """Mark Redis leases of mailboxes that memory serves as expired."""
        for lease in leases:
            if self._memory_store.is_leased(lease.ordering_key):
                lease.expires_at = 0.0

    def _fail_over(self, ordering_key: str) -> None:
        """Let memory store the updates of a shard and of those on the same server."""
        if self._is_unavailable(ordering_key):
            return
        shards = self._client.list_shards_on_same_node(get_shard_number(ordering_key))
        self._mark_unavailable(shards)
        self._redis_store.fail_pending_puts(shards)
        self._request_failback()

    def _mark_unavailable(self, shards: Collection[int]) -> None:
        """Let memory store the updates of these shards.

        Memory does not serve them yet: other failing puts may have lower ids.
        """
        if shards and not self._unavailable:
            logger.error("failover_started")
        for shard in shards:
            self._unavailable.setdefault(shard, inf)

    def _mark_available(self, shards: Collection[int]) -> None:
        """Let Redis store the updates of these shards again."""
        for shard in shards:
            del self._unavailable[shard]
        if shards and not self._unavailable:
            logger.warning("failover_ended")

    def _request_failback(self) -> None:
        """Start a failback, unless one is running."""
        self._failback_needed.set()
        self._failback_completed.clear()

    async def _run_failback(self) -> None:
        """Migrate, whenever it is requested, until nothing is left in memory."""
        while True:
            await self._failback_needed.wait()
            await self._migrate_all()
            self._uncertain.clear()
            self._failback_needed.clear()
            self._failback_completed.set()

    async def _migrate_all(self) -> None:
        while (
            self._unavailable
            or self._memory_store.in_memory
            or self._done
            or self._memory_store.dead_letters
        ):
            await asyncio.sleep(PROBE_SECONDS)
            if self._clock.uptime() < self._retry_at:
                continue
            if not await self._probe_shards():
                continue
            try:
                await self._remove_done_from_redis()
                await self._migrate_mailboxes()
                await self._migrate_dead_letters()
            except Exception as error:  # noqa: BLE001 - updates must not be stranded
                self._handle_failback_error(error)

    def _handle_failback_error(self, error: Exception) -> None:
        """Let memory serve the updates that are left in it, until the next attempt."""
        self._mark_unavailable(
            {get_shard_number(ordering_key) for ordering_key in self._memory_store}
        )
        if isinstance(error, StoreFull):
            self._back_off()
        elif not isinstance(error, StoreUnavailable):
            self._back_off()
            logger.error("failback_failed", extra={"error": summarize_error(error)})

    def _back_off(self) -> None:
        """Make no attempt at a failback for `FULL_RETRY_SECONDS`."""
        self._retry_at = self._clock.uptime() + FULL_RETRY_SECONDS

    async def _probe_shards(self) -> bool:
        """Find the shards that accept updates, and let memory serve the others.

        Returns:
            Whether a migration is possible.
        """
        if self._client.is_down:
            self._let_memory_serve()
            return False
        writable = await self._redis_store.find_writable_shards(list(self._unavailable))
        self._mark_available(writable)
        self._let_memory_serve()
        if self._unavailable:
            self._back_off()
        return True

    def _let_memory_serve(self) -> None:
        """Let memory serve the unavailable shards when no lease from Redis can last."""
        now = self._clock.uptime()
        for shard, allowed_at in self._unavailable.items():
            if allowed_at == inf:
                leases_end = self._client.get_last_answer_time(shard) + LEASE_SECONDS
                self._unavailable[shard] = max(leases_end, now)

    async def _remove_done_from_redis(self) -> None:
        """Remove updates from Redis that were finished from memory."""
        keys = [key for key in self._done if not self._is_unavailable(key[0])]
        await _await_all(self._redis_store.remove_update(*key) for key in keys)
        removed = set(keys)
        self._done = [key for key in self._done if key not in removed]

    async def _migrate_mailboxes(self) -> None:
        """Move claimable mailboxes from memory to Redis.

        Raises:
            StoreError: Redis did not accept every update.
        """
        ordering_keys = await self._memory_store.claimable(MAX_MIGRATED_MAILBOXES)
        await _await_all(
            self._migrate_mailbox(ordering_key)
            for ordering_key in ordering_keys
            if not self._is_unavailable(ordering_key)
        )

    async def _migrate_mailbox(self, ordering_key: str) -> None:
        for envelope in self._memory_store.list_updates(ordering_key):
            key = ordering_key, envelope.update_id
            self._uncertain.add(key)
            await self._redis_store.put(envelope, acquire=False, enforce_limit=False)
            self._uncertain.discard(key)
            self._memory_store.remove_update(*key)

    async def _migrate_dead_letters(self) -> None:
        for dead_letter in self._memory_store.dead_letters.entries:
            if not self._is_unavailable(dead_letter.ordering_key or ""):
                await self._redis_store.add_dead_letter(dead_letter)
                self._memory_store.dead_letters.remove(dead_letter)


def _is_from_redis(lease: MailboxLease) -> bool:
    """Return whether Redis granted a lease, and not memory."""
    return lease.token.startswith(REDIS_LEASE_PREFIX)


async def _await_all(awaitables: Iterable[Awaitable[None]]) -> None:
    """Wait until all have ended, then raise the first error."""
    for error in await asyncio.gather(*awaitables, return_exceptions=True):
        if error is not None:
            raise error
