"""Background tasks of what tests make."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from gateway.background import MAX_DELAY_SECONDS, BackgroundTasks, cancel_and_wait

T = TypeVar("T")


@asynccontextmanager
async def in_own_task(manager: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave a context in one task, as a task group needs it.

    pytest sets a fixture up in one task and tears it down in another one.
    """
    entered: asyncio.Queue[T] = asyncio.Queue()
    leave = asyncio.Event()

    async def hold() -> None:
        async with manager as value:
            entered.put_nowait(value)
            await leave.wait()

    holder = asyncio.create_task(hold(), name="holder of a context")
    entering = asyncio.create_task(entered.get())
    try:
        await asyncio.wait([holder, entering], return_when=asyncio.FIRST_COMPLETED)
        if not entering.done():
            await holder  # raises
        yield await entering
        leave.set()
        await holder
    finally:
        await cancel_and_wait(holder, entering)


class UnownedTasks(BackgroundTasks):
    """Background tasks without a group.

    For tests that make a part where they cannot wait, or end its tasks as a crash does.
    """

    def start(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        *,
        max_delay: float = MAX_DELAY_SECONDS,
    ) -> Any:  # noqa: ANN401 - a plain task in the place of a handle
        """Start a task that nobody ends but its maker."""
        return asyncio.create_task(self._run_guarded(name, run, max_delay), name=name)
