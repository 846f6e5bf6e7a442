"""A subprocess that is started again when a developer changes a file.

Concurrency: one task, `run`, which starts and ends the process. When the task is
cancelled, it ends the process; see `subprocesses.py`.
"""

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from pathlib import Path

from anyio import CancelScope

from gateway.sandbox.launcher.watched_files import WatchedFiles

StartProcess = Callable[[], Awaitable[Process]]
EndProcess = Callable[[Process], Awaitable[None]]


async def _accept_any_change() -> bool:
    return True


class RestartingProcess:
    """A subprocess that is started again when one of its files changes.

    If the process ends by itself, it is started again with the next change.

    Args:
        name: the name of the process in messages.
        start: starts the process. Raises OSError if its program cannot be run.
        end: ends the process that it gets.
        files: the files that are watched.
        check: called after a change; returns whether to start the process again. If it
            returns False, the process goes on, and the function has told why.

    Attributes:
        process: the process; None before the first start, during a restart, and if the
            program could not be run.
    """

    def __init__(
        self,
        name: str,
        start: StartProcess,
        end: EndProcess,
        files: WatchedFiles,
        check: Callable[[], Awaitable[bool]] = _accept_any_change,
    ) -> None:
        self.process: Process | None = None
        self._name = name
        self._start = start
        self._end = end
        self._files = files
        self._check = check

    @property
    def has_ended(self) -> bool:
        """Whether the process was started and has ended by itself."""
        return self.process is not None and self.process.returncode is not None

    async def run(self) -> None:
        """Start the process, restart it after changes, and end it when cancelled."""
        try:
            while True:
                await self._try_start()
                changed = await self._wait_for_change()
                _write(f"{self._name}: {_describe(changed)}; starting it again")
                await self._stop()
        finally:
            with CancelScope(shield=True):
                await self._stop()

    async def _try_start(self) -> None:
        try:
            self.process = await self._start()
        except OSError as error:
            _write(f"{self._name}: cannot be started: {error.strerror}")

    async def _stop(self) -> None:
        if self.process is not None:
            await self._end(self.process)
            self.process = None

    async def _wait_for_change(self) -> list[Path]:
        """Wait for a change after which the process is to be started again."""
        reporting = asyncio.create_task(self._report_end(), name="report the end")
        try:
            while True:
                changed = await self._files.wait_for_change()
                if await self._check():
                    return changed
        finally:
            reporting.cancel()

    async def _report_end(self) -> None:
        if self.process is not None:
            code = await self.process.wait()
            _write(
                f"{self._name}: ended with code {code}; "
                "it is started again when one of its files changes"
            )


def _describe(changed: list[Path]) -> str:
    first, *others = (path.name for path in changed)
    more = f" and {len(others)} more" if others else ""
    return f"{first}{more} changed"


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
