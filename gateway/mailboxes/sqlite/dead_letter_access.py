"""The dead letters in the file, for the command line: list, read, replay, delete."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from itertools import islice

from gateway.domain.delivery import Delivery
from gateway.domain.ports import Clock
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.dead_letter_listing import (
    DeadLetterSelection,
    DeadLetterSummary,
    summarize,
)
from gateway.mailboxes.sqlite.dead_letters import (
    iterate_dead_letters,
    read_dead_letter,
    remove_dead_letter,
)
from gateway.mailboxes.sqlite.delivery_records import replay_delivery
from gateway.mailboxes.sqlite.mail import put_update
from gateway.mailboxes.sqlite.store import SqliteFile, SqliteStore, open_sqlite_store
from gateway.mailboxes.sqlite.transactions import Transaction


@asynccontextmanager
async def open_sqlite_dead_letters(
    file: SqliteFile, clock: Clock
) -> AsyncIterator["SqliteDeadLetters"]:
    """Open the dead letters in the file until the end of the block.

    Gateways may use the file at the same time.

    Args:
        file: where the file is.
        clock: the clock of this machine.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    # The limits have no effect: no limited put and no dead letter is made here.
    async with open_sqlite_store(file, clock, limit=1) as store:
        yield SqliteDeadLetters(store)


class SqliteDeadLetters:
    """Lists, reads, replays and removes the dead letters in the file.

    Every method raises `StoreUnavailable` if the file cannot be read or written.
    """

    def __init__(self, store: SqliteStore) -> None:
        self._runner = store.runner
        self._policy = store.mailboxes.policy

    async def list_summaries(
        self,
        *,
        reason: str | None = None,
        bot_ids: Collection[int] | None = None,
        limit: int | None = None,
    ) -> list[DeadLetterSummary]:
        """List dead letters, oldest first, without what users wrote.

        Args:
            reason: list only dead letters with this reason; None lists all.
            bot_ids: list only dead letters of these bots, and those of no bot because
                their body could not be read; None lists all.
            limit: the maximum number to list; None lists all.
        """
        selection = DeadLetterSelection(
            reason, None if bot_ids is None else frozenset(map(str, bot_ids))
        )

        def read(transaction: Transaction) -> list[DeadLetterSummary]:
            selected = (
                summarize(letter_id, dead_letter)
                for letter_id, dead_letter in iterate_dead_letters(transaction)
                if selection.contains(dead_letter)
            )
            return list(islice(selected, limit))

        return await self._runner.submit(read, is_read_only=True)

    async def get(self, dead_letter_id: int) -> DeadLetter | None:
        """Return a dead letter with its body; None if there is none with this id."""
        return await self._runner.submit(
            lambda transaction: read_dead_letter(transaction, dead_letter_id),
            is_read_only=True,
        )

    async def delete(self, dead_letter_id: int) -> bool:
        """Remove a dead letter.

        Returns:
            True if it was removed; False if there is none with this id.
        """
        return await self._runner.submit(
            lambda transaction: remove_dead_letter(transaction, dead_letter_id)
        )

    async def replay(self, dead_letter_id: int, envelope: Envelope) -> None:
        """Put an update back into its mailbox and remove its dead letter, atomically.

        The mailbox may be full. The next scan of a worker finds the update.

        Args:
            dead_letter_id: the id of the dead letter.
            envelope: the update, with None as its time of arrival, so that it does not
                expire.
        """

        def replay(transaction: Transaction) -> None:
            put_update(transaction, self._policy, envelope, "", enforce_limit=False)
            remove_dead_letter(transaction, dead_letter_id)

        await self._runner.submit(replay)

    async def replay_delivery(self, dead_letter_id: int, delivery: Delivery) -> bool:
        """Put a failed delivery back into its mailbox and remove its dead letter.

        Its messages that were sent already are not sent again.

        Args:
            dead_letter_id: the id of the dead letter.
            delivery: the delivery in the dead letter.

        Returns:
            True if it was put back. False, with nothing changed, if its record says
            that it has not failed, or if the mailbox has no position for it.
        """

        def replay(transaction: Transaction) -> bool:
            was_put = replay_delivery(transaction, self._policy, delivery)
            if was_put:
                remove_dead_letter(transaction, dead_letter_id)
            return was_put

        return await self._runner.submit(replay)
