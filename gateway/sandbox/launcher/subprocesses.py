"""Subprocesses of the sandbox.

Concurrency: one task starts, watches and stops them. Each has a process group of its
own, so that Ctrl-C in a terminal does not reach it: the sandbox stops them one after
the other. They inherit the sandbox's output.
"""

import asyncio
import contextlib
import ctypes
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from gateway.background import cancel_and_wait

T = TypeVar("T")

START_SECONDS = 30.0
"""Timeout until a process is ready; a slow laptop needs about five seconds."""
STOP_SECONDS = 10.0
"""Timeout until a process has ended; after it the process is killed."""
_POLL_SECONDS = 0.05
_SET_PARENT_DEATH_SIGNAL = 1  # linux/prctl.h


class ProcessExited(Exception):
    """A process ended by itself or did not start. The message is for people."""


class StopRequested(Exception):
    """A signal requested the stop of the sandbox."""


class Subprocesses:
    """The running processes by name, in the order in which they were started.

    Args:
        output: the file descriptor for their output, or None for the sandbox's own.
    """

    def __init__(self, output: int | None = None) -> None:
        self._output = output
        self._processes: dict[str, Process] = {}
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """End `watch`; a second call kills the processes at once."""
        if self._stop.is_set():
            for process in self._processes.values():
                _signal(process, signal.SIGKILL)
        self._stop.set()

    @asynccontextmanager
    async def running(
        self,
        name: str,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        ready: Callable[[], Awaitable[bool]],
    ) -> AsyncIterator[None]:
        """Run a Python module as a subprocess within the block.

        Args:
            name: its name in messages.
            arguments: the module and its arguments.
            environment: its complete environment.
            ready: returns whether it is ready.

        Raises:
            ProcessExited: it ended, or was not ready in time.
            StopRequested: a signal came before it was ready.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            *arguments,
            stdin=DEVNULL,
            stdout=self._output,
            env=environment,
            process_group=0,
            preexec_fn=_end_with_parent(),
        )
        self._processes[name] = process
        try:
            await self._until(ready, name)
            yield
        finally:
            await _end(process)

    async def watch(self) -> None:
        """Wait for `stop`.

        Raises:
            ProcessExited: a process ended by itself.
        """
        with contextlib.suppress(StopRequested):
            await self.run_during(asyncio.Event().wait())

    async def run_during(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` while the processes run, and return its result.

        Raises:
            ProcessExited: a process ended by itself; the work was cancelled.
            StopRequested: a signal came; the work was cancelled.
        """
        working = asyncio.create_task(work, name="work")
        others = [
            asyncio.create_task(process.wait(), name=name)
            for name, process in self._processes.items()
        ]
        others.append(asyncio.create_task(self._stop.wait(), name="stop"))
        try:
            await asyncio.wait({working, *others}, return_when="FIRST_COMPLETED")
            if working.done():
                return working.result()
            if not self._stop.is_set():
                self._check()
            raise StopRequested
        finally:
            await cancel_and_wait(working, *others)

    async def _until(self, ready: Callable[[], Awaitable[bool]], name: str) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not self._stop.is_set():
                    self._check()
                    if await ready():
                        return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise ProcessExited(
                f"the {name} did not answer in {START_SECONDS:g} s"
            ) from None
        raise StopRequested

    def _check(self) -> None:
        for name, process in self._processes.items():
            if process.returncode is not None:
                raise ProcessExited(
                    f"the {name} ended by itself with code {process.returncode}; "
                    "what it wrote is above"
                )


async def _end(process: Process) -> None:
    _signal(process, signal.SIGTERM)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
    finally:
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _end_with_parent() -> Callable[[], object] | None:
    """Return a hook that makes Linux end the process with the sandbox, or None."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    return partial(prctl, _SET_PARENT_DEATH_SIGNAL, signal.SIGTERM) if prctl else None
