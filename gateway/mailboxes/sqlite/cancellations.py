"""Announces to all workers that a user cancelled a streamed reply, in the file.

Other workers read it with their next scan, so it takes them up to half a second.
"""

from collections.abc import Callable, Sequence

from gateway.mailboxes.sqlite.scans import Cancellation
from gateway.mailboxes.sqlite.transactions import Transaction, TransactionRunner

KEPT_SECONDS = 60.0
"""How long a cancellation is stored: every worker scans in that time."""

CancellationListener = Callable[[str, int], None]


class SqliteCancellationBus:
    """Cancellations of all workers with the same file.

    Args:
        runner: runs the operations.
    """

    def __init__(self, runner: TransactionRunner) -> None:
        self._runner = runner
        self._listeners: list[CancellationListener] = []

    def subscribe(self, listener: CancellationListener) -> None:
        """Register a listener for all cancellations."""
        self._listeners.append(listener)

    def publish(self, ordering_key: str, draft_id: int) -> None:
        """Notify the listeners of this worker at once, then those of the others.

        The scan of this worker finds the cancellation too: a repetition has no effect.
        """
        self.receive([Cancellation(ordering_key, draft_id)])

        def add(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT INTO cancellations (ordering_key, draft_id, expires_at)"
                " VALUES (?, ?, ?)",
                (ordering_key, draft_id, transaction.now + KEPT_SECONDS),
            )

        self._runner.submit_unawaited(add)

    def receive(self, cancellations: Sequence[Cancellation]) -> None:
        """Notify the listeners of this worker."""
        for ordering_key, draft_id in cancellations:
            for listener in self._listeners:
                listener(ordering_key, draft_id)
