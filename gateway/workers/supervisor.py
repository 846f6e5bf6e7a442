"""Processes that are kept running.

Concurrency: one event loop. A task per process starts it, waits for its end and starts
it again. The first stop asks all of them to end, which they do at the same time; a
second one kills them. While that goes on nothing is started again.

They are spawned, not forked: gRPC does not survive a fork. Each has a process group of
its own, so that Ctrl-C in a terminal does not reach it. Its standard input is a pipe
from here on which nothing ever comes: the end of it tells the process that this one is
gone, however it went.
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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 4.0
"""Seconds before a worker that ended is started again. With a longer delay, a gateway
whose workers are killed often would be left with the few that happen to run."""

HEALTHY_AFTER_SECONDS = 60.0
"""Seconds after which a worker counts as healthy: its next death begins anew."""

SHUTDOWN_GRACE_SECONDS = 8.0
"""What a worker has to end on top of its drain. Then it is killed."""

PROBE_INTERVAL_SECONDS = 2.0
MAX_MISSED_PROBES = 8
"""How often workers are asked for an answer, and how many are missed until one is held
to hang. A worker takes up to five seconds to start."""

_MAX_START_SECONDS = 10
"""One that ends later than that did start."""

_BAD_START_CODE = 2


def exit_with_parent(on_orphaned: Callable[[], None], shutdown_timeout: float) -> None:
    """Notice in a worker that the process above is gone, and do not outlive it.

    A thread waits for it, so that a worker whose event loop hangs ends, too.

    Args:
        on_orphaned: is called in the event loop that runs now, once.
        shutdown_timeout: how many seconds this process has left after that.
    """
    loop = asyncio.get_running_loop()

    def wait() -> None:
        os.read(0, 1)
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(on_orphaned)
        time.sleep(shutdown_timeout)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


class WorkerSupervisor:
    """The processes, by number.

    Args:
        commands: what to run, one for each worker.
        environment: all that they see of the environment.
        patience: how many seconds they may take to end before they are killed.
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
        """How often each worker was started again."""

    async def run(self) -> int:
        """Keep the workers running until `stop`, or until one cannot start.

        Returns:
            The exit code: 0 after a clean stop, 1 if a worker had to be killed or
            failed as it ended, 2 if one could not start, 128 and the number of the
            signal after a second signal.
        """
        async with asyncio.TaskGroup() as group:
            for number in range(len(self._commands)):
                group.create_task(self._keep_running(number), name=f"worker {number}")
            logger.info("starting workers", extra={"workers": len(self._commands)})
            await self._stopping.wait()
            logger.info("stopping workers")
            kill_timer = asyncio.get_running_loop().call_later(
                self._shutdown_timeout, self._kill_remaining
            )
        kill_timer.cancel()
        logger.info("workers stopped")
        return self._exit_code

    async def kill_unresponsive(
        self, find_unresponsive: Callable[[], Awaitable[set[int]]]
    ) -> None:
        """Kill workers that hang, for ever: they are given connections all the same.

        Args:
            find_unresponsive: tells which workers do not answer just now.
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
                    logger.error("worker hangs", extra={"worker": alive[pid]})
                    _send_signal(self._processes[alive[pid]], signal.SIGKILL)

    def stop(self, signal_number: signal.Signals) -> None:
        """Let the workers end; called again, kill them at once."""
        if self._stopping.is_set():
            self._exit_code = 128 + signal_number
            self._signal_all(signal.SIGKILL)
        else:
            self._begin_shutdown()

    def _begin_shutdown(self) -> None:
        self._stopping.set()
        self._signal_all(signal.SIGTERM)

    async def _keep_running(self, number: int) -> None:
        backoff = RestartBackoff()
        while not self._stopping.is_set():
            started_at = time.monotonic()
            restarted = self.restarts[number]
            code = await self._run_once(number)
            lived = time.monotonic() - started_at
            if self._stopping.is_set():
                self._record_exit_code(code)
            elif (
                code == _BAD_START_CODE and lived < _MAX_START_SECONDS and not restarted
            ):
                # It told why itself.
                self._exit_code = _BAD_START_CODE
                self._begin_shutdown()
            else:
                await self._wait_before_restart(
                    number, code, lived, backoff.next_delay(lived)
                )

    async def _run_once(self, number: int) -> int:
        """Run a worker from its start to its end; gives its exit code."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._commands[number],
                stdin=PIPE,
                env=self._environment,
                process_group=0,
            )
        except OSError as error:  # no memory or no process left
            logger.error("worker not spawned", extra={"errno": error.errno})  # noqa: TRY400 - expected under load, and no fault in our code
            return 1
        self._processes[number] = process
        try:
            if self._sent_signal:  # while it was spawned
                _send_signal(process, self._sent_signal)
            return await process.wait()
        finally:
            del self._processes[number]
            _send_signal(process, signal.SIGKILL)

    async def _wait_before_restart(
        self, number: int, code: int, lived: float, delay: float
    ) -> None:
        logger.error(
            "worker ended",
            extra={
                "worker": number,
                # A signal's number is negative, as Python has it.
                "code": code,
                "lived_seconds": round(lived, 1),
                "again_in_seconds": delay,
            },
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._stopping.wait()
        if not self._stopping.is_set():
            self.restarts[number] += 1

    def _record_exit_code(self, code: int) -> None:
        # One that was still starting ends by the signal itself: it had nothing yet.
        if code not in {0, -signal.SIGTERM}:
            self._exit_code = self._exit_code or 1

    def _kill_remaining(self) -> None:
        logger.error(
            "workers did not end in time", extra={"left": len(self._processes)}
        )
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, signal_number: signal.Signals) -> None:
        self._sent_signal = signal_number
        for process in self._processes.values():
            _send_signal(process, signal_number)


class RestartBackoff:
    """How long to wait until a worker is started again."""

    def __init__(self) -> None:
        self._delay = FIRST_DELAY_SECONDS

    def next_delay(self, lived: float) -> float:
        """Give the seconds to wait.

        Args:
            lived: how many seconds the worker lived this time.
        """
        if lived >= HEALTHY_AFTER_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        delay = self._delay
        self._delay = min(delay * 2, MAX_DELAY_SECONDS)
        return delay


def _send_signal(process: Process, signal_number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal_number)
