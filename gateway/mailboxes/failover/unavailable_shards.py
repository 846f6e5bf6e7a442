"""The shards that accept no updates, so that memory stores their updates."""

import logging
from collections.abc import Collection, Iterator
from math import inf

from gateway.mailboxes.redis.keys import get_shard_number

logger = logging.getLogger(__name__)


class UnavailableShards:
    """The unavailable shards, and when memory may start to serve their updates."""

    def __init__(self) -> None:
        self._memory_allowed_at: dict[int, float] = {}

    def __len__(self) -> int:
        """Return the number of unavailable shards."""
        return len(self._memory_allowed_at)

    def __iter__(self) -> Iterator[int]:
        """Iterate over the numbers of the unavailable shards."""
        return iter(tuple(self._memory_allowed_at))

    def includes(self, ordering_key: str) -> bool:
        """Return whether the shard of an ordering key is unavailable."""
        if not self._memory_allowed_at:
            return False
        return get_shard_number(ordering_key) in self._memory_allowed_at

    def memory_may_serve(self, ordering_key: str, now: float) -> bool:
        """Return whether memory may serve a mailbox.

        Args:
            ordering_key: the ordering key of the mailbox.
            now: seconds by `Clock.uptime`.
        """
        return now >= self._memory_allowed_at.get(get_shard_number(ordering_key), inf)

    def add(self, shards: Collection[int]) -> None:
        """Let memory store the updates of these shards, but not serve them yet."""
        if shards and not self._memory_allowed_at:
            logger.error("failover_started")
        for shard in shards:
            self._memory_allowed_at.setdefault(shard, inf)

    def allow_memory(self, shard: int, since: float) -> None:
        """Let memory serve a shard from a time on, unless it was allowed to before.

        Args:
            shard: the number of the shard.
            since: the time, in seconds by `Clock.uptime`.
        """
        if self._memory_allowed_at[shard] == inf:
            self._memory_allowed_at[shard] = since

    def remove(self, shards: Collection[int]) -> None:
        """Remove shards that are available again."""
        for shard in shards:
            del self._memory_allowed_at[shard]
        if shards and not self._memory_allowed_at:
            logger.warning("failover_ended")
