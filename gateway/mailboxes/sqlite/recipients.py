"""Finds the Telegram users of each bot by their internal ids, in the file."""

from gateway.mailboxes.sqlite.transactions import Transaction, TransactionRunner


class SqliteRecipientIndex:
    """The `RecipientIndex` of all workers that use the same file.

    Args:
        runner: runs the transactions on the file.
    """

    def __init__(self, runner: TransactionRunner) -> None:
        self._runner = runner

    async def record_recipient(
        self, bot_id: int, internal_user_id: str, telegram_user_id: int
    ) -> None:
        """Store which Telegram user has a session. See `RecipientIndex`.

        Does not wait for the file.
        """

        def record(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT OR REPLACE INTO recipients VALUES (?, ?, ?)",
                (bot_id, internal_user_id, telegram_user_id),
            )

        self._runner.submit_unawaited(record)

    async def find_recipient(self, bot_id: int, internal_user_id: str) -> int | None:
        """Return the Telegram user id for an internal user id.

        See `RecipientIndex.find_recipient`.
        """

        def find(transaction: Transaction) -> int | None:
            row = transaction.execute(
                "SELECT telegram_user_id FROM recipients"
                " WHERE bot_id = ? AND internal_user_id = ?",
                (bot_id, internal_user_id),
            ).fetchone()
            return None if row is None else int(row[0])

        return await self._runner.submit(find, is_read_only=True)
