"""Failback: the migration of updates from memory to a Redis that is available again.

Concurrency: `run` is one task, started and ended by `FailoverMailboxStore`. It touches
only claimable mailboxes of available shards: nothing else acquires a lease on those in
memory.
"""

import asyncio
import logging
from collections.abc import Awaitable, Iterable

from gateway.domain.errors import StoreFull, StoreUnavailable
from gateway.domain.ports import LEASE_SECONDS, Clock
from gateway.domain.update import Envelope
from gateway.mailboxes.failover.unavailable_shards import UnavailableShards
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.keys import get_shard_number
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

PROBE_SECONDS = 0.1
"""The interval between attempts: short, so that many fit into one replay pause."""

FULL_RETRY_SECONDS = 1.0
"""The interval between attempts while Redis answers, but is full."""

MAX_MIGRATED_MAILBOXES = 1000
"""The maximum number of mailboxes migrated in one attempt."""

UpdateKey = tuple[str, int]


class Failback:
    """Finds the shards that accept updates again, and migrates their updates to Redis.

    Args:
        redis_store: the target of the migration.
        memory_store: its source.
        client: the connections to Redis.
        clock: measures leases.
        unavailable: the unavailable shards, shared with the `FailoverMailboxStore`. The
            probes here decide when a shard is available again, and from when memory may
            serve one that is not.
    """

    def __init__(
        self,
        redis_store: RedisMailboxStore,
        memory_store: MemoryMailboxStore,
        client: ClusterClient,
        clock: Clock,
        unavailable: UnavailableShards,
    ) -> None:
        self._redis_store = redis_store
        self._memory_store = memory_store
        self._client = client
        self._clock = clock
        self._unavailable = unavailable
        self._retry_at = 0.0
        self._uncertain: set[UpdateKey] = set()
        """Updates whose failed put may have taken effect in Redis."""
        self._done: list[UpdateKey] = []
        """The uncertain updates that were finished from memory."""

    def record_uncertain_put(self, envelope: Envelope) -> None:
        """Record an update whose put into Redis failed without a known result."""
        self._uncertain.add((envelope.ordering_key, envelope.update_id))

    def record_done(self, ordering_key: str, update_id: int) -> None:
        """Record a finished update, which must not be processed from Redis again."""
        key = ordering_key, update_id
        if key in self._uncertain:
            self._uncertain.discard(key)
            self._done.append(key)

    def back_off(self) -> None:
        """Make no attempt for `FULL_RETRY_SECONDS`."""
        self._retry_at = self._clock.uptime() + FULL_RETRY_SECONDS

    async def run(self) -> None:
        """Migrate until nothing is left in memory."""
        while (
            self._unavailable
            or self._memory_store.mailbox_count
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
                self._handle_error(error)
        self._uncertain.clear()

    def _handle_error(self, error: Exception) -> None:
        """Let memory serve the updates that are left in it, until the next attempt."""
        self._unavailable.add(
            {get_shard_number(ordering_key) for ordering_key in self._memory_store}
        )
        if isinstance(error, StoreFull):
            self.back_off()
        elif not isinstance(error, StoreUnavailable):
            self.back_off()
            logger.error("failback_failed", extra={"error": summarize_error(error)})

    async def _probe_shards(self) -> bool:
        """Find the shards that accept updates, and let memory serve the others.

        Returns:
            Whether a migration is possible.
        """
        is_down = self._client.is_down
        writable = (
            []
            if is_down
            else await self._redis_store.find_writable_shards(list(self._unavailable))
        )
        self._unavailable.remove(writable)
        for shard in self._unavailable:
            # Until then an actor may hold a lease that Redis granted.
            leases_end = self._client.get_last_answer_time(shard) + LEASE_SECONDS
            self._unavailable.allow_memory(shard, max(leases_end, self._clock.uptime()))
        if self._unavailable and not is_down:
            self.back_off()
        return not is_down

    async def _remove_done_from_redis(self) -> None:
        """Remove updates from Redis that were finished from memory."""
        keys = [key for key in self._done if not self._unavailable.includes(key[0])]
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
            if not self._unavailable.includes(ordering_key)
        )

    async def _migrate_mailbox(self, ordering_key: str) -> None:
        for envelope in self._memory_store.list_updates(ordering_key):
            self.record_uncertain_put(envelope)
            await self._redis_store.put(envelope, acquire=False, enforce_limit=False)
            self._uncertain.discard((ordering_key, envelope.update_id))
            self._memory_store.remove_update(ordering_key, envelope.update_id)

    async def _migrate_dead_letters(self) -> None:
        for dead_letter in self._memory_store.dead_letters.entries:
            if not self._unavailable.includes(dead_letter.ordering_key):
                await self._redis_store.add_dead_letter(dead_letter)
                self._memory_store.dead_letters.remove(dead_letter)


async def _await_all(awaitables: Iterable[Awaitable[None]]) -> None:
    """Wait until all have ended, then raise the first error."""
    for error in await asyncio.gather(*awaitables, return_exceptions=True):
        if error is not None:
            raise error
