"""The updates that were not confirmed yet, in the order of their creation."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice

from msgspec import Struct

LIMIT = 100_000
"""Updates of one bot; beyond it Telegram loses new ones (td: TQueue.cpp)."""


class Waiting(Struct, frozen=True):
    """An update that waits.

    Attributes:
        update_id: its number.
        key: of the queue in which it waits; see `update_kinds`.
        body: the update as JSON.
        expires_at: when it is dropped, in seconds since the epoch.
    """

    update_id: int
    key: int
    body: bytes
    expires_at: float


class UpdateQueue:
    """All queues of a bot.

    Args:
        changed: called after each change.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._all: OrderedDict[int, Waiting] = OrderedDict()
        self._by_key: OrderedDict[int, OrderedDict[int, Waiting]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def append(self, waiting: Waiting) -> bool:
        """Queue an update. False: there is no room, it is lost."""
        if len(self._all) >= LIMIT:
            return False
        self._all[waiting.update_id] = waiting
        self._by_key.setdefault(waiting.key, OrderedDict())[waiting.update_id] = waiting
        self._changed()
        return True

    def remove(self, waiting: Waiting) -> None:
        """Take an update out, if it is still there."""
        if not self._all.pop(waiting.update_id, None):
            return
        queue = self._by_key[waiting.key]
        del queue[waiting.update_id]
        if not queue:
            del self._by_key[waiting.key]
        self._changed()

    def clear(self) -> list[Waiting]:
        """Take all updates out, and give them."""
        removed = list(self._all.values())
        self._all.clear()
        self._by_key.clear()
        self._changed()
        return removed

    def head(self, key: int) -> Waiting | None:
        """Give the oldest update of a queue. None: it is empty."""
        return next(iter(self._by_key.get(key, {}).values()), None)

    def keys(self) -> Iterable[int]:
        """Give the keys of all queues that are not empty, the oldest first."""
        return self._by_key.keys()

    def oldest(self, limit: int) -> list[Waiting]:
        """Give the oldest updates of all queues."""
        return list(islice(self._all.values(), limit))

    def older_than(self, update_id: int) -> list[Waiting]:
        """Give the updates with a lower number."""
        return [each for each in self._all.values() if each.update_id < update_id]
