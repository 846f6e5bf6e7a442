"""The way back to Redis: what memory holds is brought there.

Concurrency: `run` is one task, started and ended by `FailoverMailboxStore`. It touches
only lanes that wait, and only in shards that are not away: nobody else claims those.
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
"""How often it is tried: many times while Redis settles."""

FULL_RETRY_SECONDS = 1.0
"""How often a Redis is asked that answers, but takes nothing: it is full."""

MAX_MIGRATED_MAILBOXES = 1000
"""Lanes brought at a time."""

UpdateKey = tuple[str, int]


class Failback:
    """Finds out which shards take updates again, and brings them what is theirs.

    Args:
        durable: where it goes.
        memory: where it is.
        transport: the way to Redis.
        clock: tells when leases end.
        away: the shards that are away. Here it is found out whether they really are,
            and when they are back.
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
        """Updates that went to memory after a put that may have come through."""
        self._done: list[UpdateKey] = []
        """Those of them that were done from memory."""

    def record_uncertain_put(self, envelope: Envelope) -> None:
        """Note an update whose put into Redis was given up."""
        self._uncertain.add((envelope.ordering_key, envelope.update_id))

    def record_done(self, ordering_key: str, update_id: int) -> None:
        """Note an update that is done: Redis must not serve it again."""
        key = ordering_key, update_id
        if key in self._uncertain:
            self._uncertain.discard(key)
            self._done.append(key)

    def back_off(self) -> None:
        """Do not try for a while."""
        self._retry_at = self._clock.uptime() + FULL_RETRY_SECONDS

    async def run(self) -> None:
        """Try until nothing is left here."""
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
            except Exception as error:  # noqa: BLE001 - mail must not be left here
                self._handle_error(error)
        self._uncertain.clear()

    def _handle_error(self, error: Exception) -> None:
        """Let memory serve what is left here, and try again."""
        self._unavailable.add(
            {get_shard_number(ordering_key) for ordering_key in self._memory_store}
        )
        if isinstance(error, StoreFull):
            self.back_off()
        elif not isinstance(error, StoreUnavailable):
            self.back_off()
            logger.error("way back failed", extra={"error": summarize_error(error)})

    async def _probe_shards(self) -> bool:
        """Find out which shards take updates; let memory serve the others.

        Returns:
            True: there may be something to bring.
        """
        is_down = self._client.is_down
        writable = (
            []
            if is_down
            else await self._redis_store.find_writable_shards(list(self._unavailable))
        )
        self._unavailable.remove(writable)
        for shard in self._unavailable:
            # Until then an actor may work under a claim that was made in Redis.
            leases_end = self._client.get_last_answer_time(shard) + LEASE_SECONDS
            self._unavailable.allow_memory(shard, max(leases_end, self._clock.uptime()))
        if self._unavailable and not is_down:
            self.back_off()
        return not is_down

    async def _remove_done_from_redis(self) -> None:
        """Take out of Redis what was done from memory."""
        keys = [key for key in self._done if not self._unavailable.includes(key[0])]
        await _await_all(self._redis_store.remove_update(*key) for key in keys)
        removed = set(keys)
        self._done = [key for key in self._done if key not in removed]

    async def _migrate_mailboxes(self) -> None:
        """Put what waits in memory into Redis.

        Raises:
            StoreError: Redis did not take some of it.
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
    """Wait for the end of all, and then raise what one of them raised."""
    for error in await asyncio.gather(*awaitables, return_exceptions=True):
        if error is not None:
            raise error
