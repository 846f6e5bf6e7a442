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

from gateway.domain.errors import ClaimLost
from gateway.domain.ports import LEASE_SECONDS, Claim, Clock, Placed
from gateway.domain.suspicion import UNSUSPECTED
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
        letters: DeadLetterLimits = IN_MEMORY,
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
        self.letters = KeptLetters(letters)
        """The dead letters."""
        self.queued = 0
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
        self, envelope: Envelope, *, claim: bool = True, bounded: bool = True
    ) -> Claim | Placed:
        """Append an update to its mailbox. See `Mailboxes.put`."""
        lane = envelope.lane
        mailbox = self._mailbox(lane)
        if mailbox is not None:
            placed = mailbox.add(envelope, self._limit if bounded else None)
            if placed is Placed.STORED:
                self.queued += 1
            return placed
        mailbox = Mailbox([envelope], suspect=envelope.update_id)
        self.queued += 1
        if claim:
            return self._lend(lane, mailbox)
        self._leave(lane, mailbox)
        return Placed.STORED

    async def commit(
        self,
        claim: Claim,
        update_id: int,
        state: bytes,
        *,
        dead: str = "",
        give_back: bool = False,
    ) -> Envelope | None:
        """Remove an update, save the state, go on. See `Mailboxes.commit`.

        The lease may have run out, as long as nobody else claimed the lane.
        """
        mailbox = self._held(claim)
        if mailbox is None:
            raise ClaimLost("the claim's token is not the lane's current one")
        done = mailbox.take(update_id)
        if done is not None:
            self.queued -= 1
            if dead:
                letter = give_up(done, dead, self._clock.now())
                self.letters.keep(letter, self._clock.uptime())
        now = self._clock.uptime()
        self._states.save(claim.lane, state, now)
        if mailbox.deaths:
            mailbox.clear()
        if mailbox.mail and not give_back:
            claim.until = mailbox.due = now + self._lease_seconds
            return mailbox.mail[0]
        del self._claimed[claim.lane]
        if mailbox.mail:
            self._leave(claim.lane, mailbox)
        return None

    async def renew(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Extend the leases of these claims. Returns those that were lost."""
        until = self._clock.uptime() + self._lease_seconds
        lost = []
        for claim in claims:
            mailbox = self._held(claim)
            if mailbox is None:
                lost.append(claim)
            else:
                claim.until = mailbox.due = until
        return lost

    async def release(self, claim: Claim) -> None:
        """Give a lane back with its mail. Without effect if the claim was lost."""
        mailbox = self._held(claim)
        if mailbox is not None:
            del self._claimed[claim.lane]
            self._leave(claim.lane, mailbox)

    async def waiting(self, limit: int) -> Sequence[str]:
        """List lanes with mail that anybody may claim, longest waiting first."""
        now = self._clock.uptime()
        self.letters.trim(now)
        claimed = self._claimed.items()
        ended = sorted((box.due, lane) for lane, box in claimed if box.due <= now)
        # Lazy: there may be very many of them, and only the first ones are wanted.
        unclaimed = ((box.due, lane) for lane, box in self._unclaimed.items())
        longest_first = merge(ended, unclaimed)
        return [lane for _, lane in islice(longest_first, limit)]

    async def claim(self, lane: str) -> Claim | None:
        """Claim a waiting lane. See `Mailboxes.claim`."""
        mailbox = self._unclaimed.pop(lane, None)
        if mailbox is None:
            mailbox = self._claimed.get(lane)
            if mailbox is None or mailbox.due > self._clock.uptime():
                return None
            if mailbox.token and (pause := mailbox.count_death()):
                mailbox.token = ""
                mailbox.due = self._clock.uptime() + pause
                return None
        return self._lend(lane, mailbox)

    async def note_step(self, claim: Claim, *, running: bool) -> None:
        """Note whether a suspected update is processed. See `Mailboxes.note_step`."""
        mailbox = self._held(claim)
        if mailbox is not None and mailbox.deaths > UNSUSPECTED:
            mailbox.stage = Stage.RUNNING if running else Stage.WAITING

    async def bury(self, letter: DeadLetter) -> None:
        """Keep a dead letter that never was in a mailbox."""
        self.letters.keep(letter, self._clock.uptime())

    def __iter__(self) -> Iterator[str]:
        """Go through the lanes that have mail."""
        return chain(self._claimed, self._unclaimed)

    def holds(self, lane: str) -> bool:
        """Tell whether a lane has mail here."""
        return self._mailbox(lane) is not None

    def is_claimed(self, lane: str) -> bool:
        """Tell whether somebody works on a lane here."""
        mailbox = self._claimed.get(lane)
        return mailbox is not None and bool(mailbox.token)

    def mail(self, lane: str) -> Sequence[Envelope]:
        """Give what a lane's mailbox holds, lowest `update_id` first."""
        mailbox = self._mailbox(lane)
        return tuple(mailbox.mail) if mailbox is not None else ()

    def withdraw(self, lane: str, update_id: int) -> None:
        """Remove an update that is elsewhere now. Its lane is one that waits."""
        mailbox = self._mailbox(lane)
        if mailbox is None or mailbox.take(update_id) is None:
            return
        self.queued -= 1
        if not mailbox.mail:
            self._claimed.pop(lane, None)
            self._unclaimed.pop(lane, None)

    def _mailbox(self, lane: str) -> Mailbox | None:
        return self._claimed.get(lane) or self._unclaimed.get(lane)

    def _held(self, claim: Claim) -> Mailbox | None:
        """Give the claim's mailbox, if its token is the lane's current one."""
        mailbox = self._claimed.get(claim.lane)
        if mailbox is None or not mailbox.token:
            return None
        return mailbox if mailbox.token == claim.token else None

    def _lend(self, lane: str, mailbox: Mailbox) -> Claim:
        """Make a new claim of a lane, which ends the one before it."""
        now = self._clock.uptime()
        mailbox.begin()
        mailbox.token = self._tokens.make()
        mailbox.due = now + self._lease_seconds
        self._claimed[lane] = mailbox
        state = self._states.get(lane, now)
        return Claim(
            lane,
            mailbox.token,
            state,
            mailbox.mail[0],
            mailbox.due,
            deaths=mailbox.deaths,
            crashes=mailbox.crashes,
        )

    def _leave(self, lane: str, mailbox: Mailbox) -> None:
        """Let a lane wait unclaimed, behind all others."""
        mailbox.due = self._clock.uptime()
        self._unclaimed[lane] = mailbox
