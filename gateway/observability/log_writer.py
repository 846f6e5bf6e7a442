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

MAX_QUEUED_LINES = 5_000
"""Lines that wait to be written: about 2 MB, two seconds of a gateway at full load."""

MAX_WRITE_BYTES = select.PIPE_BUF
"""Bytes. No more are written at once, so that a pipe takes them in one piece and lines
of several workers do not mix."""

BATCH_SECONDS = 0.1
"""How long lines are gathered for one write. Each time that the thread wakes up, it
takes the interpreter away from the event loop. A `kill -9` loses what was gathered."""

_MAX_LINES_TO_DELAY = 50
"""With more than that in the queue there is no need to wait for more."""

_MAX_BATCH_LINES = 500
"""Lines taken out of the queue at once: they do not count against its bound."""

RETRY_DELAY_SECONDS = 0.2
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
        format_dropped: Callable[[int], bytes],
        *,
        max_lines: int = MAX_QUEUED_LINES,
    ) -> None:
        self._descriptor = descriptor
        self._format_dropped = format_dropped
        self._max_lines = max_lines
        # Its `put` may be interrupted by a finalizer that puts something, too.
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self.dropped = 0
        """Lines that were dropped since the start."""
        self._reported_drops = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._write_queued, name="log", daemon=True
        )
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Write a line soon, or drop it if too many wait. Never waits itself."""
        if self._queue.qsize() < self._max_lines:
            self._queue.put(line)
        else:
            self.dropped += 1

    def close(self, timeout: float) -> None:
        """Write what waits, for at most so many seconds. Nothing is written after."""
        self._closing.set()
        self._queue.put(b"")  # wakes the thread
        self._thread.join(timeout)

    def _write_queued(self) -> None:
        while not (self._closing.is_set() and self._queue.empty()):
            lines = [self._queue.get()]
            if self._queue.qsize() < _MAX_LINES_TO_DELAY and not self._closing.is_set():
                time.sleep(BATCH_SECONDS)
            # Read first: what is dropped from here on came after what is taken now.
            dropped = self.dropped
            while len(lines) < _MAX_BATCH_LINES and not self._queue.empty():
                lines.append(self._queue.get())
            if dropped > self._reported_drops:
                lines.append(self._format_dropped(dropped - self._reported_drops))
                self._reported_drops = dropped
            for data in _join_lines(lines):
                self._write(data)

    def _write(self, data: bytes) -> None:
        """Write all of it, however long it takes; give up only at the end."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # another process made it non-blocking
                select.select([], [self._descriptor], [], RETRY_DELAY_SECONDS)
            except OSError:
                if self._closing.wait(RETRY_DELAY_SECONDS):
                    return


def _join_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines into pieces of at most `MAX_WRITE_BYTES` bytes. No line is cut."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > MAX_WRITE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    yield b"".join(piece)
