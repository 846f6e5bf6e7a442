"""Writes log lines in a thread, so that logging never blocks the event loop.

A write blocks if nobody reads the pipe, the disk is full or the terminal is slow.
Therefore lines are put into a bounded queue, and a thread writes them. If the queue is
full, a line is dropped and counted; once writing works again, one line reports the
number of dropped lines.

Standard output cannot be made non-blocking instead: the flag belongs to the open file,
which is shared with the workers, the supervisor and all other writers to the same pipe.

Concurrency: any thread may call `write`, even a finalizer that interrupts another
`write`. One daemon thread writes. It may block until the process ends; `close` waits
for it only until a timeout.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue

MAX_QUEUED_LINES = 5_000
"""Lines in the queue: about 2 MB, two seconds of a gateway at full load."""

MAX_WRITE_BYTES = select.PIPE_BUF
"""Bytes per write. A pipe accepts this many atomically, so that the lines of several
workers do not mix."""

BATCH_SECONDS = 0.1
"""How long lines are collected for one write. Whenever the thread wakes up, it takes
the interpreter from the event loop. A `kill -9` loses the collected lines."""

_MAX_LINES_TO_DELAY = 50
"""With more lines than this in the queue, they are written without a delay."""

_MAX_BATCH_LINES = 500
"""Lines taken out of the queue at once; they no longer count towards its limit."""

RETRY_DELAY_SECONDS = 0.2
"""Delay before a failed write is repeated, for example while the disk is full."""


class LogWriter:
    """Writes lines to a file descriptor in a thread of its own, in order.

    Args:
        descriptor: an open file, pipe or terminal. It is not closed here.
        format_dropped: returns the line, with its line break, that reports how many
            lines were dropped since the last such report.
        max_lines: the maximum number of lines in the queue; further ones are dropped.
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
        # Reentrant: a finalizer that logs may interrupt `put`.
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self.dropped = 0
        """Number of lines dropped since the start."""
        self._reported_drops = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._write_queued, name="log", daemon=True
        )
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Queue a line for the thread, or drop and count it if the queue is full.

        Never blocks, and may be called by any thread. A crash of the process loses
        lines in the queue.

        Args:
            line: the line with its line break.
        """
        if self._queue.qsize() < self._max_lines:
            self._queue.put(line)
        else:
            self.dropped += 1

    def close(self, timeout: float) -> None:
        """Wait until the queued lines are written, and end the thread.

        Args:
            timeout: the maximum number of seconds to wait. Lines that are not written
                then, and all later lines, are lost.
        """
        self._closing.set()
        self._queue.put(b"")  # wakes the thread
        self._thread.join(timeout)

    def _write_queued(self) -> None:
        while not (self._closing.is_set() and self._queue.empty()):
            lines = [self._queue.get()]
            if self._queue.qsize() < _MAX_LINES_TO_DELAY and not self._closing.is_set():
                time.sleep(BATCH_SECONDS)
            # Read first: lines dropped from now on are newer than the lines of this
            # batch.
            dropped = self.dropped
            while len(lines) < _MAX_BATCH_LINES and not self._queue.empty():
                lines.append(self._queue.get())
            if dropped > self._reported_drops:
                lines.append(self._format_dropped(dropped - self._reported_drops))
                self._reported_drops = dropped
            for data in _join_lines(lines):
                self._write(data)

    def _write(self, data: bytes) -> None:
        """Write all data, however long it takes; stop after an error while closing."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # another process made it non-blocking
                select.select([], [self._descriptor], [], RETRY_DELAY_SECONDS)
            except OSError:
                if self._closing.wait(RETRY_DELAY_SECONDS):
                    return


def _join_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines into chunks of at most `MAX_WRITE_BYTES` bytes. No line is split."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > MAX_WRITE_BYTES:
            yield b"".join(chunk)
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
    yield b"".join(chunk)
