"""Writes the log without ever making the rest of the program wait.

A pipe that nobody reads, a full disk or a slow terminal would stop whoever writes to
it. So lines are put into a bounded queue, and a thread writes them. Lines that find the
queue full are dropped and counted; once writing works again, one line tells how many.

Standard output cannot be made non-blocking instead: the flag belongs to the open file,
which the workers, the process above them and whatever else writes to the same pipe
share.

Concurrency: any thread may call `write`, also a finalizer in the middle of another
`write`. One daemon thread writes. It may hang for as long as the process lives; `close`
waits for it within a bound.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue

MOST_LINES = 5_000
"""Lines that wait to be written: about 2 MB, two seconds of a gateway at full load."""

LONGEST_WRITE = select.PIPE_BUF
"""Bytes. No more are written at once, so that a pipe takes them in one piece and lines
of several workers do not mix."""

GATHER_SECONDS = 0.1
"""How long lines are gathered for one write. Each time that the thread wakes up, it
takes the interpreter away from the event loop. A `kill -9` loses what was gathered."""

_FEW_LINES = 50
"""With more than that in the queue there is no need to wait for more."""

_MOST_GATHERED = 500
"""Lines taken out of the queue at once: they do not count against its bound."""

RETRY_SECONDS = 0.2
"""Before the next attempt after a write failed, for example because a disk is full."""


class LogWriter:
    """Writes lines to a file descriptor, in their order.

    Args:
        descriptor: of an open file, pipe or terminal.
        describe_drops: makes the line that tells how many lines were dropped.
        most_lines: how many lines may wait.
    """

    def __init__(
        self,
        descriptor: int,
        describe_drops: Callable[[int], bytes],
        *,
        most_lines: int = MOST_LINES,
    ) -> None:
        self._descriptor = descriptor
        self._describe_drops = describe_drops
        self._most_lines = most_lines
        # Its `put` may be interrupted by a finalizer that puts something, too.
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self.dropped = 0
        """Lines that were dropped since the start."""
        self._told = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Write a line soon, or drop it if too many wait. Never waits itself."""
        if self._queue.qsize() < self._most_lines:
            self._queue.put(line)
        else:
            self.dropped += 1

    def close(self, within: float) -> None:
        """Write what waits, for at most so many seconds. Nothing is written after."""
        self._closing.set()
        self._queue.put(b"")  # wakes the thread
        self._thread.join(within)

    def _run(self) -> None:
        while not (self._closing.is_set() and self._queue.empty()):
            lines = [self._queue.get()]
            if self._queue.qsize() < _FEW_LINES and not self._closing.is_set():
                time.sleep(GATHER_SECONDS)
            # Read first: what is dropped from here on came after what is taken now.
            dropped = self.dropped
            while len(lines) < _MOST_GATHERED and not self._queue.empty():
                lines.append(self._queue.get())
            if dropped > self._told:
                lines.append(self._describe_drops(dropped - self._told))
                self._told = dropped
            for data in _join(lines):
                self._write(data)

    def _write(self, data: bytes) -> None:
        """Write all of it, however long it takes; give up only at the end."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # another process made it non-blocking
                select.select([], [self._descriptor], [], RETRY_SECONDS)
            except OSError:
                if self._closing.wait(RETRY_SECONDS):
                    return


def _join(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines into pieces of at most `LONGEST_WRITE` bytes. No line is cut."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > LONGEST_WRITE:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    yield b"".join(piece)
