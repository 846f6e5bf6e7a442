"""The log: in order, bounded, and never waited for, whatever becomes of its reader."""

import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.observability import log_writer
from gateway.observability.log_writer import MAX_WRITE_BYTES, LogWriter
from tests.support.waiting import LIMIT, wait_until

FULL_FILE = """
import os, resource, sys, time
from gateway.observability import log_writer

log_writer.RETRY_DELAY_SECONDS = 0.01
limit = resource.RLIMIT_FSIZE
resource.setrlimit(limit, (1500, resource.RLIM_INFINITY))
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
drops = lambda lines: b"dropped %d\\n" % lines
writer = log_writer.LogWriter(file, drops, max_lines=9)
for _ in range(100):
    writer.write(b"x" * 999 + b"\\n")
end = time.monotonic() + 20
while os.stat(file).st_size < 1500 and time.monotonic() < end:
    time.sleep(0.01)
resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
while b"dropped" not in open(sys.argv[1], "rb").read() and time.monotonic() < end:
    time.sleep(0.01)
"""
LINE = b"x" * 999 + b"\n"
PIPE_LINES = 200
"""More than a pipe and a write hold: a pipe takes 64 KiB."""


def drops(lines: int) -> bytes:
    """Make the line that tells of drops."""
    return b"dropped %d\n" % lines


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Open a pipe; yield the end to read and the end to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


class Reader:
    """Reads a pipe to its end in a thread.

    It has a descriptor of its own: a test closes its one while the thread still reads.
    """

    def __init__(self, end: int) -> None:
        self.data = b""
        self._end = os.dup(end)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while data := os.read(self._end, 65536):
            self.data += data
        os.close(self._end)


async def test_lines_are_written_in_their_order() -> None:
    """All of them, from whichever thread and however many."""
    with pipe() as (source, target):
        reader = Reader(source)
        writer = LogWriter(target, drops)
        written = [b"%d\n" % number for number in range(2000)]
        for line in written:
            writer.write(line)
        await wait_until(lambda: reader.data == b"".join(written))
        assert writer.dropped == 0
        writer.close(30)


async def test_a_full_pipe_makes_nobody_wait_and_drops_are_reported() -> None:
    """What the queue holds is kept; one line tells how many did not fit into it."""
    with pipe() as (source, target):
        writer = LogWriter(target, drops, max_lines=PIPE_LINES)
        for _ in range(10 * PIPE_LINES):  # would block for ever without the thread
            writer.write(LINE)
        dropped = writer.dropped
        assert dropped > 0
        reader = Reader(source)
        await wait_until(lambda: b"dropped" in reader.data)
        writer.write(b"again\n")
        await wait_until(lambda: reader.data.endswith(b"again\n"))
        *kept, told, again = reader.data.splitlines(keepends=True)
        assert (told, again) == (drops(dropped), b"again\n")
        assert len(kept) + dropped == 10 * PIPE_LINES
        assert set(kept) == {LINE}
        assert writer.dropped == dropped
        writer.close(30)


async def test_a_closed_pipe_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """EPIPE: it is tried again now and then, and works if somebody reads again."""
    monkeypatch.setattr(log_writer, "RETRY_DELAY_SECONDS", 0.01)
    named = tmp_path / "pipe"
    os.mkfifo(named)
    source = os.open(named, os.O_RDONLY | os.O_NONBLOCK)
    target = os.open(named, os.O_WRONLY)
    os.close(source)
    tries = _count_writes(monkeypatch)
    writer = LogWriter(target, drops, max_lines=5)
    for number in range(20):
        writer.write(b"%d\n" % number)
    assert writer.dropped >= 14
    await wait_until(lambda: len(tries) > 3)
    reader = Reader(os.open(named, os.O_RDONLY))
    await wait_until(lambda: drops(writer.dropped) in reader.data)
    assert reader.data.startswith(b"0\n1\n2\n")
    writer.close(30)
    os.close(target)


async def test_a_full_disk_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC: there is a pause before the next attempt, and the end does not hang."""
    monkeypatch.setattr(log_writer, "RETRY_DELAY_SECONDS", 3600)
    tries = _count_writes(monkeypatch)
    full = os.open("/dev/full", os.O_WRONLY)
    writer = LogWriter(full, drops, max_lines=5)
    for _ in range(20):
        writer.write(LINE)
    await wait_until(lambda: tries)
    assert writer.dropped > 0
    writer.close(30)
    assert set(tries) == {errno.ENOSPC}
    assert len(tries) <= 20  # one for each piece of what waited, at most
    os.close(full)


async def test_a_disk_that_has_room_again_gets_what_waited(tmp_path: Path) -> None:
    """A file that may not grow any more stands for the disk; it may grow again."""
    file = tmp_path / "log"
    ended = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        FULL_FILE,
        file,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert await asyncio.wait_for(ended.wait(), LIMIT) == 0
    lines = file.read_bytes().splitlines(keepends=True)
    dropped = int(lines[-1].split()[-1])
    assert dropped > 0
    assert lines[:-1] == [LINE] * (100 - dropped)


def test_lines_are_written_in_pieces_that_a_pipe_takes_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers share a pipe: larger writes would mix their lines."""
    sizes: list[int] = []
    write = os.write

    def note(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        assert data.endswith(b"\n")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", note)
    null = os.open(os.devnull, os.O_WRONLY)
    writer = LogWriter(null, drops)
    for _ in range(500):
        writer.write(LINE)
    writer.close(30)
    assert sum(sizes) == 500 * len(LINE)
    assert max(sizes) <= MAX_WRITE_BYTES
    os.close(null)


PROGRAM = """
import logging, os, sys
from gateway.observability.logging import count_dropped_lines, configure_logging
configure_logging("INFO")
for number in range(int(sys.argv[1])):
    logging.getLogger("gateway.x").warning("line", extra={"number": number})
os.write(2, b"%d" % count_dropped_lines())
"""


def test_the_last_lines_of_a_program_are_written() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, "3000"],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
        timeout=LIMIT,
    )
    assert ended.stdout.count(b'"message":"line"') == 3000
    assert b'"number":2999}' in ended.stdout.splitlines()[-1]
    assert ended.stderr == b"0"


@pytest.mark.parametrize("lines", [10, 30_000])
def test_a_program_ends_though_nobody_reads_its_log(lines: int) -> None:
    """The pipe is full before it starts; what it says at its end comes all the same."""
    with pipe() as (_, target):
        os.set_blocking(target, False)
        with suppress(BlockingIOError):
            while True:
                os.write(target, b"x" * MAX_WRITE_BYTES)
        os.set_blocking(target, True)
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(lines)],
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=target,
            stderr=subprocess.PIPE,
            check=True,
            timeout=LIMIT,
        )
    assert (int(ended.stderr) > 0) == (lines > log_writer.MAX_QUEUED_LINES)


def test_a_crash_is_still_printed() -> None:
    """On standard error, as ever; and what was logged before it is written."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{PROGRAM}\nraise KeyError('odd end')", "10"],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
        timeout=LIMIT,
    )
    assert ended.returncode == 1
    assert ended.stderr.endswith(b"KeyError: 'odd end'\n")
    assert ended.stdout.count(b'"message":"line"') == 10


def test_a_program_without_standard_output_logs_nowhere() -> None:
    """Not into whatever file got the number 1 since."""
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", PROGRAM, "10"],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        check=True,
        timeout=LIMIT,
    )
    assert ended.stderr == b"0"


def _count_writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the errors of all writes; 0 is none."""
    errors: list[int] = []
    write = os.write

    def note(descriptor: int, data: bytes) -> int:
        try:
            written = write(descriptor, data)
        except OSError as error:
            errors.append(error.errno or 0)
            raise
        errors.append(0)
        return written

    monkeypatch.setattr(os, "write", note)
    return errors
