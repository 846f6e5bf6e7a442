"""One timer of the event loop for everything that waits for the same delay."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedTimer(Generic[T]):
    """Calls a function for each entry that is still present after a fixed delay.

    Nearly all entries are removed before they are due, so a timer for each would be
    wasted. All wait for the same delay, so the oldest entry is always due first.

    Args:
        delay: seconds from the addition of an entry to its call.
        on_due: called with the entry, which has been removed, and with the time when it
            was due, by the clock of the event loop.
    """

    def __init__(self, delay: float, on_due: Callable[[T, float], None]) -> None:
        self._delay = delay
        self._on_due = on_due
        self._due_times: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        """The timer for the oldest entry, or for one that was removed meanwhile."""

    def __iter__(self) -> Iterator[T]:
        return iter(self._due_times)

    def add(self, entry: T) -> None:
        """Add an entry, which must not be present yet, and start its delay."""
        loop = asyncio.get_running_loop()
        self._due_times[entry] = due_at = loop.time() + self._delay
        if self._timer is None:
            self._timer = loop.call_at(due_at, self._call_due)

    def remove(self, entry: T) -> None:
        """Remove an entry, if it is present: the function is not called for it."""
        self._due_times.pop(entry, None)

    def _call_due(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        for entry, due_at in list(self._due_times.items()):
            if due_at > loop.time():
                self._timer = loop.call_at(due_at, self._call_due)
                return
            del self._due_times[entry]
            self._on_due(entry, due_at)
