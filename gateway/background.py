"""Runs the tasks that go on for as long as the gateway does.

asyncio tells of a task that failed only when somebody asks for its result, which for an
endless task is at the stop. Here a failure is logged at once and counted, and the task
begins again after a pause. `/health` names it for as long as it may be failing still.

Concurrency: whoever starts a task cancels it and waits for its end; nothing else ends
it but its own return.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 30.0
"""Seconds before a task that failed begins again: from the one doubled to the other."""

FAILING_SECONDS = 60.0
"""For so long after a failure a task counts as failing. One that lived longer than that
begins again after the first pause."""


class BackgroundTasks:
    """The endless tasks of a process, and which of them fail."""

    def __init__(self) -> None:
        self.failure_counts: Counter[str] = Counter()
        """How often tasks failed, by name."""
        self._failed_at: dict[str, float] = {}

    @property
    def failing_tasks(self) -> list[str]:
        """The names of tasks that failed lately."""
        latest = time.monotonic() - FAILING_SECONDS
        return sorted(name for name, at in self._failed_at.items() if at > latest)

    def start(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        *,
        max_delay: float = MAX_DELAY_SECONDS,
    ) -> asyncio.Task[None]:
        """Start a task.

        Args:
            name: for logs and metrics, out of a short list.
            run: what it does; called again after it raised, and done when it returns.
            max_delay: seconds before it is called again, at most.
        """
        return asyncio.create_task(self._run_guarded(name, run, max_delay), name=name)

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
                    raise
                # Nobody cancelled this task: it waited for something that was.
                self._record_failure(name, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it begins again
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
            "background task failed",
            extra={"task": name, "error": summarize_error(error)},
        )
