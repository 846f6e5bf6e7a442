"""Mailboxes against a plain model of them, under any order of calls.

The model is a dictionary of mailboxes, of current leases and of times. Whatever a call
answers has to be what the model says, and after every call the store has to hold what
the model holds. Every call is atomic, so an order of calls is an interleaving of
workers: each lease that was ever given may be used at any later time, as by a worker
that was paused, and any lease may be left alone, as by a worker that died.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import pairwise
from typing import Any, TypeVar

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from gateway.domain.errors import LeaseLost
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.poison import MAX_UNSUSPECTED_LOSSES
from gateway.domain.ports import PutResult
from gateway.domain.update import DeadLetter, Envelope
from gateway.domain.user_state import STATE_TTL
from tests.factories import build_envelope
from tests.support.stores import LEASE, LIMIT, PAUSES, OpenStore, Store

T = TypeVar("T")

ORDERING_KEYS = st.sampled_from(["7", "8", "-9"])
IDS = st.integers(1, LIMIT + 3)  # few, so that puts meet; more than a mailbox holds
REASONS = st.sampled_from([None, None, None, "crashed"])
MOMENT = 0.002
"""Nodes of a Cluster are asked one after the other how long mailboxes wait, in ms."""

RARELY = st.integers(0, 3).map(lambda drawn: drawn == 0)


class MailboxMachine(RuleBasedStateMachine):
    """Calls of the port in any order."""

    leases: Bundle[MailboxLease] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.exits = AsyncExitStack()
        self.store = self.run(self.exits.enter_async_context(self.open_store()))
        self.serial = 0
        # The model.
        self.mail: dict[str, dict[float, Envelope]] = {}
        self.owners: dict[str, MailboxLease] = {}
        self.due: dict[str, float] = {}
        self.deaths: dict[str, tuple[float, int, int]] = {}
        self.stages: dict[str, str] = {}
        self.states: dict[str, bytes] = {}
        self.dead: list[tuple[int | None, str, str, bytes]] = []
        # The history.
        self.every_lease: list[MailboxLease] = []
        self.accepted = 0
        self.removed = 0

    def open_store(self) -> AbstractAsyncContextManager[Store]:
        """Open the store under test."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Close the store."""
        self.run(self.exits.aclose())
        self.runner.close()

    @initialize(target=leases, tries=st.integers(0, 5))
    def begin_with_a_suspect(self, tries: int) -> MultipleResults[MailboxLease]:
        """Let some owners of a mailbox vanish, or none: it takes long to get there."""
        if not tries:
            return multiple()
        answers = [self.put("7", 2, acquire=True, free=False)]
        answers += [self.take_over("7") for _ in range(tries)]
        return multiple(
            *(lease for lease in answers if isinstance(lease, MailboxLease))
        )

    @rule(
        target=leases,
        ordering_key=ORDERING_KEYS,
        update_id=IDS,
        acquire=st.booleans(),
        free=RARELY,
    )
    def put(
        self, ordering_key: str, update_id: int, acquire: bool, free: bool
    ) -> MailboxLease | MultipleResults[MailboxLease]:
        """Put an update, a new one or one that is there; `free` of the bound."""
        update = build_envelope(update_id, ordering_key, body=self.make_bytes())
        answer = self.call(
            self.store.mailboxes.put(update, acquire=acquire, enforce_limit=not free)
        )
        mail = self.mail.get(ordering_key, {})
        if update_id in mail:
            assert answer is PutResult.DUPLICATE
        elif len(mail) >= LIMIT and not free:
            assert answer is PutResult.FULL
        else:
            acquires = acquire and ordering_key not in self.mail
            self.arrived(ordering_key, update_id, update)
            if acquires:
                return self.acquired(ordering_key, answer)
            assert answer is PutResult.STORED
        return multiple()

    @rule(target=leases, ordering_key=ORDERING_KEYS)
    def lease(self, ordering_key: str) -> MailboxLease | MultipleResults[MailboxLease]:
        """Acquire a mailbox, whether it is waiting or not."""
        answer = self.call(self.store.mailboxes.acquire(ordering_key))
        if ordering_key not in self.mail or self.due[ordering_key] > self.now:
            assert answer is None
            return multiple()
        if not self.mail[ordering_key]:
            assert answer is None
            self.forgotten(ordering_key)
            return multiple()
        if pause := self.count_death(ordering_key):
            assert answer is None
            self.owners.pop(ordering_key)
            self.due[ordering_key] = self.now + pause
            return multiple()
        return self.acquired(ordering_key, answer)

    @rule(target=leases, ordering_key=ORDERING_KEYS)
    def take_over(
        self, ordering_key: str
    ) -> MailboxLease | MultipleResults[MailboxLease]:
        """Acquire a mailbox whose owner, if it has one, vanished."""
        self.time_passes(1.1 * LEASE)
        return self.lease(ordering_key)

    @rule(ordering_key=ORDERING_KEYS, running=st.booleans())
    def note_step_of_owner(self, ordering_key: str, running: bool) -> None:
        """Note that a step begins or ends, as the mailbox's owner does."""
        if ordering_key in self.owners:
            self.note_step(self.owners[ordering_key], running)

    @rule(lease=leases, running=st.booleans())
    def note_step(self, lease: MailboxLease, running: bool) -> None:
        """Note that a step begins or ends, be the update suspected or not."""
        self.call(self.store.mailboxes.record_step(lease, running=running))
        if self.owners.get(lease.ordering_key) is lease:
            self.stages[lease.ordering_key] = "running" if running else "waiting"

    @rule(lease=leases, dead=REASONS, give_back=RARELY)
    def commit_head(
        self, lease: MailboxLease, dead: str | None, give_back: bool
    ) -> None:
        """Finish the update that the lease's owner has most reason to work on."""
        self.commit_next(lease, dead, give_back)

    @rule(lease=leases, update_id=IDS, dead=REASONS, give_back=RARELY)
    def commit_any(
        self, lease: MailboxLease, update_id: int, dead: str | None, give_back: bool
    ) -> None:
        """Finish any update, be it there or not."""
        self.commit(lease, update_id, dead, give_back)

    @rule(
        lease=leases,
        ordering_key=ORDERING_KEYS,
        made_up=st.sampled_from([None, "", "made-up"]),
    )
    def use_a_foreign_token(
        self, lease: MailboxLease, ordering_key: str, made_up: str | None
    ) -> None:
        """Use a token that never was one of this mailbox: it must do nothing at all."""
        if made_up is None and ordering_key == lease.ordering_key:
            return
        token = lease.token if made_up is None else made_up
        foreign = MailboxLease(
            ordering_key, token, None, lease.next_update, lease.expires_at
        )
        self.commit(foreign, lease.next_update.update_id, "crashed", release=True)
        assert list(self.call(self.store.mailboxes.renew([foreign]))) == [foreign]
        self.call(self.store.mailboxes.release(foreign))

    @rule(some=st.lists(leases, max_size=4, unique_by=id))
    def renew(self, some: list[MailboxLease]) -> None:
        """Renew current and lost leases in one call."""
        before = {lease: lease.expires_at for lease in some}
        lost = self.call(self.store.mailboxes.renew(some))
        kept = [lease for lease in some if self.owners.get(lease.ordering_key) is lease]
        assert len(lost) == len(set(lost))
        assert set(lost) == set(some) - set(kept)
        for lease in kept:
            self.extended(lease)
        assert all(lease.expires_at == before[lease] for lease in lost)

    @rule()
    def renew_everything(self) -> None:
        """Renew every lease that was ever given: one per mailbox can be current."""
        self.renew(self.every_lease)

    @rule(lease=leases)
    def release(self, lease: MailboxLease) -> None:
        """Return a mailbox back, or try to under a lost lease."""
        self.call(self.store.mailboxes.release(lease))
        if self.owners.get(lease.ordering_key) is lease:
            self.left(lease.ordering_key)

    # No sum of these comes near the end of a lease or of a pause from below: it would
    # be a matter of milliseconds then whether it has ended, and a store with a time of
    # its own could not pass.
    @rule(seconds=st.sampled_from([0.35 * LEASE, 1.1 * LEASE]))
    def time_passes(self, seconds: float) -> None:
        """Let some leases and pauses end."""
        self.run(self.store.pass_time(seconds))

    @rule()
    def a_day_passes(self) -> None:
        """Let every state expire, and everything else that is kept for a day."""
        self.run(self.store.pass_time(STATE_TTL + 100))
        self.states.clear()
        self.a_day_has_passed()

    def a_day_has_passed(self) -> None:
        """Note what else is gone after a day."""

    @rule()
    def drain(self) -> None:
        """Let a worker do everything that is left, after all others died."""
        self.run(self.store.pass_time(1.1 * LEASE))
        for _ in range(3):
            for ordering_key in self.run(self.store.mailboxes.claimable(100)):
                lease = self.lease(ordering_key)
                if not isinstance(lease, MailboxLease):  # after a pause
                    continue
                while ordering_key in self.owners:
                    self.commit_next(lease, None, release=False)
            self.run(self.store.pass_time(1.1 * LEASE))
        assert not self.mail

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        """Nothing is lost, nothing is there twice, and what is left is found."""
        self.run(self.check())

    async def check(self) -> None:
        """Compare the store with the model."""
        now = self.now
        listed = list(await self.store.mailboxes.claimable(100))
        assert sorted(listed) == sorted(k for k, due in self.due.items() if due <= now)
        times = [self.due[ordering_key] for ordering_key in listed]
        assert all(a <= b + MOMENT for a, b in pairwise(times))
        first = list(await self.store.mailboxes.claimable(1))
        assert len(first) == len(listed[:1])
        assert all(
            self.due[ordering_key] <= times[0] + MOMENT for ordering_key in first
        )
        assert await self.store.in_memory() == self.accepted - self.removed
        assert await self.store.count_mailboxes() == len(self.mail)
        dead_letters = await self.store.dead_letters()
        assert [as_tuple(dead_letter) for dead_letter in dead_letters] == self.dead

    @property
    def now(self) -> float:
        """The time of the last call."""
        return self.store.clock.uptime()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop of this machine.

        `Runner.run` would handle SIGINT again each time, which takes longer than a
        call.
        """
        return self.runner.get_loop().run_until_complete(coroutine)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Make a call, some time after the one before."""

        async def make() -> T:
            await self.store.pass_time(0.001)
            return await coroutine

        answer = self.run(make())
        if self.store.is_replaying:
            reject()
        return answer

    def make_bytes(self) -> bytes:
        """Return bytes that were never used before."""
        self.serial += 1
        return b"%d" % self.serial

    def count_death(self, ordering_key: str) -> float:
        """Count the owner that vanished, if one did; return the pause that follows."""
        head = min(self.mail[ordering_key])
        suspect, deaths, crashes = self.deaths.get(ordering_key, (0, 0, 0))
        stage = self.stages.get(ordering_key, "waiting")
        if suspect != head:
            deaths, crashes, stage = 0, 0, "waiting"
        if ordering_key not in self.owners or (
            deaths > MAX_UNSUSPECTED_LOSSES and stage == "queued"
        ):
            self.deaths[ordering_key] = head, deaths, crashes
            return 0
        crashes += deaths > MAX_UNSUSPECTED_LOSSES and stage == "running"
        deaths += 1
        self.deaths[ordering_key] = head, deaths, crashes
        beyond = deaths - MAX_UNSUSPECTED_LOSSES
        return PAUSES[min(beyond, 3) - 1] if beyond > 0 and not crashes else 0

    def acquired(self, ordering_key: str, answer: object) -> MailboxLease:
        """Check a lease that had to be given, and note it."""
        assert isinstance(answer, MailboxLease)
        _, deaths, crashes = self.deaths.get(ordering_key, (0, 0, 0))
        assert (answer.owner_losses, answer.owner_crashes) == (deaths, crashes)
        self.stages[ordering_key] = "queued"
        assert answer.ordering_key == ordering_key
        assert answer.token not in {lease.token for lease in self.every_lease}
        assert answer.state == self.states.get(ordering_key)
        assert is_lowest(answer.next_update, self.mail[ordering_key])
        self.every_lease.append(answer)
        self.owners[ordering_key] = answer
        self.extended(answer)
        return answer

    def extended(self, lease: MailboxLease) -> None:
        """Check and note that a lease was extended."""
        assert lease.expires_at == self.now + LEASE
        self.due[lease.ordering_key] = lease.expires_at

    def arrived(self, ordering_key: str, position: float, mail: Envelope) -> None:
        """Note that a mailbox has more mail."""
        self.accepted += 1
        self.mail.setdefault(ordering_key, {})[position] = mail
        self.due.setdefault(ordering_key, self.now)

    def forgotten(self, ordering_key: str) -> None:
        """Note that a mailbox without mail is gone."""
        del self.mail[ordering_key], self.due[ordering_key]
        self.owners.pop(ordering_key, None)
        self.deaths.pop(ordering_key, None)

    def left(self, ordering_key: str) -> None:
        """Note that a mailbox waits."""
        self.owners.pop(ordering_key, None)
        self.due[ordering_key] = self.now

    def commit_next(
        self, lease: MailboxLease, dead_letter_reason: str | None, release: bool
    ) -> None:
        """Finish the head of the mailbox, or what is left of it for a lost lease."""
        mail = self.mail.get(lease.ordering_key)
        head = mail[min(mail)] if mail else lease.next_update
        self.commit(lease, head.update_id, dead_letter_reason, release)

    def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        dead_letter_reason: str | None,
        release: bool,
    ) -> None:
        """Commit, and check what became of it."""
        state = self.make_bytes()
        committing = self.store.mailboxes.commit(
            lease,
            update_id,
            state,
            dead_letter_reason=dead_letter_reason,
            release=release,
        )
        lost, following = self.call_with_lease(lease, committing)
        if not lost:
            self.done(lease, update_id, state, dead_letter_reason)
            self.followed(lease, following, release)

    def call_with_lease(
        self, lease: MailboxLease, call: Coroutine[Any, Any, T]
    ) -> tuple[bool, T | None]:
        """Make a call that only the owner may make; return whether it was refused."""
        lost, answer = False, None
        try:
            answer = self.call(call)
        except LeaseLost:
            lost = True
        assert lost == (self.owners.get(lease.ordering_key) is not lease)
        return lost, answer

    def done(
        self,
        lease: MailboxLease,
        position: float,
        state: bytes,
        dead_letter_reason: str | None,
    ) -> None:
        """Note that the mail at this position was finished, if it was there."""
        ordering_key = lease.ordering_key
        self.states[ordering_key] = state
        self.deaths.pop(ordering_key, None)
        self.stages[ordering_key] = "waiting"
        done = self.mail[ordering_key].pop(position, None)
        if done is not None:
            self.removed += 1
            if dead_letter_reason:
                self.dead.append(
                    (
                        done.update_id or None,
                        ordering_key,
                        dead_letter_reason,
                        done.body,
                    )
                )

    def followed(
        self, lease: MailboxLease, following: Envelope | None, release: bool
    ) -> None:
        """Check and note what a commit answered."""
        ordering_key = lease.ordering_key
        if self.mail[ordering_key] and not release:
            assert is_lowest(following, self.mail[ordering_key])
            self.extended(lease)
            return
        assert following is None
        self.left(ordering_key)
        if not self.mail[ordering_key]:
            self.forgotten(ordering_key)


def machine_over(
    open_store: OpenStore, kind: type[MailboxMachine] = MailboxMachine
) -> type[MailboxMachine]:
    """Return the machine that tries this implementation."""

    class Machine(kind):  # type: ignore[misc, valid-type]
        def open_store(self) -> AbstractAsyncContextManager[Store]:
            return open_store()

    return Machine


def as_tuple(dead_letter: DeadLetter) -> tuple[int | None, str | None, str, bytes]:
    """Return what is compared of a dead letter."""
    return (
        dead_letter.update_id,
        dead_letter.ordering_key,
        dead_letter.reason,
        dead_letter.body,
    )


def is_lowest(first: Envelope | None, mail: dict[float, Envelope]) -> bool:
    """Return whether this is the first mail, as it was put first."""
    return first is not None and describe(first) == describe(mail[min(mail)])


def describe(mail: Envelope) -> tuple[object, ...]:
    """Return what is compared of mail."""
    delivery = mail.delivery and (mail.delivery.delivery_id, mail.delivery.request)
    return mail.update_id, mail.body, delivery
