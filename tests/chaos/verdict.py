"""What the checker found."""

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct, field


class Verdict(Struct):
    """What the checker found.

    Attributes:
        violations: by the promise that was broken, one line each.
        repeats: updates whose effects came again, by the fault that excuses it.
        unlogged: updates in the state whose outcome died with a worker.
        in_memory: what is excused because a worker without Redis served from memory.
        rolled_back: updates that are done, but not in the state, because a replica that
            did not know of it took over.
        failovers: seconds from the end of a worker to the last of its mailboxes' first
            effect elsewhere, where nothing else was broken.
    """

    violations: dict[str, list[str]] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=dict)
    unlogged: int = 0
    in_memory: Counter[str] = field(default_factory=Counter)
    rolled_back: int = 0
    failovers: list[float] = field(default_factory=list)

    def add(self, promise: str, lines: Iterable[str]) -> None:
        """Note what broke a promise."""
        self.violations.setdefault(promise, []).extend(lines)

    @property
    def broken(self) -> dict[str, list[str]]:
        """The promises that were broken."""
        return {name: lines for name, lines in self.violations.items() if lines}
