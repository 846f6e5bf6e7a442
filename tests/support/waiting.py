"""The only way a test waits: for a condition.

The limit only ends a test that hangs. It proves nothing, and it is so long that no busy
machine reaches it: that something happens soon is shown by what it comes before.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

LIMIT = 100.0
"""Seconds after which a test hangs. pytest has a longer limit, for the whole test."""


async def wait_until(condition: Callable[[], object]) -> None:
    """Return as soon as the condition holds; fail if it does not within `LIMIT`.

    Args:
        condition: called again and again until it gives something true.
    """
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {LIMIT} s: {condition}")
        await asyncio.sleep(0.005)


async def wait_until_found(condition: Callable[[], Awaitable[object]]) -> None:
    """Do the same for a condition that has to be awaited."""
    end = time.monotonic() + LIMIT
    while not await condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {LIMIT} s: {condition}")
        await asyncio.sleep(0.01)
