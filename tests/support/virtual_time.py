"""Time that passes only when nothing else can happen.

Whoever waits for a timer does not wait: when no callback is left to run, the clock of
the event loop jumps to the next timer. So a test sees all that happens in a minute, and
in the same order on every machine. It is for code without sockets, processes and
threads: time would not wait for them.
"""

import asyncio
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _JumpingSelector:
    """A selector that moves the clock instead of waiting."""

    def __init__(self, real: selectors.BaseSelector) -> None:
        self.passed = 0.0
        self._real = real

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors.BaseSelector.select`."""
        if timeout is None:  # no timer: only the outside can go on
            return self._real.select(None)
        events = self._real.select(0)
        if not events:
            self.passed += max(timeout, 0)
        return events

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is the real one's
        return getattr(self._real, name)


@contextmanager
def virtual_time() -> Iterator[None]:
    """Let the clock of the running event loop jump, inside of the block."""
    loop: Any = asyncio.get_running_loop()
    real = loop._selector  # noqa: SLF001 - asyncio has no public way
    selector = _JumpingSelector(real)
    start = loop.time()
    loop._selector = selector  # noqa: SLF001 - as above
    loop.time = lambda: start + selector.passed
    try:
        yield
    finally:
        del loop.time
        loop._selector = real  # noqa: SLF001 - as above
