"""Starts, watches and stops the subprocesses of the sandbox.

Concurrency: one task starts, watches and stops them; those that are started again when
a file changes have a task each, see `restarting_process.py`. Each process has a process
group of its own, so that Ctrl-C in a terminal does not reach it: the sandbox stops them
one after the other, by SIGTERM and after ten seconds by SIGKILL. They inherit the
sandbox's output.
"""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from gateway.background import cancel_and_wait
from gateway.sandbox.launcher.program import Program, start_program
from gateway.sandbox.launcher.restarting_process import RestartingProcess
from gateway.sandbox.launcher.watched_files import WatchedFiles

T = TypeVar("T")

START_SECONDS = 30.0
"""Timeout until a process is ready; a slow laptop needs about five seconds."""
STOP_SECONDS = 10.0
"""Timeout until a process has ended; after it the process is killed."""
_POLL_SECONDS = 0.05


class ProcessExited(Exception):
    """A process ended by itself or did not start. The message says which one."""


class StopRequested(Exception):
    """`Subprocesses.stop` was called, usually after a signal."""


async def _is_ready() -> bool:
    return True


class Subprocesses:
    """Runs subprocesses, and notices when one ends by itself.

    Args:
        output: the file descriptor for the output of the processes; None for the
            sandbox's own.
    """

    def __init__(self, output: int | None = None) -> None:
        self._output = output
        self._processes: dict[str, Process] = {}
        self._restarting: list[RestartingProcess] = []
        self._restarting_tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Make `watch` return, so that the caller ends the processes.

        A second call kills the processes at once.
        """
        if self._stop.is_set():
            restarting = (each.process for each in self._restarting)
            for process in (*self._processes.values(), *restarting):
                if process is not None:
                    _signal(process, signal.SIGKILL)
        self._stop.set()

    def running(
        self,
        name: str,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        ready: Callable[[], Awaitable[bool]],
        *,
        files: WatchedFiles | None = None,
        check: Callable[[], Awaitable[bool]] = _is_ready,
    ) -> AbstractAsyncContextManager[None]:
        """Run a Python module as a subprocess within the block.

        The block begins when the process is ready, for which it has 30 seconds.

        Args:
            name: the name of the process in messages.
            arguments: the module and its arguments.
            environment: the complete environment of the process.
            ready: returns whether the process is ready.
            files: the files whose change restarts the process; None for no restarts.
            check: called after a change; returns whether to restart the process.

        Raises:
            ProcessExited: the process ended, or was not ready in time.
            StopRequested: `stop` was called before the process was ready.
        """
        program = Program(
            name=name,
            arguments=(sys.executable, "-P", "-m", *arguments),
            environment=environment,
        )
        if files is None:
            return self._running_once(program, ready)
        return self._running_again(program, ready, files, check)

    def running_program(
        self,
        program: Program,
        files: WatchedFiles | None = None,
        ready: Callable[[], Awaitable[bool]] | None = None,
    ) -> AbstractAsyncContextManager[None]:
        """Run any program as a subprocess within the block.

        Args:
            program: the program.
            files: the files whose change restarts the program; None for no restarts.
            ready: returns whether the program is ready, for which it has 30 seconds;
                None to begin the block at once.

        Raises:
            ProcessExited: the program cannot be started, or was not ready in time.
            StopRequested: `stop` was called before the program was ready.
        """
        if files is None:
            return self._running_once(program, ready or _is_ready)
        return self._running_again(program, ready, files, _is_ready)

    @asynccontextmanager
    async def _running_once(
        self, program: Program, ready: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[None]:
        try:
            process = await start_program(program, self._output)
        except OSError as error:
            raise ProcessExited(
                f"the {program.name} cannot be started: {error.strerror}"
            ) from None
        self._processes[program.name] = process
        try:
            await self._until(ready, program.name)
            yield
        finally:
            await _end(process, has_children=program.has_children)

    @asynccontextmanager
    async def _running_again(
        self,
        program: Program,
        ready: Callable[[], Awaitable[bool]] | None,
        files: WatchedFiles,
        check: Callable[[], Awaitable[bool]],
    ) -> AsyncIterator[None]:
        restarting = RestartingProcess(
            program.name,
            partial(start_program, program, self._output),
            partial(_end, has_children=program.has_children),
            files,
            check,
        )
        self._restarting.append(restarting)
        task = asyncio.create_task(restarting.run(), name=program.name)
        self._restarting_tasks.append(task)
        try:
            if ready is not None:
                await self._until(ready, program.name, restarting)
            yield
        finally:
            self._restarting_tasks.remove(task)
            await cancel_and_wait(task)

    async def watch(self) -> None:
        """Wait until `stop` is called. The processes run on.

        Raises:
            ProcessExited: a process ended by itself.
        """
        with contextlib.suppress(StopRequested):
            await self.run_during(asyncio.Event().wait())

    async def run_during(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine while the processes run, and return its result.

        Raises:
            ProcessExited: a process ended by itself; the coroutine was cancelled.
            StopRequested: `stop` was called; the coroutine was cancelled.
        """
        working = asyncio.create_task(work, name="work")
        others = [
            asyncio.create_task(process.wait(), name=name)
            for name, process in self._processes.items()
        ]
        others.append(asyncio.create_task(self._stop.wait(), name="stop"))
        try:
            await asyncio.wait(
                {working, *others, *self._restarting_tasks},
                return_when="FIRST_COMPLETED",
            )
            if working.done():
                return working.result()
            if not self._stop.is_set():
                self._check()
            raise StopRequested
        finally:
            await cancel_and_wait(working, *others)

    async def _until(
        self,
        ready: Callable[[], Awaitable[bool]],
        name: str,
        restarting: RestartingProcess | None = None,
    ) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not self._stop.is_set():
                    self._check()
                    if restarting is not None and restarting.has_ended:
                        raise ProcessExited(f"the {name} did not start")
                    if await ready():
                        return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise ProcessExited(
                f"the {name} did not answer in {START_SECONDS:g} s"
            ) from None
        raise StopRequested

    def _check(self) -> None:
        for task in self._restarting_tasks:
            if task.done():
                task.result()  # raises the error for which it has ended
        for name, process in self._processes.items():
            if process.returncode is not None:
                raise ProcessExited(
                    f"the {name} ended by itself with code {process.returncode}; "
                    "what it wrote is above"
                )


async def _end(process: Process, *, has_children: bool = False) -> None:
    send = _signal_group if has_children else _signal
    send(process, signal.SIGTERM)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
    finally:
        send(process, signal.SIGKILL)
        await process.wait()


def _signal_group(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process and to all processes that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
