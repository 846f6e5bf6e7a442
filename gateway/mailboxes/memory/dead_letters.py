"""Dead letters in the memory of one process, limited in number, size and age."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from heapq import merge
from operator import itemgetter

from gateway.domain.update import DeadLetter
from gateway.mailboxes.serialization import REJECTED_REASONS, DeadLetterLimits

DEFAULT_MEMORY_LIMITS = DeadLetterLimits(max_updates=1000, max_rejected=100)
"""The default limits of one process."""

MAX_UPDATES_BYTES = 16 << 20
"""The maximum total size of the update bodies; the oldest are removed first."""

MAX_REJECTED_BYTES = 2 << 20
"""The maximum total size of the bodies that never were updates."""


class MemoryDeadLetters:
    """The dead letters of one process, which are lost when it ends.

    Updates and rejected bodies (see `REJECTED_REASONS`) have separate limits. The
    oldest ones above a limit are removed, and those older than the retention time when
    `remove_expired` is called. Times are seconds by `Clock.uptime`.

    Args:
        limits: limits on their number and age.
    """

    def __init__(self, limits: DeadLetterLimits = DEFAULT_MEMORY_LIMITS) -> None:
        self._updates = _BoundedDeadLetters(
            limits.max_updates, MAX_UPDATES_BYTES, limits.retention_seconds
        )
        self._rejected = _BoundedDeadLetters(
            limits.max_rejected, MAX_REJECTED_BYTES, limits.retention_seconds
        )

    def __len__(self) -> int:
        """Return the number of dead letters that are stored now."""
        return len(self._updates) + len(self._rejected)

    @property
    def update_count(self) -> int:
        """How many updates were ever added, including those that were removed again."""
        return self._updates.added_count

    @property
    def rejected_count(self) -> int:
        """How many rejected bodies were ever added, including removed ones."""
        return self._rejected.added_count

    @property
    def entries(self) -> Sequence[DeadLetter]:
        """The dead letters that are stored now, oldest first."""
        both = merge(self._updates, self._rejected, key=itemgetter(0))
        return tuple(dead_letter for _, dead_letter in both)

    def add(self, dead_letter: DeadLetter, now: float) -> None:
        """Add a dead letter, and remove the oldest ones above the limits.

        Args:
            dead_letter: the dead letter; its reason decides which limits apply.
            now: the present time by `Clock.uptime`.
        """
        group = (
            self._rejected if dead_letter.reason in REJECTED_REASONS else self._updates
        )
        group.add(dead_letter, now)

    def remove_expired(self, now: float) -> None:
        """Remove the dead letters whose retention time is over.

        Args:
            now: the present time by `Clock.uptime`.
        """
        self._updates.remove_expired(now)
        self._rejected.remove_expired(now)

    def remove(self, dead_letter: DeadLetter) -> None:
        """Remove this dead letter object. Has no effect if it is not stored."""
        self._updates.remove(dead_letter)
        self._rejected.remove(dead_letter)


class _BoundedDeadLetters:
    """Dead letters that share one set of limits."""

    def __init__(
        self, max_count: int, max_bytes: int, retention_seconds: float
    ) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._retention_seconds = retention_seconds
        self._entries: OrderedDict[int, tuple[float, DeadLetter]] = OrderedDict()
        """The time and the dead letter, by identity: two dead letters may be equal."""
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
