"""Processes that are kept running, with small ones in the gateway's place."""

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway import background as background_module
from gateway.background import BackgroundTasks
from gateway.workers import supervisor
from gateway.workers.supervisor import RestartBackoff, WorkerSupervisor
from tests.support.failing import break_once, failed
from tests.support.waiting import LIMIT, wait_until

POLITE = "import time; time.sleep(3600)"
STUBBORN = """
import signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
with open(sys.argv[1], "a") as file: file.write("up ")
time.sleep(3600)
"""
SORE = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
with open(sys.argv[1], "a") as file: file.write("up ")
signal.sigwait({signal.SIGTERM})
sys.exit(3)
"""
DYING = """
import sys
with open(sys.argv[1], "a") as file: file.write("up ")
sys.exit(3)
"""
MORTAL = """
import sys, time
with open(sys.argv[1], "a+") as file:
    file.seek(0)
    starts = file.read().count("up ")
    file.write("up ")
if starts < 3:
    sys.exit(3)
time.sleep(3600)
"""
"""Dies three times."""

UNABLE = "import sys; sys.exit(2)"
READER = """
import sys
with open(sys.argv[1], "a") as file: file.write("up ")
sys.stdin.read()
"""
HANGING = """
import asyncio, sys, time
from gateway.workers.supervisor import exit_with_parent

async def main():
    exit_with_parent(lambda: print("orphaned", flush=True), float(sys.argv[2]))
    print("up", flush=True)
    if sys.argv[1] == "busy":
        time.sleep(3600)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file in which a process notes that it runs."""
    file = tmp_path / "notes"
    file.touch()
    return file


def workers_of(*scripts: str, file: Path, patience: float = 10) -> WorkerSupervisor:
    """Make workers out of Python scripts."""
    commands = [(sys.executable, "-c", script, file) for script in scripts]
    return WorkerSupervisor(commands, {}, shutdown_timeout=patience)


async def all_respond() -> set[int]:
    return set()


async def run(
    workers: WorkerSupervisor,
    find_unresponsive: Callable[[], Awaitable[set[int]]] = all_respond,
) -> int:
    async with BackgroundTasks() as background:
        return await workers.run(background, find_unresponsive)


def starts(file: Path) -> int:
    """Count the starts that were noted."""
    return file.read_text().count("up")


def test_the_delay_doubles_up_to_a_limit() -> None:
    """A worker that is killed again and again still comes back within seconds."""
    backoff = RestartBackoff()
    delays = [backoff.next_delay(lifetime=1) for _ in range(9)]
    assert delays == [0.5, 1, 2, 4, 4, 4, 4, 4, 4]


def test_the_delay_begins_again_after_a_long_life() -> None:
    """One death a day is not held against the next one."""
    backoff = RestartBackoff()
    assert [backoff.next_delay(lifetime=59.9) for _ in range(3)] == [0.5, 1, 2]
    assert backoff.next_delay(lifetime=60) == 0.5
    assert backoff.next_delay(lifetime=1) == 1


async def test_a_dead_worker_is_started_again(
    monkeypatch: pytest.MonkeyPatch, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each death is counted and is one line in the log."""
    monkeypatch.setattr(supervisor, "FIRST_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "MAX_DELAY_SECONDS", 0.01)
    workers = workers_of(MORTAL, POLITE, file=file)
    running = asyncio.create_task(run(workers))
    await wait_until(lambda: starts(file) == 4)
    workers.stop(signal.SIGTERM)
    assert await asyncio.wait_for(running, LIMIT) == 0
    deaths = [it for it in caplog.records if it.message == "worker_exited"]
    assert [(vars(it)["worker"], vars(it)["exit_code"]) for it in deaths] == [
        (0, 3)
    ] * 3
    assert workers.restarts == [3, 0]


async def test_nothing_is_started_again_while_it_stops(
    monkeypatch: pytest.MonkeyPatch, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also not if a worker waits for its next start."""
    monkeypatch.setattr(supervisor, "FIRST_DELAY_SECONDS", 3600)
    workers = workers_of(DYING, file=file)
    running = asyncio.create_task(run(workers))
    await wait_until(lambda: "worker_exited" in caplog.messages)
    workers.stop(signal.SIGTERM)
    assert await asyncio.wait_for(running, LIMIT) == 0
    assert starts(file) == 1


async def test_a_clean_stop_gives_0(file: Path) -> None:
    """Also if a worker was still starting, and the signal ended it."""
    workers = workers_of(POLITE, POLITE, file=file)
    running = asyncio.create_task(run(workers))
    workers.stop(signal.SIGTERM)
    assert await asyncio.wait_for(running, LIMIT) == 0


async def test_a_worker_that_fails_at_its_end_gives_1(file: Path) -> None:
    """Something of its work may be left."""
    workers = workers_of(SORE, file=file)
    running = asyncio.create_task(run(workers))
    await wait_until(lambda: starts(file) == 1)
    workers.stop(signal.SIGTERM)
    assert await asyncio.wait_for(running, LIMIT) == 1


async def test_a_stubborn_worker_is_killed(file: Path) -> None:
    """It has its time to end, and not more; the exit code tells."""
    workers = workers_of(STUBBORN, POLITE, file=file, patience=0.2)
    running = asyncio.create_task(run(workers))
    await wait_until(lambda: starts(file) == 1)
    begin = time.monotonic()
    workers.stop(signal.SIGTERM)
    assert await asyncio.wait_for(running, LIMIT) == 1
    assert time.monotonic() - begin >= 0.2


async def test_a_second_signal_kills_at_once(file: Path) -> None:
    """Whoever insists does not wait; the code is the shell's for that signal."""
    workers = workers_of(STUBBORN, STUBBORN, file=file)
    running = asyncio.create_task(run(workers))
    await wait_until(lambda: starts(file) == 2)
    workers.stop(signal.SIGINT)
    workers.stop(signal.SIGINT)
    assert await asyncio.wait_for(running, LIMIT) == 128 + signal.SIGINT


async def test_one_that_hangs_is_replaced(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After several silences, not after one; the others live on."""
    monkeypatch.setattr(supervisor, "PROBE_INTERVAL_SECONDS", 0.02)
    workers = workers_of(STUBBORN, STUBBORN, file=file)
    asked = 0

    async def silent() -> set[int]:
        nonlocal asked
        if starts(file) < 2 or workers.restarts[1]:  # they take their time to start
            return set()
        asked += 1
        return {0, 1} if asked % 3 else {1}

    running = asyncio.create_task(run(workers, silent))
    await wait_until(lambda: starts(file) == 3)
    assert workers.restarts == [0, 1]
    assert asked > supervisor.MAX_MISSED_PROBES
    workers.stop(signal.SIGTERM)
    workers.stop(signal.SIGTERM)
    await asyncio.wait_for(running, LIMIT)


async def test_one_that_cannot_start_ends_all(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    """What keeps one from starting keeps the others, too, after however long."""
    a_minute = itertools.count(step=60)
    clock = SimpleNamespace(monotonic=lambda: next(a_minute))
    monkeypatch.setattr(supervisor, "time", clock)
    workers = workers_of(POLITE, UNABLE, file=file)
    assert await asyncio.wait_for(run(workers), LIMIT) == 2
    assert workers.restarts == [0, 0]


async def test_what_cannot_be_spawned_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine without memory for a process is not the end of the others."""
    monkeypatch.setattr(supervisor, "FIRST_DELAY_SECONDS", 0.01)
    workers = WorkerSupervisor([(tmp_path / "no program",)], {}, shutdown_timeout=10)
    running = asyncio.create_task(run(workers))
    await wait_until(lambda: workers.restarts[0] >= 2)
    workers.stop(signal.SIGTERM)
    assert await asyncio.wait_for(running, LIMIT) == 0


async def test_standard_input_stays_open(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    """Its end would tell the worker that nobody is above it any more."""
    monkeypatch.setattr(supervisor, "FIRST_DELAY_SECONDS", 0.01)
    workers = workers_of(READER, DYING, file=file)
    running = asyncio.create_task(run(workers))
    await wait_until(lambda: workers.restarts[1] >= 3)
    assert workers.restarts[0] == 0
    workers.stop(signal.SIGTERM)
    await running


@pytest.mark.parametrize(
    ("manner", "seconds", "says"), [("idle", 2.0, b"orphaned\n"), ("busy", 0.2, b"")]
)
async def test_a_worker_does_not_outlive_the_process_above_it(
    manner: str, seconds: float, says: bytes
) -> None:
    """It is told, and has its time; one whose event loop hangs ends all the same."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HANGING,
        manner,
        str(seconds),
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert await asyncio.wait_for(worker.stdout.readline(), LIMIT) == b"up\n"
    worker.stdin.close()
    begin = time.monotonic()
    assert await asyncio.wait_for(worker.stdout.read(), LIMIT) == says
    assert await worker.wait() == 1
    assert time.monotonic() - begin >= seconds


async def test_a_failure_of_what_keeps_a_worker_running_is_no_end(
    monkeypatch: pytest.MonkeyPatch, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background_module, "FIRST_DELAY_SECONDS", 0.01)
    keep = break_once(monkeypatch, WorkerSupervisor, "_run_once")
    workers = workers_of(STUBBORN, STUBBORN, file=file)
    running = asyncio.create_task(run(workers))
    await wait_until(lambda: starts(file) == 2)
    assert keep.calls == 3
    assert failed(caplog) == ["keep worker running"]
    workers.stop(signal.SIGTERM)
    workers.stop(signal.SIGTERM)
    await asyncio.wait_for(running, LIMIT)
