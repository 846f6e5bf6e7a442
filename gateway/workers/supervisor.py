"""Starts worker processes and restarts those that exit.

Concurrency: one event loop. A task per process starts it, waits for its exit and
restarts it; another task kills unresponsive processes. `run` ends these tasks. A task
that fails is restarted. The first stop asks all workers to shut down, which they do
concurrently; a second stop kills them. During shutdown no worker is restarted.

Workers are spawned, not forked: gRPC does not survive a fork. Each has its own process
group, so that Ctrl-C in a terminal does not reach it. Its standard input is a pipe from
the supervisor that never carries data: end of file tells the worker that the supervisor
has exited, for whatever reason.
"""

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import anyio

from gateway.background import BackgroundTask, BackgroundTasks, cancel_and_wait

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 4.0
"""Delay before an exited worker is restarted. With a longer maximum, a gateway whose
workers are killed often would have only few running workers."""

HEALTHY_AFTER_SECONDS = 60.0
"""Lifetime after which a worker counts as healthy, so that the delay starts over."""

SHUTDOWN_GRACE_SECONDS = 8.0
"""Time for a worker's exit in addition to `DRAIN_TIMEOUT`. Then it is killed."""

PROBE_INTERVAL_SECONDS = 2.0
MAX_MISSED_PROBES = 8
"""How often workers are probed, and how many consecutive probes a worker may miss until
it counts as unresponsive. A worker takes up to five seconds to start."""

_BAD_START_CODE = 2
"""The exit code of a worker that cannot start, for example with invalid settings. How
long it ran says nothing: on a busy machine the attempt takes many seconds."""


def exit_with_parent(on_orphaned: Callable[[], None], shutdown_timeout: float) -> None:
    """Watch in a thread for the end of the supervisor, and end this worker after it.

    The end is seen as the end of standard input, a pipe that the supervisor holds.
    Because a thread watches, even a worker whose event loop is blocked ends. Call this
    once, in the event loop.

    Args:
        on_orphaned: called once, in this event loop, after the supervisor has ended; it
            should begin a normal shutdown.
        shutdown_timeout: seconds after which the process then exits with status 1,
            whatever it is doing.
    """
    loop = asyncio.get_running_loop()

    def wait() -> None:
        os.read(0, 1)
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(on_orphaned)
        time.sleep(shutdown_timeout)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


class WorkerSupervisor:
    """Starts numbered worker processes, and starts each again when it ends.

    Args:
        commands: the command line of each worker; the index is its number.
        environment: the complete environment of the workers.
        shutdown_timeout: seconds from the first `stop` until workers that are still
            running are killed.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str | Path]],
        environment: Mapping[str, str],
        *,
        shutdown_timeout: float,
    ) -> None:
        self._commands = commands
        self._environment = environment
        self._shutdown_timeout = shutdown_timeout
        self._processes: dict[int, Process] = {}
        self._stopping = asyncio.Event()
        self._sent_signal: signal.Signals | None = None
        self._exit_code = 0
        self.restarts = [0] * len(commands)
        """Number of restarts of each worker."""

    async def run(
        self,
        background: BackgroundTasks,
        find_unresponsive: Callable[[], Awaitable[set[int]]],
    ) -> int:
        """Keep the workers running until `stop`, or until one cannot start at all.

        Then all workers are asked to shut down (SIGTERM), and killed if they take too
        long. This method returns when all have ended.

        Args:
            background: runs a task for each worker, and the one that kills unresponsive
                workers.
            find_unresponsive: returns the numbers of the workers that do not respond to
                a probe. A worker that misses `MAX_MISSED_PROBES` in a row is killed and
                restarted.

        Returns:
            The exit code: 0 after a clean stop, 1 if a worker had to be killed or
            failed during shutdown, 2 if a worker could not start, 128 plus the signal's
            number after a second signal.
        """
        tasks = [
            background.start(
                "keep worker running",
                partial(self._keep_running, number),
                max_delay=MAX_DELAY_SECONDS,
            )
            for number in range(len(self._commands))
        ]
        logger.info("workers_starting", extra={"workers": len(self._commands)})
        watchdog = background.start(
            "watch workers",
            partial(self._kill_unresponsive, find_unresponsive),
            max_delay=PROBE_INTERVAL_SECONDS,
        )
        await self._stopping.wait()
        logger.info("workers_stopping")
        with anyio.move_on_after(self._shutdown_timeout) as grace_period:
            await _wait_for_all(tasks)
        if grace_period.cancelled_caught:
            self._kill_remaining()
            await _wait_for_all(tasks)
        await cancel_and_wait(watchdog)
        logger.info("workers_stopped")
        return self._exit_code

    async def _kill_unresponsive(
        self, find_unresponsive: Callable[[], Awaitable[set[int]]]
    ) -> None:
        """Kill unresponsive workers until shutdown.

        The kernel keeps routing connections to them.
        """
        missed_probes: Counter[int] = Counter()
        while not self._stopping.is_set():
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)
            numbers = await find_unresponsive()
            alive = {self._processes[it].pid: it for it in self._processes}
            unresponsive = [pid for pid, number in alive.items() if number in numbers]
            missed_probes = Counter(
                {pid: missed_probes[pid] + 1 for pid in unresponsive}
            )
            for pid, times in missed_probes.items():
                if times >= MAX_MISSED_PROBES and not self._stopping.is_set():
                    logger.error("worker_unresponsive", extra={"worker": alive[pid]})
                    _send_signal(self._processes[alive[pid]], signal.SIGKILL)

    def stop(self, signal_number: signal.Signals) -> None:
        """Ask all workers to shut down; if called again, kill them at once.

        Does not wait: `run` returns when the workers have ended.

        Args:
            signal_number: the signal that this process received; a second one
                determines the exit code.
        """
        if self._stopping.is_set():
            self._exit_code = 128 + signal_number
            self._signal_all(signal.SIGKILL)
        else:
            self._begin_shutdown()

    def pass_on_hangup(self) -> None:
        """Send SIGHUP to all workers, which then look for changed contracts at once."""
        for process in self._processes.values():
            _send_signal(process, signal.SIGHUP)

    def _begin_shutdown(self) -> None:
        self._stopping.set()
        self._signal_all(signal.SIGTERM)

    async def _keep_running(self, number: int) -> None:
        backoff = RestartBackoff()
        while not self._stopping.is_set():
            started_at = time.monotonic()
            restarted = self.restarts[number]
            code = await self._run_once(number)
            if self._stopping.is_set():
                self._record_exit_code(code)
            elif code == _BAD_START_CODE and not restarted:
                # The worker has printed the reason.
                self._exit_code = _BAD_START_CODE
                self._begin_shutdown()
            else:
                lifetime = time.monotonic() - started_at
                await self._wait_before_restart(
                    number, code, lifetime, backoff.next_delay(lifetime)
                )

    async def _run_once(self, number: int) -> int:
        """Start a worker, wait for its exit and return its exit code."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._commands[number],
                stdin=PIPE,
                env=self._environment,
                process_group=0,
            )
        except OSError as error:  # no memory or no process left
            logger.error("worker_not_spawned", extra={"errno": error.errno})  # noqa: TRY400 - expected under load; a traceback would not help
            return 1
        self._processes[number] = process
        try:
            if self._sent_signal:  # while the process was being spawned
                _send_signal(process, self._sent_signal)
            return await process.wait()
        finally:
            del self._processes[number]
            _send_signal(process, signal.SIGKILL)

    async def _wait_before_restart(
        self, number: int, code: int, lifetime: float, delay: float
    ) -> None:
        logger.error(
            "worker_exited",
            extra={
                "worker": number,
                # As in `subprocess`, negative if a signal ended it.
                "exit_code": code,
                "lifetime_seconds": round(lifetime, 1),
                "restart_in_seconds": delay,
            },
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._stopping.wait()
        if not self._stopping.is_set():
            self.restarts[number] += 1

    def _record_exit_code(self, code: int) -> None:
        # A worker that was still starting has no handler yet: the signal ends it.
        if code not in {0, -signal.SIGTERM}:
            self._exit_code = self._exit_code or 1

    def _kill_remaining(self) -> None:
        logger.error(
            "workers_shutdown_timed_out", extra={"remaining": len(self._processes)}
        )
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, signal_number: signal.Signals) -> None:
        self._sent_signal = signal_number
        for process in self._processes.values():
            _send_signal(process, signal_number)


class RestartBackoff:
    """Computes the growing delays before the restarts of one worker."""

    def __init__(self) -> None:
        self._delay = FIRST_DELAY_SECONDS

    def next_delay(self, lifetime: float) -> float:
        """Return the seconds to wait before an ended worker is started again.

        Call it once for each end. The delay doubles each time, up to
        `MAX_DELAY_SECONDS`; it begins at `FIRST_DELAY_SECONDS`, and does so again after
        the worker has run for `HEALTHY_AFTER_SECONDS`.

        Args:
            lifetime: how many seconds the worker ran before this end.
        """
        if lifetime >= HEALTHY_AFTER_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        delay = self._delay
        self._delay = min(delay * 2, MAX_DELAY_SECONDS)
        return delay


async def _wait_for_all(tasks: Iterable[BackgroundTask]) -> None:
    for task in tasks:
        await task.wait()


def _send_signal(process: Process, signal_number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal_number)
