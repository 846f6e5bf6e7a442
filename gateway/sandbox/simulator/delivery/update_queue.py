"""The updates of a bot that are not confirmed yet, in the order of their creation."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice

from msgspec import Struct

MAX_PENDING = 100_000
"""Maximum number of updates; beyond it Telegram loses new ones (td: TQueue.cpp)."""


class PendingUpdate(Struct, frozen=True):
    """An update that waits for its delivery.

    Attributes:
        update_id: the id of the update.
        key: the key of the queue that it belongs to; see `update_types.py`.
        body: the update as JSON.
        expires_at: when the update is dropped, in seconds since the epoch.
        bot_id: the id of the bot that gets it.
    """

    update_id: int
    key: int
    body: bytes
    expires_at: float
    bot_id: int = 0


class UpdateQueue:
    """The queues of a bot's updates, by key. Of each, one update is sent at a time.

    Args:
        changed: called after each change.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._all: OrderedDict[int, PendingUpdate] = OrderedDict()
        self._by_key: OrderedDict[int, OrderedDict[int, PendingUpdate]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def append(self, pending: PendingUpdate) -> bool:
        """Add an update; return False, without adding it, if there are too many."""
        if len(self._all) >= MAX_PENDING:
            return False
        self._all[pending.update_id] = pending
        self._by_key.setdefault(pending.key, OrderedDict())[pending.update_id] = pending
        self._changed()
        return True

    def remove(self, pending: PendingUpdate) -> None:
        """Remove an update if it is still queued."""
        if not self._all.pop(pending.update_id, None):
            return
        queue = self._by_key[pending.key]
        del queue[pending.update_id]
        if not queue:
            del self._by_key[pending.key]
        self._changed()

    def clear(self) -> list[PendingUpdate]:
        """Remove all updates and return them."""
        removed = list(self._all.values())
        self._all.clear()
        self._by_key.clear()
        self._changed()
        return removed

    def head(self, key: int) -> PendingUpdate | None:
        """Return the oldest update of the queue with a key; None if it has none."""
        return next(iter(self._by_key.get(key, {}).values()), None)

    def keys(self) -> Iterable[int]:
        """Return the keys of all queues that have updates, the oldest queue first."""
        return self._by_key.keys()

    def oldest(self, limit: int) -> list[PendingUpdate]:
        """Return up to `limit` updates of all queues, oldest first."""
        return list(islice(self._all.values(), limit))

    def older_than(self, update_id: int) -> list[PendingUpdate]:
        """Return the updates of all queues with a lower id."""
        return [each for each in self._all.values() if each.update_id < update_id]
