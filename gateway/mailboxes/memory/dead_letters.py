"""Dead letters held in memory: bounded in number, in size and in time."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from heapq import merge
from operator import itemgetter

from gateway.domain.update import DeadLetter
from gateway.mailboxes.serialization import REJECTED_REASONS, DeadLetterLimits

DEFAULT_MEMORY_LIMITS = DeadLetterLimits(max_updates=1000, max_rejected=100)
"""How many are kept by default."""

MAX_UPDATES_BYTES = 16 << 20
"""How many bytes of bodies the updates may hold together; again the oldest go first."""

MAX_REJECTED_BYTES = 2 << 20
"""The same for what never was an update."""


class MemoryDeadLetters:
    """The dead letters of one process, as long as it lives.

    Args:
        limits: how many are kept, and for how long.
    """

    def __init__(self, limits: DeadLetterLimits = DEFAULT_MEMORY_LIMITS) -> None:
        self._updates = _BoundedDeadLetters(
            limits.max_updates, MAX_UPDATES_BYTES, limits.retention_seconds
        )
        self._rejected = _BoundedDeadLetters(
            limits.max_rejected, MAX_REJECTED_BYTES, limits.retention_seconds
        )

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._updates) + len(self._rejected)

    @property
    def update_count(self) -> int:
        """How many updates there were, those included that are gone."""
        return self._updates.added_count

    @property
    def rejected_count(self) -> int:
        """How many there were that never were updates, as above."""
        return self._rejected.added_count

    @property
    def entries(self) -> Sequence[DeadLetter]:
        """Those that are kept, oldest first."""
        both = merge(self._updates, self._rejected, key=itemgetter(0))
        return tuple(dead_letter for _, dead_letter in both)

    def add(self, dead_letter: DeadLetter, now: float) -> None:
        """Keep one more.

        Args:
            dead_letter: the dead letter.
            now: seconds by `Clock.uptime`.
        """
        group = (
            self._rejected if dead_letter.reason in REJECTED_REASONS else self._updates
        )
        group.add(dead_letter, now)

    def remove_expired(self, now: float) -> None:
        """Remove those that have been kept for long enough."""
        self._updates.remove_expired(now)
        self._rejected.remove_expired(now)

    def remove(self, dead_letter: DeadLetter) -> None:
        """Remove one, if it is still there."""
        self._updates.remove(dead_letter)
        self._rejected.remove(dead_letter)


class _BoundedDeadLetters:
    """The dead letters of one kind."""

    def __init__(
        self, max_count: int, max_bytes: int, retention_seconds: float
    ) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._retention_seconds = retention_seconds
        self._entries: OrderedDict[int, tuple[float, DeadLetter]] = OrderedDict()
        """By identity, since two may be equal; with the time of their arrival."""
        self._total_bytes = 0
        self.added_count = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[float, DeadLetter]]:
        return iter(self._entries.values())

    def add(self, dead_letter: DeadLetter, now: float) -> None:
        self.remove(dead_letter)
        self._entries[id(dead_letter)] = now, dead_letter
        self._total_bytes += len(dead_letter.body)
        self.added_count += 1
        while (
            len(self._entries) > self._max_count or self._total_bytes > self._max_bytes
        ):
            self._remove_oldest()

    def remove_expired(self, now: float) -> None:
        while self._entries and self._oldest_time <= now - self._retention_seconds:
            self._remove_oldest()

    def remove(self, dead_letter: DeadLetter) -> None:
        if self._entries.pop(id(dead_letter), None) is not None:
            self._total_bytes -= len(dead_letter.body)

    @property
    def _oldest_time(self) -> float:
        added_at, _ = next(iter(self._entries.values()))
        return added_at

    def _remove_oldest(self) -> None:
        _, (_, dead_letter) = self._entries.popitem(last=False)
        self._total_bytes -= len(dead_letter.body)
