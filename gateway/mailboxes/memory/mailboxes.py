"""Mailboxes in this process: the default where no Redis is configured.

Nothing here survives the end of the process.

Concurrency: all calls come from one event loop, and no method awaits anything, so
nothing runs between its checks and its changes. That alone makes every method atomic;
one that came to await between the two would need a lock.

A lane is claimed, unclaimed or free: its mailbox is in one of two dictionaries, or
there is none. Of a free lane nothing is left but its state. One that has to wait for a
while, because its owner vanished, is among the claimed ones, without a token.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from heapq import merge
from itertools import chain, islice

from gateway.domain.errors import LeaseLost
from gateway.domain.ports import LEASE_SECONDS, Clock, MailboxLease, PutResult
from gateway.domain.suspicion import MAX_UNSUSPECTED_LOSSES
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.fencing_tokens import Tokens
from gateway.mailboxes.memory.dead_letters import IN_MEMORY, KeptLetters
from gateway.mailboxes.memory.mailbox import Mailbox, Stage
from gateway.mailboxes.memory.user_states import States
from gateway.mailboxes.serialization import DeadLetterLimits, give_up


class MemoryMailboxes:
    """The `Mailboxes` of one process, in its memory.

    Args:
        clock: measures leases and lifetimes.
        limit: how many updates a mailbox may hold; at least 1.
        sessions: how many states are kept at most; those of the users who were served
            longest ago go first.
        lease_seconds: how long a claim lasts without being renewed.
        letters: how many dead letters are kept, and for how long.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        limit: int,
        sessions: int,
        lease_seconds: float = LEASE_SECONDS,
        dead_letters: DeadLetterLimits = IN_MEMORY,
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._lease_seconds = lease_seconds
        self._claimed: dict[str, Mailbox] = {}
        # In the order of `due`: a lane that is left goes to the end. An ordered
        # dictionary, because a plain one that is taken from at the front walks over
        # every entry that was deleted there before.
        self._unclaimed: OrderedDict[str, Mailbox] = OrderedDict()
        self._states = States(sessions)
        self.letters = KeptLetters(dead_letters)
        """The dead letters."""
        self.in_memory = 0
        """How many updates lie in mailboxes."""
        self._tokens = Tokens()

    @property
    def lanes(self) -> int:
        """How many lanes have mail, claimed or not."""
        return len(self._claimed) + len(self._unclaimed)

    @property
    def sessions(self) -> int:
        """How many states are kept."""
        return len(self._states)

    @property
    def longest_wait(self) -> float:
        """For how many seconds the lane that waits longest has been waiting."""
        now = self._clock.uptime()
        due = min((mailbox.due for mailbox in self._claimed.values()), default=now)
        for mailbox in islice(self._unclaimed.values(), 1):
            due = min(due, mailbox.due)
        return max(0.0, now - due)

    @property
    def mode(self) -> str:
        """Where new updates go."""
        return "memory"

    @property
    def degraded(self) -> bool:
        """False: this is how it was configured."""
        return False

    @property
    def problem(self) -> str:
        """Empty: there is nothing to mend."""
        return ""

    @property
    def buried(self) -> int:
        """How many dead letters there were, those included that are gone."""
        return self.letters.updates

    @property
    def rejected(self) -> int:
        """How many bodies there were that are no update, as above."""
        return self.letters.rejected

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Append an update to its mailbox. See `Mailboxes.put`."""
        ordering_key = envelope.ordering_key
        mailbox = self._mailbox(ordering_key)
        if mailbox is not None:
            result = mailbox.add(envelope, self._limit if enforce_limit else None)
            if result is PutResult.STORED:
                self.in_memory += 1
            return result
        mailbox = Mailbox([envelope], suspect=envelope.update_id)
        self.in_memory += 1
        if acquire:
            return self._lend(ordering_key, mailbox)
        self._leave(ordering_key, mailbox)
        return PutResult.STORED

    async def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        dead_letter_reason: str = "",
        release: bool = False,
    ) -> Envelope | None:
        """Remove an update, save the state, go on. See `Mailboxes.commit`.

        The lease may have run out, as long as nobody else claimed the lane.
        """
        mailbox = self._held(lease)
        if mailbox is None:
            raise LeaseLost("the claim's token is not the lane's current one")
        done = mailbox.take(update_id)
        if done is not None:
            self.in_memory -= 1
            if dead_letter_reason:
                dead_letter = give_up(done, dead_letter_reason, self._clock.now())
                self.letters.keep(dead_letter, self._clock.uptime())
        now = self._clock.uptime()
        self._states.save(lease.ordering_key, state, now)
        if mailbox.deaths:
            mailbox.clear()
        if mailbox.mail and not release:
            lease.expires_at = mailbox.due = now + self._lease_seconds
            return mailbox.mail[0]
        del self._claimed[lease.ordering_key]
        if mailbox.mail:
            self._leave(lease.ordering_key, mailbox)
        return None

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Extend the leases of these claims. Returns those that were lost."""
        until = self._clock.uptime() + self._lease_seconds
        lost = []
        for lease in leases:
            mailbox = self._held(lease)
            if mailbox is None:
                lost.append(lease)
            else:
                lease.expires_at = mailbox.due = until
        return lost

    async def release(self, lease: MailboxLease) -> None:
        """Give a lane back with its mail. Without effect if the claim was lost."""
        mailbox = self._held(lease)
        if mailbox is not None:
            del self._claimed[lease.ordering_key]
            self._leave(lease.ordering_key, mailbox)

    async def claimable(self, limit: int) -> Sequence[str]:
        """List lanes with mail that anybody may claim, longest waiting first."""
        now = self._clock.uptime()
        self.letters.trim(now)
        claimed = self._claimed.items()
        ended = sorted(
            (box.due, ordering_key) for ordering_key, box in claimed if box.due <= now
        )
        # Lazy: there may be very many of them, and only the first ones are wanted.
        unclaimed = (
            (box.due, ordering_key) for ordering_key, box in self._unclaimed.items()
        )
        longest_first = merge(ended, unclaimed)
        return [ordering_key for _, ordering_key in islice(longest_first, limit)]

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Claim a waiting lane. See `Mailboxes.claim`."""
        mailbox = self._unclaimed.pop(ordering_key, None)
        if mailbox is None:
            mailbox = self._claimed.get(ordering_key)
            if mailbox is None or mailbox.due > self._clock.uptime():
                return None
            if mailbox.token and (pause := mailbox.count_death()):
                mailbox.token = ""
                mailbox.due = self._clock.uptime() + pause
                return None
        return self._lend(ordering_key, mailbox)

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Note whether a suspected update is processed. See `Mailboxes.note_step`."""
        mailbox = self._held(lease)
        if mailbox is not None and mailbox.deaths > MAX_UNSUSPECTED_LOSSES:
            mailbox.stage = Stage.RUNNING if running else Stage.WAITING

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Keep a dead letter that never was in a mailbox."""
        self.letters.keep(dead_letter, self._clock.uptime())

    def __iter__(self) -> Iterator[str]:
        """Go through the lanes that have mail."""
        return chain(self._claimed, self._unclaimed)

    def holds(self, ordering_key: str) -> bool:
        """Tell whether a lane has mail here."""
        return self._mailbox(ordering_key) is not None

    def is_claimed(self, ordering_key: str) -> bool:
        """Tell whether somebody works on a lane here."""
        mailbox = self._claimed.get(ordering_key)
        return mailbox is not None and bool(mailbox.token)

    def mail(self, ordering_key: str) -> Sequence[Envelope]:
        """Give what a lane's mailbox holds, lowest `update_id` first."""
        mailbox = self._mailbox(ordering_key)
        return tuple(mailbox.mail) if mailbox is not None else ()

    def withdraw(self, ordering_key: str, update_id: int) -> None:
        """Remove an update that is elsewhere now. Its lane is one that waits."""
        mailbox = self._mailbox(ordering_key)
        if mailbox is None or mailbox.take(update_id) is None:
            return
        self.in_memory -= 1
        if not mailbox.mail:
            self._claimed.pop(ordering_key, None)
            self._unclaimed.pop(ordering_key, None)

    def _mailbox(self, ordering_key: str) -> Mailbox | None:
        return self._claimed.get(ordering_key) or self._unclaimed.get(ordering_key)

    def _held(self, lease: MailboxLease) -> Mailbox | None:
        """Give the claim's mailbox, if its token is the lane's current one."""
        mailbox = self._claimed.get(lease.ordering_key)
        if mailbox is None or not mailbox.token:
            return None
        return mailbox if mailbox.token == lease.token else None

    def _lend(self, ordering_key: str, mailbox: Mailbox) -> MailboxLease:
        """Make a new claim of a lane, which ends the one before it."""
        now = self._clock.uptime()
        mailbox.begin()
        mailbox.token = self._tokens.make()
        mailbox.due = now + self._lease_seconds
        self._claimed[ordering_key] = mailbox
        state = self._states.get(ordering_key, now)
        return MailboxLease(
            ordering_key,
            mailbox.token,
            state,
            mailbox.mail[0],
            mailbox.due,
            deaths=mailbox.deaths,
            crashes=mailbox.crashes,
        )

    def _leave(self, ordering_key: str, mailbox: Mailbox) -> None:
        """Let a lane wait unclaimed, behind all others."""
        mailbox.due = self._clock.uptime()
        self._unclaimed[ordering_key] = mailbox
