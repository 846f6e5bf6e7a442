"""Processes of the sandbox: how they start, and that none of them stays behind."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from gateway.sandbox.launcher import program as program_module
from gateway.sandbox.launcher import subprocesses as module
from gateway.sandbox.launcher.program import Program, start_program
from gateway.sandbox.launcher.subprocesses import (
    ProcessExited,
    StopRequested,
    Subprocesses,
)
from gateway.sandbox.launcher.watched_files import WatchedFiles
from tests.support.waiting import LIMIT, wait_until

Start = Callable[[str], AbstractAsyncContextManager[None]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file that a child writes as soon as it runs."""
    return tmp_path / "child"


@pytest.fixture
async def children() -> Subprocesses:
    """No processes yet."""
    return Subprocesses()


@pytest.fixture
def start(children: Subprocesses, file: Path) -> Start:
    """Run the test's child in a manner of its own."""

    async def ready() -> bool:
        return file.exists() and file.read_text() != ""

    def run(manner: str) -> AbstractAsyncContextManager[None]:
        arguments = ("tests.integration.sandbox.child", manner, str(file))
        return children.running("child", arguments, {}, ready)

    return run


def group_is_gone(file: Path) -> bool:
    """Return whether no process of the child's group is left."""
    try:
        os.killpg(int(file.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


async def never() -> bool:
    """Answer like a child that does not come up."""
    return False


async def test_a_child_runs_inside_of_its_block(file: Path, start: Start) -> None:
    """It is there in the block, out of reach of Ctrl-C, and gone behind it."""
    async with start("polite"):
        assert int(file.read_text()) != os.getpgrp()
        assert not group_is_gone(file)
    assert group_is_gone(file)


async def test_a_stubborn_child_is_killed(
    monkeypatch: pytest.MonkeyPatch, file: Path, start: Start
) -> None:
    """It has its time to end, and not more."""
    monkeypatch.setattr(module, "STOP_SECONDS", 0.2)
    async with start("stubborn"):
        begin = time.monotonic()
    assert time.monotonic() - begin >= 0.2
    assert group_is_gone(file)


async def test_a_second_signal_kills_at_once(
    monkeypatch: pytest.MonkeyPatch, file: Path, children: Subprocesses, start: Start
) -> None:
    """Nobody has to wait for a child that hangs."""
    monkeypatch.setattr(module, "STOP_SECONDS", 3600)
    async with start("stubborn"):
        children.stop()
        children.stop()
        await children.watch()
    assert group_is_gone(file)


async def test_the_end_of_a_child_is_noticed(
    file: Path, children: Subprocesses, start: Start
) -> None:
    """Watching fails, and says which one it was."""
    async with start("polite"):
        watch = asyncio.create_task(children.watch())
        os.killpg(int(file.read_text()), 9)
        with pytest.raises(
            ProcessExited, match="the child ended by itself with code -9"
        ):
            await watch


async def test_a_child_that_cannot_start_is_reported(start: Start) -> None:
    """With its exit code, before anybody waits for its answer in vain."""
    with pytest.raises(ProcessExited, match="the child ended by itself with code 3"):
        async with start("dying"):
            pytest.fail("it does not run")


async def test_a_child_that_does_not_answer_in_time_is_ended(
    monkeypatch: pytest.MonkeyPatch, file: Path, children: Subprocesses
) -> None:
    """Nobody waits for ever for a child that hangs at its start."""
    monkeypatch.setattr(module, "START_SECONDS", 1.0)
    arguments = ("tests.integration.sandbox.child", "polite", str(file))
    with pytest.raises(ProcessExited, match="the child did not answer in 1 s"):
        async with children.running("child", arguments, {}, never):
            pytest.fail("it does not answer")
    assert not file.exists() or group_is_gone(file)


async def test_a_signal_ends_a_start(file: Path, children: Subprocesses) -> None:
    """Ctrl-C works before the sandbox is up."""

    async def run() -> None:
        arguments = ("tests.integration.sandbox.child", "polite", str(file))
        async with children.running("child", arguments, {}, never):
            pytest.fail("it does not answer")

    running = asyncio.create_task(run())
    await wait_until(lambda: running.done() or (file.exists() and file.read_text()))
    children.stop()
    with pytest.raises(StopRequested):
        await running
    assert group_is_gone(file)


async def test_a_start_copies_no_process(start: Start) -> None:
    """A copy of a process in which gRPC runs crashes in one of ten cases."""
    copies: list[int] = []
    os.register_at_fork(before=lambda: copies.append(os.getpid()))
    async with start("polite"):
        assert not copies


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do it")
async def test_a_child_ends_with_a_sandbox_that_is_killed(file: Path) -> None:
    """Otherwise its ports would be taken when the sandbox is started again."""
    words = ("-P", "-m", "tests.integration.sandbox.parent", str(file))
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, *words, env=environment
    )
    await wait_until(lambda: file.exists() and file.read_text())
    parent.kill()
    await parent.wait()
    # It may stay as a zombie, which has no command line, until init notices its end.
    command_line = Path(f"/proc/{file.read_text()}/cmdline")
    await wait_until(lambda: not command_line.exists() or not command_line.read_bytes())


async def test_work_ends_with_its_result_while_children_run(
    children: Subprocesses, start: Start
) -> None:

    async def answer() -> int:
        return 42

    async with start("polite"):
        assert await children.run_during(answer()) == 42
        with pytest.raises(ZeroDivisionError):
            await children.run_during(fail())


@pytest.mark.parametrize("end", ["signal", "child"])
async def test_work_ends_with_a_signal_and_with_a_child(
    end: str, children: Subprocesses, file: Path, start: Start
) -> None:
    """It is cancelled and has time to clean up."""
    ended = []

    async def work() -> None:
        try:
            if end == "signal":
                children.stop()
            else:
                os.kill(int(file.read_text()), signal.SIGKILL)
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with start("polite"):
        with pytest.raises(StopRequested if end == "signal" else ProcessExited):
            await children.run_during(work())
    assert ended == [True]


async def fail() -> None:
    """Fail like a fault in a program."""
    raise ZeroDivisionError


@pytest.mark.parametrize("watched", [False, True])
async def test_a_program_ends_with_what_it_has_started(
    file: Path, *, watched: bool
) -> None:
    """Such as a package manager that starts the service itself."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    children = Subprocesses(writing)

    def all_have_closed_their_output() -> bool:
        try:
            return os.read(reading, 1) == b""
        except BlockingIOError:
            return False

    words = ("sh", "-c", f"sleep 1000 & echo > {file}; wait; sleep 1000")
    program = Program(
        name="service",
        arguments=words,
        environment=dict(os.environ),
        has_children=True,
    )
    files = WatchedFiles([file.parent / "none"]) if watched else None
    async with children.running_program(program, files):
        await wait_until(file.exists)
        os.close(writing)
        assert not all_have_closed_their_output()
    await wait_until(all_have_closed_their_output)
    os.close(reading)


async def test_a_start_that_is_cancelled_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    """The program may run, and have started others, before its start is noticed."""
    is_over = threading.Event()

    def notice_nothing(descriptor: int) -> bytes:
        is_over.wait(LIMIT)
        os.close(descriptor)
        return b""

    monkeypatch.setattr(program_module, "_read_all", notice_nothing)
    reading, writing = os.pipe()
    words = ("sh", "-c", f"sleep 1000 & echo > {file}; wait; sleep 1000")
    program = Program(name="service", arguments=words, environment=dict(os.environ))
    starting = asyncio.create_task(start_program(program, writing))
    await wait_until(file.exists)
    os.close(writing)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    is_over.set()
    assert await asyncio.wait_for(asyncio.to_thread(os.read, reading, 1), LIMIT) == b""
    os.close(reading)


async def test_a_program_that_does_not_exist_is_reported(
    children: Subprocesses,
) -> None:
    program = Program(name="service", arguments=("/nowhere",), environment={})
    with pytest.raises(ProcessExited, match="the service cannot be started: No such"):
        async with children.running_program(program):
            pytest.fail("it does not run")


async def test_a_program_that_may_not_be_run_is_reported(
    children: Subprocesses, file: Path
) -> None:
    file.write_text("no program")
    program = Program(name="service", arguments=(str(file),), environment={})
    with pytest.raises(ProcessExited, match="the service cannot be started: Perm"):
        async with children.running_program(program):
            pytest.fail("it does not run")


async def test_a_program_gets_its_environment_folder_and_signals(
    tmp_path: Path, children: Subprocesses, file: Path
) -> None:
    """Python ignores SIGPIPE: a program that inherited it would not end with a pipe."""
    script = f"exec > {file}; echo $A; pwd; kill -PIPE $$; echo alive"
    program = Program(
        name="service",
        arguments=("sh", "-c", script),
        environment={"A": "1", "PATH": os.environ["PATH"]},
        directory=tmp_path,
    )
    with pytest.raises(ProcessExited, match="by itself with code -13"):
        async with children.running_program(program):
            await children.watch()
    assert file.read_text() == f"1\n{tmp_path}\n"


async def test_an_error_while_files_are_watched_is_not_hidden(
    children: Subprocesses, file: Path
) -> None:
    """Otherwise the program would be gone, and nobody would know why."""

    class BrokenFiles(WatchedFiles):
        async def wait_for_change(self) -> list[Path]:
            await wait_until(lambda: file.exists() and file.read_text())
            raise ZeroDivisionError

    arguments = ("tests.integration.sandbox.child", "polite", str(file))
    program = Program(
        name="service",
        arguments=(sys.executable, "-P", "-m", *arguments),
        environment={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    async with children.running_program(program, BrokenFiles([file])):
        with pytest.raises(ZeroDivisionError):
            await children.watch()
    assert group_is_gone(file)
