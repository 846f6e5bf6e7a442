"""The dead letters in the file, for the command line."""

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
    """Open the file for the duration of the block.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    # The limits have no effect: no limited put and no dead letter is made here.
    async with open_sqlite_store(file, clock, limit=1) as store:
        yield SqliteDeadLetters(store)


class SqliteDeadLetters:
    """The dead letters in the file.

    Every method raises `StoreUnavailable` if the file fails.
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
        """List dead letters, oldest first. See `DeadLetterStore.list_summaries`."""
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
        """Return a dead letter with the update's JSON, or None if no such id exists."""
        return await self._runner.submit(
            lambda transaction: read_dead_letter(transaction, dead_letter_id),
            is_read_only=True,
        )

    async def delete(self, dead_letter_id: int) -> bool:
        """Remove a dead letter. Return False if there is none with this id."""
        return await self._runner.submit(
            lambda transaction: remove_dead_letter(transaction, dead_letter_id)
        )

    async def replay(self, dead_letter_id: int, envelope: Envelope) -> None:
        """Put an update into its mailbox, and remove its dead letter.

        Args:
            dead_letter_id: the id of the dead letter.
            envelope: the update, without a time of arrival.
        """

        def replay(transaction: Transaction) -> None:
            put_update(transaction, self._policy, envelope, "", enforce_limit=False)
            remove_dead_letter(transaction, dead_letter_id)

        await self._runner.submit(replay)

    async def replay_delivery(self, dead_letter_id: int, delivery: Delivery) -> bool:
        """Put a delivery that failed into its mailbox, and remove its dead letter.

        Its messages that were sent already are not sent again.

        Returns:
            Whether it was put; otherwise it has not failed, and its dead letter stays.
        """

        def replay(transaction: Transaction) -> bool:
            was_put = replay_delivery(transaction, self._policy, delivery)
            if was_put:
                remove_dead_letter(transaction, dead_letter_id)
            return was_put

        return await self._runner.submit(replay)
