"""The only way a test waits: for a condition, with a limit."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def wait_until(condition: Callable[[], object], within: float = 5.0) -> None:
    """Return as soon as the condition holds; fail if it does not within the limit.

    Args:
        condition: called again and again until it gives something true.
        within: the limit in seconds.
    """
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {condition}")
        await asyncio.sleep(0.005)


async def wait_until_found(
    condition: Callable[[], Awaitable[object]], within: float = 5.0
) -> None:
    """Do the same for a condition that has to be awaited."""
    end = time.monotonic() + within
    while not await condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {condition}")
        await asyncio.sleep(0.01)
