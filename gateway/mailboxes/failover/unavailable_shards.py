"""The shards that take no updates: memory takes them meanwhile."""

import logging
from collections.abc import Collection, Iterator
from math import inf

from gateway.mailboxes.redis.keys import get_shard_number

logger = logging.getLogger(__name__)


class UnavailableShards:
    """Which shards are away, and from when on memory serves what is theirs."""

    def __init__(self) -> None:
        self._memory_allowed_at: dict[int, float] = {}

    def __len__(self) -> int:
        """Give how many are away."""
        return len(self._memory_allowed_at)

    def __iter__(self) -> Iterator[int]:
        """Go through them."""
        return iter(tuple(self._memory_allowed_at))

    def includes(self, ordering_key: str) -> bool:
        """Tell whether a lane's shard is away."""
        if not self._memory_allowed_at:
            return False
        return get_shard_number(ordering_key) in self._memory_allowed_at

    def memory_may_serve(self, ordering_key: str, now: float) -> bool:
        """Tell whether memory serves a lane by now, by `Clock.uptime`."""
        return now >= self._memory_allowed_at.get(get_shard_number(ordering_key), inf)

    def add(self, shards: Collection[int]) -> None:
        """Let memory take the updates of more shards; it does not serve them yet."""
        if shards and not self._memory_allowed_at:
            logger.error("redis takes no updates: memory takes them from now on")
        for shard in shards:
            self._memory_allowed_at.setdefault(shard, inf)

    def allow_memory(self, shard: int, since: float) -> None:
        """Let memory serve a shard from then on, unless it does already."""
        if self._memory_allowed_at[shard] == inf:
            self._memory_allowed_at[shard] = since

    def remove(self, shards: Collection[int]) -> None:
        """Give shards back."""
        for shard in shards:
            del self._memory_allowed_at[shard]
        if shards and not self._memory_allowed_at:
            logger.warning("redis takes updates again")
