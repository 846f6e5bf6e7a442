"""Runs operations on the file in transactions, many operations in each.

An operation is a function that reads or changes the file. All operations that are
submitted in the same iteration of the event loop, or while the thread is busy, are one
batch and share one transaction.

Concurrency: one thread has the connection. It runs the operations of a batch in order,
commits once, and reports all results to the event loop by one call. Nothing is reported
before the commit. A refusal, which an operation raises before its first change, is a
result like any other. If an operation fails otherwise, the transaction is rolled back
and each operation runs again in a transaction of its own, so that none fails with
another. If the file itself fails, all operations of the batch do.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, Self, TypeVar

from gateway.domain.errors import GatewayError, StoreFull, StoreUnavailable
from gateway.domain.ports import Clock
from gateway.mailboxes.sqlite.database import Database

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_SECONDS = 0.25
"""The delay before an operation that has to succeed is tried again."""

RESERVED_BYTES = 32 << 20
"""With less free space on the disk nothing new is accepted, so that what was accepted
can be finished."""

SPACE_CHECK_SECONDS = 1.0
"""The interval between looks at the free space."""

_PROBLEMS = {
    sqlite3.SQLITE_FULL: "the disk of DATA_DIR is full",
    sqlite3.SQLITE_READONLY: "DATA_DIR is read-only",
    sqlite3.SQLITE_BUSY: "another process keeps the file in DATA_DIR locked",
    sqlite3.SQLITE_CORRUPT: "the file in DATA_DIR is damaged",
    sqlite3.SQLITE_NOTADB: "the file in DATA_DIR is damaged",
}


class Transaction(NamedTuple):
    """A running transaction, as operations get it."""

    execute: Callable[..., sqlite3.Cursor]
    uptime: float
    """The time of the transaction by `Clock.uptime`."""
    now: float
    """The time of the transaction by `Clock.now`."""
    has_space: bool
    """Whether the disk has space for new mail."""

    def check_space(self) -> None:
        """Refuse to store new mail if the disk is nearly full.

        Call it before the first change.

        Raises:
            StoreFull: less than `RESERVED_BYTES` are free.
        """
        if not self.has_space:
            raise StoreFull(_PROBLEMS[sqlite3.SQLITE_FULL])


Operation = Callable[[Transaction], Any]


class Submission(NamedTuple):
    """An operation that waits for the thread, and the future for its result."""

    operation: Operation
    future: asyncio.Future[Any]
    is_read_only: bool


class TransactionRunner:
    """Runs operations on the file in a thread, within an `async with`.

    Args:
        database: the open file, which is closed at the end of the block.
        clock: the clock of this machine, whose times the transactions get.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._pending: list[Submission] = []
        self._is_scheduled = False
        self._is_busy = False
        self._is_closed = False
        self._batches: SimpleQueue[list[Submission] | None] = SimpleQueue()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = Thread(target=self._run, name="mailboxes", daemon=True)
        self._has_space = True
        self._space_checked_at = float("-inf")
        self.problem = ""
        """The problem with the file that an operator has to fix, or an empty string."""

    async def __aenter__(self) -> Self:
        """Start the thread that runs the operations."""
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Run everything that was submitted, then end the thread and close the file."""
        self._is_closed = True
        self._is_busy = False  # the thread runs this batch after the one that it has
        self._flush()
        self._batches.put(None)
        await self._ended
        self._thread.join()

    def submit(
        self, operation: Callable[[Transaction], T], *, is_read_only: bool = False
    ) -> asyncio.Future[T]:
        """Submit an operation, and return a future for its result.

        The operation runs in any case, also if nobody waits for the future. The future
        raises what the operation raises. It raises StoreUnavailable if the file fails
        or the block has ended; nothing was changed then.

        Args:
            operation: called in the thread, perhaps again if the transaction was rolled
                back. It may raise a GatewayError only before its first change.
            is_read_only: True if it writes nothing. A transaction with only such
                operations does not wait for other processes.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if self._is_closed:
            future.set_exception(StoreUnavailable("the store is closed"))
            return future
        self._pending.append(Submission(operation, future, is_read_only))
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)
        return future

    def submit_unawaited(self, operation: Operation) -> None:
        """Submit an operation whose result and failure nobody needs to know.

        It is not tried again if the file fails.
        """
        self.submit(operation).add_done_callback(_ignore_result)

    async def execute_until_done(self, operation: Callable[[Transaction], T]) -> T:
        """Run an operation and return its result; try again while the file fails.

        Raises:
            StoreUnavailable: the block ended before the file worked again.
            GatewayError: the operation raised it.
        """
        while True:
            try:
                return await self.submit(operation)
            except StoreUnavailable:
                if self._is_closed:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    def _flush(self) -> None:
        """Hand everything that is pending to the thread, unless it is busy."""
        self._is_scheduled = False
        if self._pending and not self._is_busy:
            batch, self._pending = self._pending, []
            self._is_busy = True
            self._batches.put(batch)

    def _deliver(
        self, batch: list[Submission], results: list[Any], problem: str | None
    ) -> None:
        """Resolve the futures of a batch, and hand over the next one."""
        self._is_busy = False
        if problem is not None:
            self._note_problem(problem)
        for (_, future, _), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        if self._pending and not self._is_scheduled:
            # After those that wait for these futures, whose next operations join.
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _note_problem(self, problem: str) -> None:
        if problem and problem != self.problem:
            logger.error("mailbox_file_failed", extra={"reason": problem})
        elif self.problem and not problem:
            logger.warning("mailbox_file_recovered")
        self.problem = problem

    # Everything below runs in the thread.

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            results, problem = self._run_batch(batch)
            self._loop.call_soon_threadsafe(self._deliver, batch, results, problem)
        self._database.close()
        self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def _run_batch(self, batch: list[Submission]) -> tuple[list[Any], str | None]:
        """Run a batch.

        Returns:
            The result of each operation, or the exception that it raised; and the
            problem with the file: None if nothing was written, so that it is unknown.
        """
        try:
            return self._run_together(batch)
        except Exception as error:  # noqa: BLE001 - the callers get it
            if _is_failure_of_file(error):
                failure = _describe_failure(error)
                return [failure] * len(batch), str(failure)
            if len(batch) == 1:
                return [error], None
        # One operation failed. None of the others may fail with it.
        results: list[Any] = []
        problem: str | None = None
        for submission in batch:
            (result,), found = self._run_batch([submission])
            results.append(result)
            problem = problem or found
        return results, problem

    def _run_together(self, batch: list[Submission]) -> tuple[list[Any], str | None]:
        """Run a batch in one transaction. If this raises, nothing was changed."""
        connection = self._database.connection
        execute = connection.execute
        is_read_only = all(submission.is_read_only for submission in batch)
        execute("BEGIN" if is_read_only else "BEGIN IMMEDIATE")
        try:
            uptime = self._clock.uptime()
            if uptime - self._space_checked_at >= SPACE_CHECK_SECONDS:
                self._check_space(uptime)
            transaction = Transaction(
                execute, uptime, self._clock.now(), self._has_space
            )
            results = [_run_operation(it, transaction) for it, _, _ in batch]
            execute("COMMIT")
        except BaseException:
            # SQLite has rolled it back already if the disk is full.
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    execute("ROLLBACK")
            raise
        problem = "" if self._has_space else _PROBLEMS[sqlite3.SQLITE_FULL]
        return results, None if is_read_only else problem

    def _check_space(self, uptime: float) -> None:
        self._space_checked_at = uptime
        with contextlib.suppress(OSError):
            found = os.statvfs(self._database.path.parent)
            self._has_space = found.f_bavail * found.f_frsize >= RESERVED_BYTES


def _run_operation(operation: Operation, transaction: Transaction) -> Any:  # noqa: ANN401 - any result
    """Return the result of an operation, or the error that it raised at its start."""
    try:
        return operation(transaction)
    except GatewayError as error:
        return error


def _is_failure_of_file(error: Exception) -> bool:
    """Return whether the file failed, and not one operation."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error,
        sqlite3.IntegrityError
        | sqlite3.ProgrammingError
        | sqlite3.DataError
        | sqlite3.InternalError
        | sqlite3.NotSupportedError,
    )


def _describe_failure(error: Exception) -> GatewayError:
    """Return what a caller gets for an error of SQLite."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    # The low byte is the primary code. Only this one has a message of ours.
    problem = _PROBLEMS.get(code & 0xFF, f"the file in DATA_DIR fails: {name}")
    kind = StoreFull if code & 0xFF == sqlite3.SQLITE_FULL else StoreUnavailable
    return kind(problem)


def _ignore_result(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
