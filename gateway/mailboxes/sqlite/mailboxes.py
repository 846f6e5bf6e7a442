"""Mailboxes in a file: accepted updates survive the end of any process.

Each method runs one operation of `mail.py`. All operations that are submitted in the
same iteration of the event loop run in one transaction. What has to be finished, such
as a commit, is tried again for as long as the file fails. What else happens then is
said in `MailboxStore`.

Concurrency: any number of workers on the same machine, each with any number of tasks. A
caller that is cancelled leaves no lease behind: a release of its token follows.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from gateway.domain.errors import StoreUnavailable
from gateway.domain.mailbox_lease import LEASE_SECONDS, MailboxLease
from gateway.domain.ports import Clock, PutResult
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.fencing_tokens import make_fencing_tokens
from gateway.mailboxes.serialization import DEFAULT_SHARD_LIMITS, DeadLetterLimits
from gateway.mailboxes.sqlite.cancellations import SqliteCancellationBus
from gateway.mailboxes.sqlite.cleanup import Cleanup
from gateway.mailboxes.sqlite.dead_letters import add_dead_letter
from gateway.mailboxes.sqlite.mail import (
    FinishedMail,
    Grant,
    LeaseKey,
    MailPolicy,
    SuspectStage,
    acquire_mailbox,
    commit_mail,
    put_update,
    record_step,
    release_mailbox,
    renew_leases,
)
from gateway.mailboxes.sqlite.scans import Scan, scan_mailboxes
from gateway.mailboxes.sqlite.transactions import Transaction, TransactionRunner

COUNT_SECONDS = 10.0
"""The interval between counts while there is so much that counting takes long."""

QUICKLY_COUNTED = 10_000
"""Up to so many mailboxes are counted at every scan."""


class SqliteMailboxStore:
    """The `MailboxStore` of all workers that use the same file.

    Args:
        runner: runs the transactions on the file.
        clock: the clock of this machine.
        limit: the maximum number of updates in a mailbox; at least 1.
        lease_seconds: how many seconds a lease lasts without renewal.
        dead_letters: limits on the number and age of dead letters.
    """

    def __init__(
        self,
        runner: TransactionRunner,
        clock: Clock,
        *,
        limit: int,
        lease_seconds: float = LEASE_SECONDS,
        dead_letters: DeadLetterLimits = DEFAULT_SHARD_LIMITS,
    ) -> None:
        self._runner = runner
        self._clock = clock
        self.policy = MailPolicy(limit, lease_seconds, dead_letters)
        """The settings of the mailboxes."""
        self._tokens = make_fencing_tokens()
        self._cleanup = Cleanup(runner, clock, dead_letters)
        self._scan = Scan()
        self._counts_until = 0.0
        self.cancellation_bus = SqliteCancellationBus(runner)
        """Receives the cancellations of other workers with each scan."""

    @property
    def in_memory(self) -> int:
        """Always 0: every accepted update survives the end of this process."""
        return 0

    def find_oldest_update_id(self, key_prefix: str) -> int | None:
        """Return None: no update is only in the memory of this process."""
        return None

    @property
    def session_count(self) -> int:
        """Always 0: no user state is kept in memory."""
        return 0

    @property
    def mode(self) -> str:
        """Where new updates are stored, for `/health`: always "sqlite"."""
        return "sqlite"

    @property
    def is_degraded(self) -> bool:
        """Whether the last write to the file failed, or the disk is nearly full."""
        return bool(self._runner.problem)

    @property
    def problem(self) -> str:
        """The problem with the file that an operator has to fix; empty if none."""
        return self._runner.problem

    @property
    def longest_wait(self) -> float:
        """For how many seconds the mailbox that waited longest had been claimable.

        The value is that of this worker's last scan; 0 if no mailbox was claimable.
        """
        return self._scan.longest_wait

    @property
    def mailbox_count(self) -> int:
        """The number of mailboxes with updates, of all workers, at the last scan.

        Above `QUICKLY_COUNTED` mailboxes they are counted every `COUNT_SECONDS` only.
        """
        return self._scan.mailbox_count

    @property
    def dead_letter_count(self) -> int:
        """The number of dead letters at the last scan, without rejected bodies."""
        return self._scan.dead_letter_count

    @property
    def rejected_count(self) -> int:
        """The number of malformed or forged bodies at the last scan."""
        return self._scan.rejected_count

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Store an update in its mailbox. See `MailboxStore.put`."""
        token = next(self._tokens) if acquire else ""
        reply: Grant | PutResult = await self.execute_acquiring(
            lambda transaction: put_update(
                transaction, self.policy, envelope, token, enforce_limit=enforce_limit
            ),
            envelope.ordering_key,
            token,
        )
        if isinstance(reply, Grant):
            return make_lease(reply)
        return reply

    async def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        dead_letter_reason: str | None = None,
        release: bool = False,
    ) -> Envelope | None:
        """Remove a finished update and save the state. See `MailboxStore.commit`.

        While the file fails, the commit is tried again.
        """
        following, expires_at = await self._runner.execute_until_done(
            lambda transaction: commit_mail(
                transaction,
                self.policy,
                LeaseKey(lease.ordering_key, lease.token),
                FinishedMail(update_id, state, dead_letter_reason, release),
            )
        )
        if following is not None:
            lease.expires_at = expires_at
        return following

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Extend leases, and return those that were lost. See `MailboxStore.renew`."""
        requested = list(leases)
        keys = [(lease.ordering_key, lease.token) for lease in requested]

        def renew(transaction: Transaction) -> tuple[list[bool], float]:
            expires_at = transaction.uptime + self.policy.lease_seconds
            return renew_leases(transaction, keys, expires_at), expires_at

        try:
            kept, expires_at = await self._runner.submit(renew)
        except StoreUnavailable:  # neither renewed nor lost
            return []
        lost = []
        for lease, is_kept in zip(requested, kept, strict=True):
            if is_kept:
                lease.expires_at = expires_at
            else:
                lost.append(lease)
        return lost

    async def release(self, lease: MailboxLease) -> None:
        """End a lease and keep the updates. See `MailboxStore.release`."""
        try:
            await self._runner.submit(
                lambda transaction: release_mailbox(
                    transaction, lease.ordering_key, lease.token
                )
            )
        except StoreUnavailable:
            return

    async def claimable(
        self, limit: int, skipped_bots: Collection[str] = ()
    ) -> Sequence[str]:
        """Scan the file, and list claimable mailboxes. See `MailboxStore.claimable`.

        Also updates `last_scan` and the counts, passes cancellations to
        `cancellation_bus`, and removes expired rows if it is time. Returns nothing if
        the file fails.
        """
        skipped = tuple(skipped_bots)
        now = self._clock.uptime()
        counts = now >= self._counts_until
        previous = self._scan
        try:
            scan: Scan = await self._runner.submit(
                lambda transaction: scan_mailboxes(
                    transaction,
                    limit,
                    skipped,
                    previous,
                    self.policy.dead_letters,
                    counts=counts,
                ),
                is_read_only=True,
            )
            await self._cleanup.run_if_due(is_urgent=scan.has_expired_dead_letters)
        except StoreUnavailable:
            return []
        if counts and scan.mailbox_count > QUICKLY_COUNTED:
            self._counts_until = now + COUNT_SECONDS
        self._scan = scan
        self.cancellation_bus.receive(scan.cancellations)
        return scan.ordering_keys

    @property
    def last_scan(self) -> Scan:
        """What the last scan by this worker found; empty before the first one."""
        return self._scan

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Acquire the lease of a claimable mailbox. See `MailboxStore.acquire`.

        Returns None also if the file fails.
        """
        token = next(self._tokens)
        try:
            grant: Grant | None = await self.execute_acquiring(
                lambda transaction: acquire_mailbox(
                    transaction, self.policy, LeaseKey(ordering_key, token)
                ),
                ordering_key,
                token,
            )
        except StoreUnavailable:
            return None
        return None if grant is None else make_lease(grant)

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Record a step of a suspected update. See `MailboxStore.record_step`.

        Nothing is recorded or raised if the file fails.
        """
        stage = SuspectStage.RUNNING if running else SuspectStage.WAITING
        try:
            await self._runner.submit(
                lambda transaction: record_step(
                    transaction, lease.ordering_key, lease.token, stage
                )
            )
        except StoreUnavailable:
            return

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Store a dead letter that was never in a mailbox.

        Raises:
            StoreUnavailable: the file cannot be written.
        """
        await self._runner.submit(
            lambda transaction: add_dead_letter(
                transaction, self.policy.dead_letters, dead_letter
            )
        )

    def make_token(self) -> str:
        """Return a new fencing token, for an operation that may acquire a lease."""
        return next(self._tokens)

    async def execute_acquiring(
        self,
        operation: Callable[[Transaction], Any],
        ordering_key: str,
        token: str,
    ) -> Any:  # noqa: ANN401 - any result
        """Run an operation that may acquire a lease, and return its result.

        If the caller is cancelled, the lease is released.

        Args:
            operation: the operation.
            ordering_key: the key of the mailbox.
            token: the token of the lease that the operation may acquire; an empty
                string if it acquires none.

        Raises:
            StoreUnavailable: the file cannot be written.
        """
        future = self._runner.submit(operation)
        try:
            return await future
        except asyncio.CancelledError:
            if token:
                self._runner.submit_unawaited(
                    partial(release_mailbox, ordering_key=ordering_key, token=token)
                )
            raise


def make_lease(grant: Grant) -> MailboxLease:
    """Return the `MailboxLease` for a lease that an operation granted."""
    return MailboxLease(
        grant.head.ordering_key,
        grant.token,
        grant.state,
        grant.head,
        grant.expires_at,
        owner_losses=grant.owner_losses,
        owner_crashes=grant.owner_crashes,
    )
