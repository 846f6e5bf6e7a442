"""The way back to Redis: what memory holds is brought there.

Concurrency: `take` is one task, started and ended by `FallbackMailboxes`. It touches
only lanes that wait, and only in shards that are not away: nobody else claims those.
"""

import asyncio
import logging
from collections.abc import Awaitable, Iterable

from gateway.domain.errors import StoreFull, StoreUnavailable
from gateway.domain.ports import LEASE_SECONDS, Clock
from gateway.domain.update import Envelope
from gateway.logs import describe
from gateway.mailboxes.failover.unavailable_shards import Away
from gateway.mailboxes.memory.mailboxes import MemoryMailboxes
from gateway.mailboxes.redis.client.cluster import ClusterTransport
from gateway.mailboxes.redis.keys import shard_number
from gateway.mailboxes.redis.mailboxes import RedisMailboxes

logger = logging.getLogger(__name__)

PROBE_SECONDS = 0.1
"""How often it is tried: many times while Redis settles."""

FULL_SECONDS = 1.0
"""How often a Redis is asked that answers, but takes nothing: it is full."""

MOST_LANES = 1000
"""Lanes brought at a time."""

Key = tuple[str, int]


class WayBack:
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
        durable: RedisMailboxes,
        memory: MemoryMailboxes,
        transport: ClusterTransport,
        clock: Clock,
        away: Away,
    ) -> None:
        self._durable = durable
        self._memory = memory
        self._transport = transport
        self._clock = clock
        self._away = away
        self._not_before = 0.0
        self._doubtful: set[Key] = set()
        """Updates that went to memory after a put that may have come through."""
        self._done: list[Key] = []
        """Those of them that were done from memory."""

    def doubt(self, envelope: Envelope) -> None:
        """Note an update whose put into Redis was given up."""
        self._doubtful.add((envelope.ordering_key, envelope.update_id))

    def note_done(self, ordering_key: str, update_id: int) -> None:
        """Note an update that is done: Redis must not serve it again."""
        key = ordering_key, update_id
        if key in self._doubtful:
            self._doubtful.discard(key)
            self._done.append(key)

    def wait(self) -> None:
        """Do not try for a while."""
        self._not_before = self._clock.uptime() + FULL_SECONDS

    async def take(self) -> None:
        """Try until nothing is left here."""
        while self._away or self._memory.lanes or self._done or self._memory.letters:
            await asyncio.sleep(PROBE_SECONDS)
            if self._clock.uptime() < self._not_before:
                continue
            if not await self._probe():
                continue
            try:
                await self._withdraw_done()
                await self._bring()
                await self._bring_letters()
            except Exception as error:  # noqa: BLE001 - mail must not be left here
                self._note(error)
        self._doubtful.clear()

    def _note(self, error: Exception) -> None:
        """Let memory serve what is left here, and try again."""
        self._away.add({shard_number(ordering_key) for ordering_key in self._memory})
        if isinstance(error, StoreFull):
            self.wait()
        elif not isinstance(error, StoreUnavailable):
            self.wait()
            logger.error("way back failed", extra={"error": describe(error)})

    async def _probe(self) -> bool:
        """Find out which shards take updates; let memory serve the others.

        Returns:
            True: there may be something to bring.
        """
        down = self._transport.down
        answering = [] if down else await self._durable.probe(list(self._away))
        self._away.remove(answering)
        for shard in self._away:
            # Until then an actor may work under a claim that was made in Redis.
            leases_end = self._transport.answered(shard) + LEASE_SECONDS
            self._away.serve(shard, max(leases_end, self._clock.uptime()))
        if self._away and not down:
            self.wait()
        return not down

    async def _withdraw_done(self) -> None:
        """Take out of Redis what was done from memory."""
        keys = [key for key in self._done if not self._away.has(key[0])]
        await _all(self._durable.withdraw(*key) for key in keys)
        withdrawn = set(keys)
        self._done = [key for key in self._done if key not in withdrawn]

    async def _bring(self) -> None:
        """Put what waits in memory into Redis.

        Raises:
            MailboxesError: Redis did not take some of it.
        """
        ordering_keys = await self._memory.claimable(MOST_LANES)
        await _all(
            self._bring_lane(it) for it in ordering_keys if not self._away.has(it)
        )

    async def _bring_lane(self, ordering_key: str) -> None:
        for envelope in self._memory.mail(ordering_key):
            self.doubt(envelope)
            await self._durable.put(envelope, acquire=False, enforce_limit=False)
            self._doubtful.discard((ordering_key, envelope.update_id))
            self._memory.withdraw(ordering_key, envelope.update_id)

    async def _bring_letters(self) -> None:
        for dead_letter in self._memory.letters.all:
            if not self._away.has(dead_letter.ordering_key):
                await self._durable.add_dead_letter(dead_letter)
                self._memory.letters.withdraw(dead_letter)


async def _all(waits: Iterable[Awaitable[None]]) -> None:
    """Wait for the end of all, and then raise what one of them raised."""
    for fault in await asyncio.gather(*waits, return_exceptions=True):
        if fault is not None:
            raise fault
