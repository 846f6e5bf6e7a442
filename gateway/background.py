"""Runs background tasks for the lifetime of the gateway.

asyncio reports a failed task only when its result is retrieved, which for an endless
task is at shutdown. Here a failure is logged at once and counted, and the task is
restarted after a delay. `/health` lists the tasks that failed recently.

Concurrency: all tasks of a process are in one task group, so none outlives the block
that opened the group. A component that starts a task cancels it, and waits for its end,
before it closes what the task uses; the end of the block cancels the tasks that are
left. A failure of one task never cancels another.

anyio cancels every await of a cancelled task, not only the first one. A clean-up that
awaits therefore needs `CancelScope(shield=True)`.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 30.0
"""Limits of the delay before a failed task is restarted, which doubles each time."""

FAILING_SECONDS = 60.0
"""How long after a failure a task counts as failing. If a task ran longer than this,
its delay starts at the minimum again."""

BackgroundTask = anyio.TaskHandle[None]


class BackgroundTasks:
    """The background tasks of a process, and their failures.

    Tasks can be started inside an `async with` block. Its end cancels them.
    """

    def __init__(self) -> None:
        self.failure_counts: Counter[str] = Counter()
        """The number of failures of each task, by name."""
        self._failed_at: dict[str, float] = {}
        self._group: TaskGroup

    async def __aenter__(self) -> Self:
        """Open the task group."""
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Cancel the tasks that are left, and wait for their end."""
        self._group.cancel_scope.cancel()
        # The tasks raise nothing. Without arguments, the group leaves an error of the
        # block as it is, and does not put it into an exception group.
        await self._group.__aexit__(None, None, None)

    @property
    def failing_tasks(self) -> list[str]:
        """The names of the tasks that failed in the last FAILING_SECONDS."""
        latest = time.monotonic() - FAILING_SECONDS
        return sorted(name for name, at in self._failed_at.items() if at > latest)

    def start(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        *,
        max_delay: float = MAX_DELAY_SECONDS,
    ) -> BackgroundTask:
        """Start a task, which runs until it returns, is cancelled, or the block ends.

        Args:
            name: the name in logs and metrics, from a small set of constants.
            run: the function of the task. It is called again after an exception; when
                it returns, the task is done.
            max_delay: the maximum delay, in seconds, before `run` is called again.

        Returns:
            The task, with which it can be cancelled: see `cancel_and_wait`.
        """
        return self._group.create_task(
            self._run_guarded(name, run, max_delay), name=name
        )

    @contextlib.asynccontextmanager
    async def running(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        *,
        max_delay: float = MAX_DELAY_SECONDS,
    ) -> AsyncIterator[None]:
        """Run a task inside the block, whose end cancels it and waits for its end.

        The arguments are those of `start`.
        """
        task = self.start(name, run, max_delay=max_delay)
        try:
            yield
        finally:
            await cancel_and_wait(task)

    async def _run_guarded(
        self, name: str, run: Callable[[], Awaitable[None]], max_delay: float
    ) -> None:
        task = asyncio.current_task()
        delay = FIRST_DELAY_SECONDS
        while True:
            started_at = time.monotonic()
            try:
                await run()
            except asyncio.CancelledError as error:
                if task is None or task.cancelling():
                    # gRPC raises an error of its own when its caller is cancelled. The
                    # task group would take it for a failure, and cancel all tasks.
                    await anyio.lowlevel.checkpoint_if_cancelled()
                    raise
                # This task was not cancelled, but something that it awaited.
                self._record_failure(name, error)
            except Exception as error:  # noqa: BLE001 - restarted after any error
                self._record_failure(name, error)
            else:
                return
            if time.monotonic() - started_at > FAILING_SECONDS:
                delay = FIRST_DELAY_SECONDS
            await asyncio.sleep(min(delay, max_delay))
            delay = min(2 * delay, MAX_DELAY_SECONDS)

    def _record_failure(self, name: str, error: BaseException) -> None:
        self.failure_counts[name] += 1
        self._failed_at[name] = time.monotonic()
        logger.error(
            "background_task_failed",
            extra={"task": name, "error": summarize_error(error)},
        )


async def cancel_and_wait(*tasks: asyncio.Task[Any] | BackgroundTask) -> None:
    """Cancel tasks and wait until they have ended. Their exceptions are ignored."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(
        *(
            task.wait() if isinstance(task, anyio.TaskHandle) else task
            for task in tasks
        ),
        return_exceptions=True,
    )
