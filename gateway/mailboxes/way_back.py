"""The way back to Redis: what memory holds is brought there.

Concurrency: `take` is one task, started and ended by `FallbackMailboxes`. It touches
only lanes that wait, and only in shards that are not away: nobody else claims those.
"""

import asyncio
import logging
from math import inf

from gateway.domain.errors import MailboxesError, MailboxesUnavailable
from gateway.domain.ports import LEASE_SECONDS, Clock
from gateway.domain.update import Envelope
from gateway.logs import describe
from gateway.mailboxes.cluster import ClusterTransport
from gateway.mailboxes.keys import shard_of
from gateway.mailboxes.memory import MemoryMailboxes
from gateway.mailboxes.redis import RedisMailboxes

logger = logging.getLogger(__name__)

PROBE_SECONDS = 0.1
"""How often it is tried: a tenth of the time for which Redis settles."""

FULL_SECONDS = 1.0
"""A Redis that answers, but takes nothing, is full: it is not asked again at once."""

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
        away: the shards that are away, and from when on memory serves them: that is set
            here, and they are taken out as they come back.
    """

    def __init__(
        self,
        durable: RedisMailboxes,
        memory: MemoryMailboxes,
        transport: ClusterTransport,
        clock: Clock,
        away: dict[int, float],
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
        self._doubtful.add((envelope.lane, envelope.update_id))

    def note_done(self, lane: str, update_id: int) -> None:
        """Note an update that is done: Redis must not serve it again."""
        key = lane, update_id
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
            try:
                await self._probe()
                await self._withdraw_done()
                await self._bring()
                await self._bring_letters()
            except MailboxesError as error:
                # It went away again, or was full: what is left is tried again.
                logger.debug("not back yet", extra={"error": describe(error)})
        self._doubtful.clear()

    async def _probe(self) -> None:
        """Find out which shards take updates; let memory serve the others.

        Raises:
            MailboxesUnavailable: none can be reached.
        """
        down = self._transport.down
        answering = [] if down else await self._durable.probe(self._away)
        for shard in answering:
            del self._away[shard]
        if answering and not self._away:
            logger.warning("redis takes updates again")
        for shard, since in self._away.items():
            if since == inf:
                # Until then an actor may work under a claim that was made in Redis.
                leases_end = self._transport.answered(shard) + LEASE_SECONDS
                self._away[shard] = max(leases_end, self._clock.uptime())
        if down:
            raise MailboxesUnavailable("Redis does not answer")

    async def _withdraw_done(self) -> None:
        """Take out of Redis what was done from memory."""
        for key in [key for key in self._done if not self._is_away(key[0])]:
            await self._durable.withdraw(*key)
            self._done.remove(key)

    async def _bring(self) -> None:
        """Put what waits in memory into Redis.

        Raises:
            MailboxesError: Redis did not take some of it.
        """
        lanes = await self._memory.waiting(MOST_LANES)
        back = [self._bring_lane(lane) for lane in lanes if not self._is_away(lane)]
        for fault in await asyncio.gather(*back, return_exceptions=True):
            if fault is not None:
                raise fault

    async def _bring_lane(self, lane: str) -> None:
        for envelope in self._memory.mail(lane):
            self.doubt(envelope)
            await self._durable.put(envelope, claim=False, bounded=False)
            self._doubtful.discard((lane, envelope.update_id))
            self._memory.withdraw(lane, envelope.update_id)

    async def _bring_letters(self) -> None:
        for letter in self._memory.letters.all:
            if not self._is_away(letter.lane):
                await self._durable.bury(letter)
                self._memory.letters.withdraw(letter)

    def _is_away(self, lane: str) -> bool:
        return shard_of(lane.encode()).number in self._away
