"""Opens the file with its mailboxes, deliveries and recipients."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from gateway.domain.mailbox_lease import LEASE_SECONDS
from gateway.domain.ports import Clock
from gateway.mailboxes.serialization import DEFAULT_SHARD_LIMITS, DeadLetterLimits
from gateway.mailboxes.sqlite.database import Synchronous, open_database
from gateway.mailboxes.sqlite.deliveries import SqliteDeliveryStore
from gateway.mailboxes.sqlite.mailboxes import SqliteMailboxStore
from gateway.mailboxes.sqlite.recipients import SqliteRecipientIndex
from gateway.mailboxes.sqlite.transactions import TransactionRunner


class SqliteFile(NamedTuple):
    """Where the file is, and when a commit to it reaches the disk."""

    directory: Path
    synchronous: Synchronous = "normal"


class SqliteStore(NamedTuple):
    """The parts of the opened file, and the runner of its transactions."""

    mailboxes: SqliteMailboxStore
    deliveries: SqliteDeliveryStore
    recipients: SqliteRecipientIndex
    runner: TransactionRunner


@asynccontextmanager
async def open_sqlite_store(
    file: SqliteFile,
    clock: Clock,
    *,
    limit: int,
    busy_seconds: float = 2.0,
    lease_seconds: float = LEASE_SECONDS,
    dead_letters: DeadLetterLimits = DEFAULT_SHARD_LIMITS,
) -> AsyncIterator[SqliteStore]:
    """Open the file until the end of the block.

    At the end, all submitted operations are finished first.

    Args:
        file: where the file is.
        clock: the clock of this machine.
        limit: the maximum number of updates in a mailbox; at least 1.
        busy_seconds: for how many seconds a transaction waits for those of other
            processes before it fails.
        lease_seconds: how many seconds a lease lasts without renewal.
        dead_letters: limits on the number and age of dead letters.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    database = await asyncio.to_thread(
        open_database, file.directory, file.synchronous, busy_seconds, clock
    )
    async with TransactionRunner(database, clock) as runner:
        mailboxes = SqliteMailboxStore(
            runner,
            clock,
            limit=limit,
            lease_seconds=lease_seconds,
            dead_letters=dead_letters,
        )
        yield SqliteStore(
            mailboxes,
            SqliteDeliveryStore(mailboxes, runner),
            SqliteRecipientIndex(runner),
            runner,
        )
