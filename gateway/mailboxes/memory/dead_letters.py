"""Dead letters held in memory: bounded in number, in size and in time."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from heapq import merge
from operator import itemgetter

from gateway.domain.update import DeadLetter
from gateway.mailboxes.serialization import REJECTED_REASONS, DeadLetterLimits

IN_MEMORY = DeadLetterLimits(updates=1000, rejected=100)
"""How many are kept by default."""

UPDATES_BYTES = 16 << 20
"""How many bytes of bodies the updates may hold together; again the oldest go first."""

REJECTED_BYTES = 2 << 20
"""The same for what never was an update."""


class KeptLetters:
    """The dead letters of one process, as long as it lives.

    Args:
        limits: how many are kept, and for how long.
    """

    def __init__(self, limits: DeadLetterLimits = IN_MEMORY) -> None:
        self._updates = _Letters(limits.updates, UPDATES_BYTES, limits.seconds)
        self._rejected = _Letters(limits.rejected, REJECTED_BYTES, limits.seconds)

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._updates) + len(self._rejected)

    @property
    def updates(self) -> int:
        """How many updates there were, those included that are gone."""
        return self._updates.count

    @property
    def rejected(self) -> int:
        """How many there were that never were updates, as above."""
        return self._rejected.count

    @property
    def all(self) -> Sequence[DeadLetter]:
        """Those that are kept, oldest first."""
        both = merge(self._updates, self._rejected, key=itemgetter(0))
        return tuple(dead_letter for _, dead_letter in both)

    def keep(self, dead_letter: DeadLetter, now: float) -> None:
        """Keep one more.

        Args:
            dead_letter: the dead letter.
            now: seconds by `Clock.uptime`.
        """
        kind = (
            self._rejected if dead_letter.reason in REJECTED_REASONS else self._updates
        )
        kind.keep(dead_letter, now)

    def trim(self, now: float) -> None:
        """Remove those that have been kept for long enough."""
        self._updates.trim(now)
        self._rejected.trim(now)

    def withdraw(self, dead_letter: DeadLetter) -> None:
        """Remove one, if it is still there."""
        self._updates.withdraw(dead_letter)
        self._rejected.withdraw(dead_letter)


class _Letters:
    """The dead letters of one kind."""

    def __init__(self, most: int, most_bytes: int, seconds: float) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._kept: OrderedDict[int, tuple[float, DeadLetter]] = OrderedDict()
        """By identity, since two may be equal; with the time of their arrival."""
        self._bytes = 0
        self.count = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[tuple[float, DeadLetter]]:
        return iter(self._kept.values())

    def keep(self, dead_letter: DeadLetter, now: float) -> None:
        self.withdraw(dead_letter)
        self._kept[id(dead_letter)] = now, dead_letter
        self._bytes += len(dead_letter.body)
        self.count += 1
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            self._drop_oldest()

    def trim(self, now: float) -> None:
        while self._kept and self._oldest <= now - self._seconds:
            self._drop_oldest()

    def withdraw(self, dead_letter: DeadLetter) -> None:
        if self._kept.pop(id(dead_letter), None) is not None:
            self._bytes -= len(dead_letter.body)

    @property
    def _oldest(self) -> float:
        kept_at, _ = next(iter(self._kept.values()))
        return kept_at

    def _drop_oldest(self) -> None:
        _, (_, dead_letter) = self._kept.popitem(last=False)
        self._bytes -= len(dead_letter.body)
