"""Opens the file with the mailboxes: its lock, its settings and its schema.

Every process that has the file open holds a shared lock on a second file. A process
that gets it exclusively is alone: it checks the file for damage, migrates the schema,
and ends the leases of processes that are gone.

The file is in WAL mode, in which readers and one writer do not wait for each other. WAL
needs shared memory, so all processes have to be on one machine, and the file must not
be on a network file system.
"""

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Literal, NamedTuple

from gateway.domain.errors import ConfigurationError
from gateway.domain.ports import Clock
from gateway.mailboxes.sqlite.schema import MIGRATIONS

FILE_NAME = "mailboxes.db"

LOCK_NAME = "mailboxes.lock"

Synchronous = Literal["normal", "full"]
"""When a commit reaches the disk: "normal" survives the end of any process; "full" also
survives the end of the machine, and waits for the disk at every commit."""

CHECKPOINT_PAGES = 4000
"""The number of pages in the log after which they are copied to the file."""

MAX_LOG_BYTES = 64 << 20
"""The size to which the log shrinks after everything in it was copied."""

OLDEST_SQLITE = (3, 38)
"""It has RETURNING and functions for JSON."""

MAX_LEASE_SECONDS = 600.0
"""No lease and no pause is longer. A later end is from before the machine's start."""


class Database(NamedTuple):
    """The opened file, with the lock that says that this process uses it."""

    connection: sqlite3.Connection
    path: Path
    lock: int
    """The descriptor of the lock file."""

    def close(self) -> None:
        """Close the file and release the lock."""
        self.connection.close()
        os.close(self.lock)


def open_database(
    directory: Path, synchronous: Synchronous, busy_seconds: float, clock: Clock
) -> Database:
    """Open the file with the mailboxes, and create or migrate it if needed.

    Blocks, for seconds if the file is large: call it in a thread. If no other process
    has the file open, it is checked for damage, and leases of ended processes end.

    Args:
        directory: the directory of the file; created if it does not exist.
        synchronous: when a commit reaches the disk: see `Synchronous`.
        busy_seconds: for how many seconds a transaction waits for those of other
            processes before it fails.
        clock: the clock of this machine, which measures leases.

    Raises:
        ConfigurationError: the file cannot be used: see the message. Nothing stays
            open.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        found = sqlite3.sqlite_version
        raise ConfigurationError([f"DATA_DIR: needs SQLite 3.38, not {found}"])
    lock = -1
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _open_private(directory / LOCK_NAME)
        path = directory / FILE_NAME
        os.close(_open_private(path))
        is_alone = _lock(lock)
        connection = _connect(path, synchronous, busy_seconds)
        try:
            _prepare(connection, clock, is_alone=is_alone)
        except BaseException:
            connection.close()
            raise
        fcntl.flock(lock, fcntl.LOCK_SH)
        return Database(connection, path, lock)
    except BaseException as error:
        if lock >= 0:
            os.close(lock)
        if isinstance(error, OSError):
            problem = f"DATA_DIR: {error.strerror}: {directory}"
            raise ConfigurationError([problem]) from None
        if isinstance(error, sqlite3.Error):
            problem = f"DATA_DIR: {FILE_NAME} cannot be used: {error}"
            raise ConfigurationError([problem]) from None
        raise


def _open_private(path: Path) -> int:
    """Open a file, and create one that no other user may read."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(lock: int) -> bool:
    """Lock the file. Return whether no other process has it open."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(lock, fcntl.LOCK_SH)
        return False
    return True


def _connect(
    path: Path, synchronous: Synchronous, busy_seconds: float
) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    for pragma in (
        # It has an effect only before the first table is created.
        "auto_vacuum = INCREMENTAL",
        "journal_mode = WAL",
        f"synchronous = {synchronous}",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"journal_size_limit = {MAX_LOG_BYTES}",
        "cache_size = -8192",
        # Overwrites what was deleted where that needs no additional writes.
        "secure_delete = FAST",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def _prepare(connection: sqlite3.Connection, clock: Clock, *, is_alone: bool) -> None:
    """Check the file, migrate it, and end leases that nobody can hold."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        problem = f"DATA_DIR: {FILE_NAME} is of a later version of the gateway"
        raise ConfigurationError([problem])
    if is_alone:
        (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if result != "ok":
            problem = (
                f"DATA_DIR: {FILE_NAME} is damaged: restore it from a backup, or"
                " move it away to begin with an empty one"
            )
            raise ConfigurationError([problem])
    elif version < len(MIGRATIONS):
        problem = (
            f"DATA_DIR: {FILE_NAME} is in use by an earlier version of the gateway:"
            " stop that first"
        )
        raise ConfigurationError([problem])
    connection.execute("BEGIN IMMEDIATE")
    for migration in MIGRATIONS[version:]:
        for statement in migration:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    now = clock.uptime()
    longest = now + MAX_LEASE_SECONDS
    connection.execute(
        "UPDATE mailboxes SET claimable_at = ? WHERE claimable_at > ?", (now, longest)
    )
    connection.execute("DELETE FROM polling_leases WHERE expires_at > ?", (longest,))
    if is_alone:
        # Nobody can renew these leases, so nobody has to wait for their end. They keep
        # their tokens, because an owner that was lost counts against its update.
        connection.execute(
            "UPDATE mailboxes SET claimable_at = ?1"
            " WHERE claimable_at > ?1 AND token <> ''",
            (now,),
        )
        connection.execute("DELETE FROM polling_leases")
    connection.execute("COMMIT")
