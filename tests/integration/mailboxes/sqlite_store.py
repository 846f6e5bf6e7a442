"""Mailboxes in a file under test."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.domain.update import DeadLetter
from gateway.mailboxes.no_broadcasts import NoBroadcasts
from gateway.mailboxes.sqlite.database import FILE_NAME
from gateway.mailboxes.sqlite.dead_letters import iterate_dead_letters
from gateway.mailboxes.sqlite.store import SqliteFile, SqliteStore, open_sqlite_store
from tests.support.fakes import FakeClock
from tests.support.stores import LEASE, LETTERS, LIMIT, OpenStore, Store


class SqliteTestStore:
    """Mailboxes in a file.

    Args:
        opened: the opened file.
        clock: the worker's clock.
        directory: the directory of the file.
    """

    is_replaying = False

    def __init__(self, opened: SqliteStore, clock: FakeClock, directory: Path) -> None:
        self.clock = clock
        self.mailboxes = opened.mailboxes
        self.deliveries = opened.deliveries
        self.broadcasts = NoBroadcasts()
        self.recipients = opened.recipients
        self.runner = opened.runner
        self._file = directory / FILE_NAME
        self._onlooker = sqlite3.connect(self._file, isolation_level=None)

    def close(self) -> None:
        """Close the connection of the test."""
        self._onlooker.close()

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, after what was submitted without waiting."""
        self.clock.move(seconds)

    async def tell_time(self) -> float:
        """Return the time of the clock."""
        return self.clock.now()

    async def in_memory(self) -> int:
        """Count the updates in all mailboxes."""
        return self.count("mail")

    async def count_mailboxes(self) -> int:
        """Count the mailboxes of which there is more than a state."""
        (count,) = self._onlooker.execute(
            "SELECT count(*) FROM (SELECT ordering_key FROM mailboxes"
            " UNION SELECT ordering_key FROM mail)"
        ).fetchone()
        return int(count)

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """Return the dead letters, oldest first."""
        return await self.runner.submit(
            lambda it: [dead_letter for _, dead_letter in iterate_dead_letters(it)],
            is_read_only=True,
        )

    def count(self, table: str) -> int:
        """Count the rows of a table."""
        (count,) = self._onlooker.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(count)


@asynccontextmanager
async def opened(
    directory: Path, clock: FakeClock | None = None
) -> AsyncIterator[SqliteTestStore]:
    """Open the mailboxes in the file in a directory, as one of its processes."""
    clock = clock or FakeClock()
    async with open_sqlite_store(
        SqliteFile(directory),
        clock,
        limit=LIMIT,
        lease_seconds=LEASE,
        dead_letters=LETTERS,
    ) as store:
        under_test = SqliteTestStore(store, clock, directory)
        try:
            yield under_test
        finally:
            under_test.close()


def sqlite() -> OpenStore:
    """Return a way to open mailboxes in a new file."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        with TemporaryDirectory() as directory:
            async with opened(Path(directory)) as store:
                yield store

    return open_store
