"""The shards that take no updates: memory takes them meanwhile."""

import logging
from collections.abc import Collection, Iterator
from math import inf

from gateway.mailboxes.redis.keys import shard_number

logger = logging.getLogger(__name__)


class Away:
    """Which shards are away, and from when on memory serves what is theirs."""

    def __init__(self) -> None:
        self._served_from: dict[int, float] = {}

    def __len__(self) -> int:
        """Give how many are away."""
        return len(self._served_from)

    def __iter__(self) -> Iterator[int]:
        """Go through them."""
        return iter(tuple(self._served_from))

    def has(self, ordering_key: str) -> bool:
        """Tell whether a lane's shard is away."""
        if not self._served_from:
            return False
        return shard_number(ordering_key) in self._served_from

    def serves(self, ordering_key: str, now: float) -> bool:
        """Tell whether memory serves a lane by now, by `Clock.uptime`."""
        return now >= self._served_from.get(shard_number(ordering_key), inf)

    def add(self, shards: Collection[int]) -> None:
        """Let memory take the updates of more shards; it does not serve them yet."""
        if shards and not self._served_from:
            logger.error("redis takes no updates: memory takes them from now on")
        for shard in shards:
            self._served_from.setdefault(shard, inf)

    def serve(self, shard: int, since: float) -> None:
        """Let memory serve a shard from then on, unless it does already."""
        if self._served_from[shard] == inf:
            self._served_from[shard] = since

    def remove(self, shards: Collection[int]) -> None:
        """Give shards back."""
        for shard in shards:
            del self._served_from[shard]
        if shards and not self._served_from:
            logger.warning("redis takes updates again")
