"""What workers with the same file agree on: who polls, and which chats cool down."""

import secrets

from gateway.domain.errors import StoreUnavailable
from gateway.mailboxes.sqlite.transactions import Transaction, TransactionRunner

POLLING_LEASE_SECONDS = 3.0
"""How long the lease for polling lasts without being renewed."""


class SqlitePollingLease:
    """The lease for fetching the updates of a bot, which all workers compete for.

    Args:
        runner: runs the operations.
        bot_id: the bot's user id.
    """

    def __init__(self, runner: TransactionRunner, bot_id: int) -> None:
        self._runner = runner
        self._bot_id = bot_id
        self._token = secrets.token_hex(8)

    async def hold(self) -> bool:
        """Acquire the lease, or renew it. Return whether this worker has it.

        Raises:
            StoreUnavailable: the file fails.
        """

        def hold(transaction: Transaction) -> bool:
            changed = transaction.execute(
                "INSERT INTO polling_leases VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE"
                " SET token = ?2, expires_at = ?3"
                " WHERE token = ?2 OR expires_at <= ?4",
                (
                    self._bot_id,
                    self._token,
                    transaction.uptime + POLLING_LEASE_SECONDS,
                    transaction.uptime,
                ),
            )
            return bool(changed.rowcount)

        return await self._runner.submit(hold)

    async def release(self) -> None:
        """Release the lease if this worker has it.

        Raises:
            StoreUnavailable: the file fails.
        """

        def release(transaction: Transaction) -> None:
            transaction.execute(
                "DELETE FROM polling_leases WHERE bot_id = ? AND token = ?",
                (self._bot_id, self._token),
            )

        await self._runner.submit(release)


class SqliteCooldowns:
    """The cool-downs of a bot's chats, which all workers share.

    Args:
        runner: runs the operations.
        bot_id: the bot's user id.
    """

    def __init__(self, runner: TransactionRunner, bot_id: int) -> None:
        self._runner = runner
        self._bot_id = bot_id

    def record(self, chat_id: int, seconds: float) -> None:
        """Record a cool-down that starts now. Does not wait for the file."""

        def record(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT OR REPLACE INTO cooldowns VALUES (?, ?, ?)",
                (self._bot_id, chat_id, transaction.now + seconds),
            )

        self._runner.submit_unawaited(record)

    async def find(self, chat_id: int) -> float:
        """Return the seconds until a cool-down ends; 0 if none is known."""

        def find(transaction: Transaction) -> float:
            row = transaction.execute(
                "SELECT ends_at FROM cooldowns WHERE bot_id = ? AND chat_id = ?",
                (self._bot_id, chat_id),
            ).fetchone()
            return 0.0 if row is None else max(0.0, row[0] - transaction.now)

        try:
            return await self._runner.submit(find, is_read_only=True)
        except StoreUnavailable:
            return 0.0
