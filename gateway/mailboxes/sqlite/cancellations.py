"""Tells all workers, through the file, that a user cancelled a streamed reply.

Other workers read it with their next scan, so it takes them up to half a second.
"""

from collections.abc import Callable, Sequence

from gateway.mailboxes.sqlite.scans import Cancellation
from gateway.mailboxes.sqlite.transactions import Transaction, TransactionRunner

KEPT_SECONDS = 60.0
"""How long a cancellation is stored: every worker scans in that time."""

CancellationListener = Callable[[str, int], None]


class SqliteCancellationBus:
    """The `CancellationBus` of all workers that use the same file.

    Args:
        runner: runs the transactions on the file.
    """

    def __init__(self, runner: TransactionRunner) -> None:
        self._runner = runner
        self._listeners: list[CancellationListener] = []

    def subscribe(self, listener: CancellationListener) -> None:
        """Register a function to call at all cancellations; it stays registered.

        Args:
            listener: called with the ordering key of the user and the id of the draft;
                sometimes twice for one cancellation.
        """
        self._listeners.append(listener)

    def publish(self, ordering_key: str, draft_id: int) -> None:
        """Call the listeners of this worker at once, and tell the other workers.

        Does not wait for the file, and ignores its failures. The next scan of this
        worker finds the cancellation too, and calls the listeners again.
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
        """Call the listeners of this worker, for cancellations that a scan found."""
        for ordering_key, draft_id in cancellations:
            for listener in self._listeners:
                listener(ordering_key, draft_id)
