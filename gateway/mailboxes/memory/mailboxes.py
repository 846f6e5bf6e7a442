"""Mailboxes in memory: the default without Redis, and the fallback if Redis fails.

They are lost when the process ends.

Concurrency: all calls come from one event loop, and no method awaits anything, so
nothing runs between its checks and its changes. That alone makes every method atomic; a
method that awaits in between would need a lock.

A mailbox with updates is in one of two dictionaries: leased or unleased. Without
updates there is no mailbox, only the user's state. During the pause after the loss of
an owner a mailbox stays in the leased dictionary, without a token.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from heapq import merge
from itertools import chain, islice

from gateway.domain.errors import LeaseLost
from gateway.domain.mailbox_lease import LEASE_SECONDS, MailboxLease
from gateway.domain.poison import MAX_UNSUSPECTED_LOSSES
from gateway.domain.ports import Clock, PutResult
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.fencing_tokens import make_fencing_tokens
from gateway.mailboxes.memory.dead_letters import (
    DEFAULT_MEMORY_LIMITS,
    MemoryDeadLetters,
)
from gateway.mailboxes.memory.mailbox import Mailbox, SuspectStage
from gateway.mailboxes.memory.user_states import UserStateCache
from gateway.mailboxes.serialization import DeadLetterLimits, make_dead_letter


class MemoryMailboxStore:
    """The `MailboxStore` of one process, in its memory.

    No method raises StoreUnavailable. The methods that `MailboxStore` does not have
    serve the stores of deliveries and the failback to Redis.

    Args:
        clock: measures leases and retention times.
        limit: the maximum number of updates in a mailbox; at least 1.
        max_sessions: the maximum number of user states; the least recently saved are
            removed first.
        lease_seconds: how many seconds a lease lasts without renewal.
        dead_letters: limits on the number and age of dead letters.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        limit: int,
        max_sessions: int,
        lease_seconds: float = LEASE_SECONDS,
        dead_letters: DeadLetterLimits = DEFAULT_MEMORY_LIMITS,
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._lease_seconds = lease_seconds
        self._leased: dict[str, Mailbox] = {}
        # Ordered by `claimable_at`: a released mailbox goes to the end. A plain dict
        # would be slow here: finding its first entry steps over all deleted ones.
        self._unleased: OrderedDict[str, Mailbox] = OrderedDict()
        self._states = UserStateCache(max_sessions)
        self.dead_letters = MemoryDeadLetters(dead_letters)
        """The dead letters of this process."""
        self.in_memory = 0
        """The number of updates and deliveries in mailboxes."""
        self._tokens = make_fencing_tokens()

    @property
    def mailbox_count(self) -> int:
        """The number of mailboxes that have updates or an owner."""
        return len(self._leased) + len(self._unleased)

    @property
    def session_count(self) -> int:
        """The number of stored user states."""
        return len(self._states)

    def find_oldest_update_id(self, key_prefix: str) -> int | None:
        """Return the lowest id of the updates in mailboxes; None if there are none.

        Args:
            key_prefix: look only at ordering keys that start with this, such as "<bot
                id>/".
        """
        mailboxes = chain(self._leased.items(), self._unleased.items())
        lowest = (
            mailbox.lowest_update_id
            for ordering_key, mailbox in mailboxes
            if ordering_key.startswith(key_prefix)
        )
        return min((it for it in lowest if it is not None), default=None)

    @property
    def longest_wait(self) -> float:
        """For how many seconds the mailbox that has waited longest has been claimable.

        0 if no mailbox is claimable.
        """
        now = self._clock.uptime()
        claimable_at = min(
            (mailbox.claimable_at for mailbox in self._leased.values()), default=now
        )
        for mailbox in islice(self._unleased.values(), 1):
            claimable_at = min(claimable_at, mailbox.claimable_at)
        return max(0.0, now - claimable_at)

    @property
    def mode(self) -> str:
        """Where new updates are stored, for `/health`: always "memory"."""
        return "memory"

    @property
    def is_degraded(self) -> bool:
        """Whether `/health` should say "degraded": always False.

        Without Redis, memory is the configured store.
        """
        return False

    @property
    def problem(self) -> str:
        """Always an empty string: there is nothing that an operator has to fix."""
        return ""

    @property
    def dead_letter_count(self) -> int:
        """How many updates ever became dead letters, including removed ones."""
        return self.dead_letters.update_count

    @property
    def rejected_count(self) -> int:
        """How many malformed or forged bodies were added, including removed ones."""
        return self.dead_letters.rejected_count

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Store an update in its mailbox. See `MailboxStore.put`."""
        ordering_key = envelope.ordering_key
        mailbox = self.find_mailbox(ordering_key)
        if mailbox is not None:
            result = mailbox.add(envelope, self._limit if enforce_limit else None)
            if result is PutResult.STORED:
                self.in_memory += 1
            return result
        update_id = envelope.update_id
        mailbox = Mailbox([envelope], [update_id], suspect=update_id)
        self.in_memory += 1
        if acquire:
            return self.grant_lease(ordering_key, mailbox)
        self.make_claimable(ordering_key, mailbox)
        return PutResult.STORED

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

        The lease may have expired, as long as no other owner has acquired the mailbox.
        """
        mailbox = self.find_leased_mailbox(lease)
        if mailbox is None:
            raise LeaseLost("the lease's token is not the mailbox's current one")
        finished = mailbox.remove(update_id)
        return self.finish(
            lease, mailbox, finished, state, dead_letter_reason, release=release
        )

    def finish(
        self,
        lease: MailboxLease,
        mailbox: Mailbox,
        finished: Envelope | None,
        state: bytes,
        dead_letter_reason: str | None,
        *,
        release: bool,
    ) -> Envelope | None:
        """End a commit after mail was removed: save the state, return the next mail.

        Also makes the removed mail a dead letter if there is a reason, resets the
        counts of lost owners, and extends or ends the lease.

        Args:
            lease: the current lease of the mailbox.
            mailbox: the mailbox.
            finished: the mail that was removed; None if it was not in the mailbox.
            state: the new user state.
            dead_letter_reason: the reason to keep the mail as a dead letter; None not
                to.
            release: True to release the lease with the remaining mail.

        Returns:
            The first of the remaining mail; None if the lease ended.
        """
        if finished is not None:
            self.in_memory -= 1
            if dead_letter_reason is not None:
                dead_letter = make_dead_letter(
                    finished, dead_letter_reason, self._clock.now()
                )
                self.dead_letters.add(dead_letter, self._clock.uptime())
        now = self._clock.uptime()
        self._states.save(lease.ordering_key, state, now)
        if mailbox.owner_losses:
            mailbox.clear_suspicion()
        if mailbox.mail and not release:
            lease.expires_at = mailbox.claimable_at = now + self._lease_seconds
            return mailbox.mail[0]
        del self._leased[lease.ordering_key]
        if mailbox.mail:
            self.make_claimable(lease.ordering_key, mailbox)
        return None

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Extend leases, and return those that were lost. See `MailboxStore.renew`."""
        expires_at = self._clock.uptime() + self._lease_seconds
        lost = []
        for lease in leases:
            mailbox = self.find_leased_mailbox(lease)
            if mailbox is None:
                lost.append(lease)
            else:
                lease.expires_at = mailbox.claimable_at = expires_at
        return lost

    async def release(self, lease: MailboxLease) -> None:
        """End a lease and keep the updates. See `MailboxStore.release`."""
        mailbox = self.find_leased_mailbox(lease)
        if mailbox is not None:
            del self._leased[lease.ordering_key]
            self.make_claimable(lease.ordering_key, mailbox)

    async def claimable(
        self, limit: int, skipped_bots: Collection[str] = ()
    ) -> Sequence[str]:
        """List claimable mailboxes, and remove expired dead letters.

        See `MailboxStore.claimable`.
        """
        now = self._clock.uptime()
        self.dead_letters.remove_expired(now)
        leased = self._leased.items()
        expired = sorted(
            (mailbox.claimable_at, ordering_key)
            for ordering_key, mailbox in leased
            if mailbox.claimable_at <= now
        )
        # Lazy, because there may be very many and only the first ones are needed.
        unleased = (
            (mailbox.claimable_at, ordering_key)
            for ordering_key, mailbox in self._unleased.items()
        )
        longest_first = (
            ordering_key
            for _, ordering_key in merge(expired, unleased)
            if ordering_key.partition("/")[0] not in skipped_bots
        )
        return list(islice(longest_first, limit))

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Acquire the lease of a claimable mailbox. See `MailboxStore.acquire`."""
        mailbox = self._unleased.pop(ordering_key, None)
        if mailbox is None:
            mailbox = self._leased.get(ordering_key)
            if mailbox is None or mailbox.claimable_at > self._clock.uptime():
                return None
            if (
                mailbox.mail
                and mailbox.token
                and (pause := mailbox.record_owner_loss())
            ):
                mailbox.token = ""
                mailbox.claimable_at = self._clock.uptime() + pause
                return None
        if not mailbox.mail:  # its last delivery was cancelled
            self._leased.pop(ordering_key, None)
            return None
        return self.grant_lease(ordering_key, mailbox)

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Record a step of a suspected update. See `MailboxStore.record_step`."""
        mailbox = self.find_leased_mailbox(lease)
        if mailbox is not None and mailbox.owner_losses > MAX_UNSUSPECTED_LOSSES:
            mailbox.stage = SuspectStage.RUNNING if running else SuspectStage.WAITING

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Store a dead letter that was never in a mailbox."""
        self.dead_letters.add(dead_letter, self._clock.uptime())

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ordering keys of all mailboxes, leased or not."""
        return chain(self._leased, self._unleased)

    def has_updates(self, ordering_key: str) -> bool:
        """Return whether there is a mailbox with this ordering key in memory."""
        return self.find_mailbox(ordering_key) is not None

    def is_leased(self, ordering_key: str) -> bool:
        """Return whether a mailbox has an owner, whose lease may have expired.

        False during the pause after the loss of an owner.
        """
        mailbox = self._leased.get(ordering_key)
        return mailbox is not None and bool(mailbox.token)

    def list_updates(self, ordering_key: str) -> Sequence[Envelope]:
        """Return the mail of a mailbox in the order of processing, if there is any."""
        mailbox = self.find_mailbox(ordering_key)
        return tuple(mailbox.mail) if mailbox is not None else ()

    def remove_update(self, ordering_key: str, update_id: int) -> None:
        """Remove an update that is stored in Redis now, from a claimable mailbox.

        An empty mailbox is removed as well. Has no effect if the update is not there.
        """
        mailbox = self.find_mailbox(ordering_key)
        if mailbox is not None and mailbox.remove(update_id) is not None:
            self.in_memory -= 1
            self.drop_if_empty(ordering_key, mailbox)

    def drop_if_empty(self, ordering_key: str, mailbox: Mailbox) -> None:
        """Remove a mailbox, with its lease, if it has no mail left."""
        if not mailbox.mail:
            self._leased.pop(ordering_key, None)
            self._unleased.pop(ordering_key, None)

    def find_mailbox(self, ordering_key: str) -> Mailbox | None:
        """Return the mailbox of an ordering key; None if there is none."""
        return self._leased.get(ordering_key) or self._unleased.get(ordering_key)

    def find_leased_mailbox(self, lease: MailboxLease) -> Mailbox | None:
        """Return the mailbox of a lease; None if the lease's token is not current."""
        mailbox = self._leased.get(lease.ordering_key)
        if mailbox is None or not mailbox.token:
            return None
        return mailbox if mailbox.token == lease.token else None

    def grant_lease(self, ordering_key: str, mailbox: Mailbox) -> MailboxLease:
        """Give a mailbox a new lease, which makes the previous one invalid.

        Args:
            ordering_key: the key of the mailbox.
            mailbox: the mailbox, which has mail and is not among the unleased ones.
        """
        now = self._clock.uptime()
        mailbox.record_new_owner()
        mailbox.token = next(self._tokens)
        mailbox.claimable_at = now + self._lease_seconds
        self._leased[ordering_key] = mailbox
        state = self._states.get(ordering_key, now)
        return MailboxLease(
            ordering_key,
            mailbox.token,
            state,
            mailbox.mail[0],
            mailbox.claimable_at,
            owner_losses=mailbox.owner_losses,
            owner_crashes=mailbox.owner_crashes,
        )

    def make_claimable(self, ordering_key: str, mailbox: Mailbox) -> None:
        """Let any worker acquire a mailbox from now on, behind all others that wait.

        Args:
            ordering_key: the key of the mailbox.
            mailbox: the mailbox, which is not among the leased ones.
        """
        mailbox.claimable_at = self._clock.uptime()
        self._unleased[ordering_key] = mailbox
