"""Child processes: started, waited for, read and ended by their process id.

Every child is ended at the end of its block, on SIGTERM and Ctrl-C too.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import IO, Any

from benchmarks.load import HOST

ROOT = Path(__file__).parent.parent
START_SECONDS = 20.0
_STOP_SECONDS = 10.0


def run(benchmark: Coroutine[Any, Any, None], within: float) -> None:
    """Run a benchmark, at most `within` seconds, and clean up however it ends."""

    async def bounded() -> None:
        task = asyncio.current_task()
        if task is not None:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
        async with asyncio.timeout(within):
            await benchmark

    asyncio.run(bounded())


def child(
    *module: str,
    settings: Mapping[str, str] | None = None,
    stdin: int = DEVNULL,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes] | None = None,
) -> AbstractAsyncContextManager[Process]:
    """Run a Python module, its name and its arguments; else as `program`."""
    return program(
        *(sys.executable, "-m", *module),
        settings=settings,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
    )


@asynccontextmanager
async def program(
    *command: str,
    settings: Mapping[str, str] | None = None,
    stdin: int = DEVNULL,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes] | None = None,
) -> AsyncIterator[Process]:
    """Run a program inside of the block.

    Args:
        command: its file and its arguments.
        settings: its environment. Nothing of ours gets through but what Python needs:
            no settings, and no proxy between processes of one machine.
        stdin: as in `subprocess`.
        stdout: as in `subprocess`.
        stderr: as in `subprocess`.
    """
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "generated")]),
        **(settings or {}),
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=environment,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        # Ctrl-C in a terminal is for this process alone, which then ends the others.
        process_group=0,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            process.terminate()
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def until(
    condition: Callable[[], Awaitable[bool]],
    what: str,
    within: float = START_SECONDS,
    every: float = 0.02,
) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not hold after `within` seconds.
    """
    end = time.monotonic() + within
    while not await condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {within:g} s for {what}")
        await asyncio.sleep(every)


def tree(pid: int) -> list[int]:
    """Give the ids of a process and of all that it started, and so on."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def memory(pid: int) -> int:
    """Give the bytes of memory that a process occupies: VmRSS of proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def cpu_seconds(pid: int) -> float:
    """Give the processor time that a process took so far.

    That of all its threads, also of those that ended; in nanoseconds, not in ticks. The
    number of the clock is what clock_getcpuclockid(3) gives on Linux.
    """
    return time.clock_gettime(~pid << 3 | 2)


def stolen_seconds() -> float:
    """Give the processor time that the machine's host took away so far: proc(5)."""
    cpu = Path("/proc/stat").read_text().partition("\n")[0]
    return int(cpu.split()[8]) / os.sysconf("SC_CLK_TCK")


def free_ports(count: int) -> list[int]:
    """Give ports of loopback that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind((HOST, 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
