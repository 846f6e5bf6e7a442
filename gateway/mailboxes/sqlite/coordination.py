"""Polling leases and cool-downs, which workers with the same file share."""

import secrets

from gateway.domain.errors import StoreUnavailable
from gateway.mailboxes.sqlite.transactions import Transaction, TransactionRunner

POLLING_LEASE_SECONDS = 3.0
"""How long the lease for polling lasts without being renewed."""


class SqlitePollingLease:
    """The polling lease of a bot, for which all workers with the file compete.

    See `gateway/mailboxes/polling_lease.py`.

    Args:
        runner: runs the transactions on the file.
        bot_id: the bot's user id, or another number that stands for the task of one
            worker.
    """

    def __init__(self, runner: TransactionRunner, bot_id: int) -> None:
        self._runner = runner
        self._bot_id = bot_id
        self._token = secrets.token_hex(8)

    async def hold(self) -> bool:
        """Acquire the lease if nobody has it, or renew it if this worker has it.

        It then lasts for `POLLING_LEASE_SECONDS`; call this again before that.

        Returns:
            True if this worker has the lease now; False if another one has it.

        Raises:
            StoreUnavailable: the file cannot be written. Until its last renewal
                expires, the lease may still be this worker's.
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
        """Release the lease if this worker has it, so another one gets it at once.

        Raises:
            StoreUnavailable: the file cannot be written. The lease then expires by
                itself.
        """

        def release(transaction: Transaction) -> None:
            transaction.execute(
                "DELETE FROM polling_leases WHERE bot_id = ? AND token = ?",
                (self._bot_id, self._token),
            )

        await self._runner.submit(release)


class SqliteCooldowns:
    """The `SharedCooldowns` of all workers that use the same file.

    Args:
        runner: runs the transactions on the file.
        bot_id: the bot's user id.
    """

    def __init__(self, runner: TransactionRunner, bot_id: int) -> None:
        self._runner = runner
        self._bot_id = bot_id

    def record(self, chat_id: int, seconds: float) -> None:
        """Record a cool-down that starts now, in place of an earlier one of the chat.

        Does not wait for the file, and ignores its failures.

        Args:
            chat_id: Telegram's id of the chat.
            seconds: the duration of the cool-down.
        """

        def record(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT OR REPLACE INTO cooldowns VALUES (?, ?, ?)",
                (self._bot_id, chat_id, transaction.now + seconds),
            )

        self._runner.submit_unawaited(record)

    async def find(self, chat_id: int) -> float:
        """Return the seconds until the cool-down of a chat ends.

        Returns 0 if none is stored, or if the file cannot be read.
        """

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
