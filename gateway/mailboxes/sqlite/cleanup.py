"""Removes expired rows from the file, and returns free pages to the file system."""

import contextlib
import random

from gateway.domain.errors import StoreUnavailable
from gateway.domain.ports import Clock
from gateway.mailboxes.serialization import DeadLetterLimits
from gateway.mailboxes.sqlite.dead_letters import remove_expired_dead_letters
from gateway.mailboxes.sqlite.transactions import Transaction, TransactionRunner

CLEANUP_SECONDS = 10.0
"""The interval between clean-ups of a worker, with jitter."""

MAX_ROWS = 2000
"""How many states a clean-up looks at, and how many records it removes, so that none
takes long."""

MAX_FREED_PAGES = 1000
"""How many free pages a clean-up returns to the file system."""

KEPT_FREE_PAGES = 4000
"""How many free pages stay in the file, to be used again."""


class Cleanup:
    """Removes a part of what has expired every `CLEANUP_SECONDS`, for one worker.

    Args:
        runner: runs the transactions on the file.
        clock: the clock of this machine, which says when the next part is due.
        limits: limits on the age of dead letters.
    """

    def __init__(
        self, runner: TransactionRunner, clock: Clock, limits: DeadLetterLimits
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._limits = limits
        self._due_at = float("-inf")
        self._last_key = ""
        """The last ordering key whose state was looked at."""

    async def run_if_due(self, *, is_urgent: bool) -> None:
        """Clean up a part if `CLEANUP_SECONDS` have passed since the last one.

        Called by each scan. Nothing is raised if the file fails.

        Args:
            is_urgent: True to clean up now in any case.
        """
        now = self._clock.uptime()
        if not is_urgent and now < self._due_at:
            return
        self._due_at = now + CLEANUP_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        with contextlib.suppress(StoreUnavailable):
            self._last_key, is_behind = await self._runner.submit(self._clean_up)
            if is_behind:
                self._due_at = now

    def _clean_up(self, transaction: Transaction) -> tuple[str, bool]:
        """Clean up a part.

        Returns:
            The key of the state at which to continue, and whether there is more to
            remove at once.
        """
        remove_expired_dead_letters(transaction, self._limits)
        last_key = _remove_expired_states(transaction, self._last_key)
        execute, now = transaction.execute, transaction.now
        removed_count = execute(
            "DELETE FROM deliveries WHERE rowid IN (SELECT rowid FROM deliveries"
            " WHERE expires_at <= ? LIMIT ?)",
            (now, MAX_ROWS),
        ).rowcount
        execute("DELETE FROM cooldowns WHERE ends_at <= ?", (now,))
        execute("DELETE FROM cancellations WHERE expires_at <= ?", (now,))
        (free_pages,) = execute("PRAGMA freelist_count").fetchone()
        # The module sqlite3 makes only one step of this statement: it frees one page.
        for _ in range(min(MAX_FREED_PAGES, free_pages - KEPT_FREE_PAGES)):
            execute("PRAGMA incremental_vacuum(1)")
        return last_key, removed_count == MAX_ROWS


def _remove_expired_states(transaction: Transaction, last_key: str) -> str:
    """Remove the expired ones of the next `MAX_ROWS` states.

    Returns:
        The last key of them; an empty string to begin again.
    """
    rows = transaction.execute(
        "SELECT ordering_key, expires_at FROM states WHERE ordering_key > ?"
        " ORDER BY ordering_key LIMIT ?",
        (last_key, MAX_ROWS),
    ).fetchall()
    for ordering_key, expires_at in rows:
        if expires_at <= transaction.now:
            transaction.execute(
                "DELETE FROM states WHERE ordering_key = ?", (ordering_key,)
            )
    return rows[-1][0] if len(rows) == MAX_ROWS else ""
