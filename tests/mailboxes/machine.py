"""Mailboxes against a plain model of them, under any order of calls.

The model is a dictionary of mailboxes, of current claims and of times. Whatever a call
answers has to be what the model says, and after every call the store has to hold what
the model holds. Every call is atomic, so an order of calls is an interleaving of
workers: each claim that was ever given may be used at any later time, as by a worker
that was paused, and any claim may be left alone, as by a worker that died.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import pairwise
from typing import Any, TypeVar

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

from gateway.domain.errors import ClaimLost
from gateway.domain.ports import Claim, Placed
from gateway.domain.suspicion import PAUSES, UNSUSPECTED
from gateway.domain.update import DeadLetter, Envelope
from gateway.domain.user_state import KEPT_SECONDS
from tests.mailboxes.stores import LEASE, LIMIT, OpenStore, Store, envelope

T = TypeVar("T")

LANES = st.sampled_from(["7", "8", "-9"])
IDS = st.integers(1, LIMIT + 3)  # few, so that puts meet; more than a mailbox holds
REASONS = st.sampled_from(["", "", "", "crashed"])
MOMENT = 0.002
"""Nodes of a Cluster are asked how long lanes wait one after the other, in whole ms."""

RARELY = st.integers(0, 3).map(lambda drawn: drawn == 0)


class MailboxMachine(RuleBasedStateMachine):
    """Calls of the port in any order."""

    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.exits = AsyncExitStack()
        self.store = self.run(self.exits.enter_async_context(self.open_store()))
        self.serial = 0
        # The model.
        self.mail: dict[str, dict[int, Envelope]] = {}
        self.owners: dict[str, Claim] = {}
        self.due: dict[str, float] = {}
        self.deaths: dict[str, tuple[int, int, int]] = {}
        self.stages: dict[str, str] = {}
        self.states: dict[str, bytes] = {}
        self.dead: list[tuple[int, str, str, bytes]] = []
        # The history.
        self.every_claim: list[Claim] = []
        self.accepted = 0
        self.removed = 0

    def open_store(self) -> AbstractAsyncContextManager[Store]:
        """Open the store under test."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Close the store."""
        self.run(self.exits.aclose())
        self.runner.close()

    @initialize(target=claims, tries=st.integers(0, 5))
    def begin_with_a_suspect(self, tries: int) -> MultipleResults[Claim]:
        """Let some owners of a lane vanish, or none: it takes long to get there."""
        if not tries:
            return multiple()
        answers = [self.put("7", 2, claim=True, free=False)]
        answers += [self.take_over("7") for _ in range(tries)]
        return multiple(*(claim for claim in answers if isinstance(claim, Claim)))

    @rule(target=claims, lane=LANES, update_id=IDS, claim=st.booleans(), free=RARELY)
    def put(
        self, lane: str, update_id: int, claim: bool, free: bool
    ) -> Claim | MultipleResults[Claim]:
        """Put an update, a new one or one that is there; `free` of the bound."""
        update = envelope(update_id, lane, body=self.bytes())
        answer = self.call(
            self.store.mailboxes.put(update, claim=claim, bounded=not free)
        )
        mail = self.mail.get(lane, {})
        if update_id in mail:
            assert answer is Placed.ALREADY
        elif len(mail) >= LIMIT and not free:
            assert answer is Placed.FULL
        else:
            self.accepted += 1
            self.mail.setdefault(lane, {})[update_id] = update
            if claim and not mail:
                return self.claimed(lane, answer)
            assert answer is Placed.STORED
            self.due.setdefault(lane, self.now)
        return multiple()

    @rule(target=claims, lane=LANES)
    def claim(self, lane: str) -> Claim | MultipleResults[Claim]:
        """Claim a lane, whether it is waiting or not."""
        answer = self.call(self.store.mailboxes.claim(lane))
        if lane not in self.mail or self.due[lane] > self.now:
            assert answer is None
            return multiple()
        if pause := self.count_death(lane):
            assert answer is None
            self.owners.pop(lane)
            self.due[lane] = self.now + pause
            return multiple()
        return self.claimed(lane, answer)

    @rule(target=claims, lane=LANES)
    def take_over(self, lane: str) -> Claim | MultipleResults[Claim]:
        """Claim a lane whose owner, if it has one, vanished."""
        self.time_passes(1.1 * LEASE)
        return self.claim(lane)

    @rule(lane=LANES, running=st.booleans())
    def note_step_of_owner(self, lane: str, running: bool) -> None:
        """Note that a step begins or ends, as the lane's owner does."""
        if lane in self.owners:
            self.note_step(self.owners[lane], running)

    @rule(claim=claims, running=st.booleans())
    def note_step(self, claim: Claim, running: bool) -> None:
        """Note that a step begins or ends, be the update suspected or not."""
        self.call(self.store.mailboxes.note_step(claim, running=running))
        if self.owners.get(claim.lane) is claim:
            self.stages[claim.lane] = "running" if running else "waiting"

    @rule(claim=claims, dead=REASONS, give_back=RARELY)
    def commit_head(self, claim: Claim, dead: str, give_back: bool) -> None:
        """Finish the update that the claim's owner has most reason to work on."""
        mail = self.mail.get(claim.lane)
        update_id = min(mail) if mail else claim.head.update_id
        self.commit(claim, update_id, dead, give_back)

    @rule(claim=claims, update_id=IDS, dead=REASONS, give_back=RARELY)
    def commit_any(
        self, claim: Claim, update_id: int, dead: str, give_back: bool
    ) -> None:
        """Finish any update, be it there or not."""
        self.commit(claim, update_id, dead, give_back)

    @rule(claim=claims, lane=LANES, made_up=st.sampled_from([None, "", "made-up"]))
    def use_a_foreign_token(self, claim: Claim, lane: str, made_up: str | None) -> None:
        """Use a token that never was one of this lane: it must do nothing at all."""
        if made_up is None and lane == claim.lane:
            return
        token = claim.token if made_up is None else made_up
        foreign = Claim(lane, token, None, claim.head, claim.until)
        self.commit(foreign, claim.head.update_id, "crashed", give_back=True)
        assert list(self.call(self.store.mailboxes.renew([foreign]))) == [foreign]
        self.call(self.store.mailboxes.release(foreign))

    @rule(some=st.lists(claims, max_size=4, unique_by=id))
    def renew(self, some: list[Claim]) -> None:
        """Renew current and lost claims in one call."""
        before = {claim: claim.until for claim in some}
        lost = self.call(self.store.mailboxes.renew(some))
        kept = [claim for claim in some if self.owners.get(claim.lane) is claim]
        assert len(lost) == len(set(lost))
        assert set(lost) == set(some) - set(kept)
        for claim in kept:
            self.extended(claim)
        assert all(claim.until == before[claim] for claim in lost)

    @rule()
    def renew_everything(self) -> None:
        """Renew every claim that was ever given: one per lane can be current."""
        self.renew(self.every_claim)

    @rule(claim=claims)
    def release(self, claim: Claim) -> None:
        """Give a lane back, or try to under a lost claim."""
        self.call(self.store.mailboxes.release(claim))
        if self.owners.get(claim.lane) is claim:
            self.left(claim.lane)

    # No sum of these comes near the end of a lease or of a pause from below: it would
    # be a matter of milliseconds then whether it has ended, and a store with a time of
    # its own could not pass.
    @rule(seconds=st.sampled_from([0.35 * LEASE, 1.1 * LEASE]))
    def time_passes(self, seconds: float) -> None:
        """Let some leases and pauses end."""
        self.run(self.store.pass_time(seconds))

    @rule()
    def a_day_passes(self) -> None:
        """Let every state expire."""
        self.run(self.store.pass_time(KEPT_SECONDS + 1))
        self.states.clear()

    @rule()
    def drain(self) -> None:
        """Let a worker do everything that is left, after all others died."""
        self.run(self.store.pass_time(1.1 * LEASE))
        for _ in range(3):
            for lane in self.run(self.store.mailboxes.waiting(100)):
                claim = self.claim(lane)
                if not isinstance(claim, Claim):  # after a pause
                    continue
                while lane in self.owners:
                    self.commit(claim, min(self.mail[lane]), "", give_back=False)
            self.run(self.store.pass_time(1.1 * LEASE))
        assert not self.mail

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        """Nothing is lost, nothing is there twice, and what is left is found."""
        self.run(self.check())

    async def check(self) -> None:
        """Compare the store with the model."""
        now = self.now
        listed = list(await self.store.mailboxes.waiting(100))
        assert sorted(listed) == sorted(k for k, due in self.due.items() if due <= now)
        times = [self.due[lane] for lane in listed]
        assert all(a <= b + MOMENT for a, b in pairwise(times))
        first = list(await self.store.mailboxes.waiting(1))
        assert len(first) == len(listed[:1])
        assert all(self.due[lane] <= times[0] + MOMENT for lane in first)
        assert await self.store.queued() == self.accepted - self.removed
        assert await self.store.lanes() == len(self.mail)
        letters = await self.store.dead_letters()
        assert [as_tuple(letter) for letter in letters] == self.dead

    @property
    def now(self) -> float:
        """The time of the last call."""
        return self.store.clock.uptime()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop of this machine.

        `Runner.run` would handle SIGINT anew each time, which takes longer than a call.
        """
        return self.runner.get_loop().run_until_complete(coroutine)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Make a call, some time after the one before."""

        async def make() -> T:
            await self.store.pass_time(0.001)
            return await coroutine

        return self.run(make())

    def bytes(self) -> bytes:
        """Give bytes that were never used before."""
        self.serial += 1
        return b"%d" % self.serial

    def count_death(self, lane: str) -> float:
        """Count the owner that vanished, if one did; give the pause that follows."""
        head = min(self.mail[lane])
        suspect, deaths, crashes = self.deaths.get(lane, (0, 0, 0))
        stage = self.stages.get(lane, "waiting")
        if suspect != head:
            deaths, crashes, stage = 0, 0, "waiting"
        if lane not in self.owners or (deaths > UNSUSPECTED and stage == "queued"):
            self.deaths[lane] = head, deaths, crashes
            return 0
        crashes += deaths > UNSUSPECTED and stage == "running"
        deaths += 1
        self.deaths[lane] = head, deaths, crashes
        beyond = deaths - UNSUSPECTED
        return PAUSES[min(beyond, 3) - 1] if beyond > 0 and not crashes else 0

    def claimed(self, lane: str, answer: object) -> Claim:
        """Check a claim that had to be given, and note it."""
        assert isinstance(answer, Claim)
        _, deaths, crashes = self.deaths.get(lane, (0, 0, 0))
        assert (answer.deaths, answer.crashes) == (deaths, crashes)
        self.stages[lane] = "queued"
        assert answer.lane == lane
        assert answer.token not in {claim.token for claim in self.every_claim}
        assert answer.state == self.states.get(lane)
        assert is_lowest(answer.head, self.mail[lane])
        self.every_claim.append(answer)
        self.owners[lane] = answer
        self.extended(answer)
        return answer

    def extended(self, claim: Claim) -> None:
        """Check and note that a lease was extended."""
        assert claim.until == self.now + LEASE
        self.due[claim.lane] = claim.until

    def left(self, lane: str) -> None:
        """Note that a lane waits."""
        self.owners.pop(lane, None)
        self.due[lane] = self.now

    def commit(self, claim: Claim, update_id: int, dead: str, give_back: bool) -> None:
        """Commit, and check what became of it."""
        state = self.bytes()
        lane = claim.lane
        lost = False
        following = None
        try:
            following = self.call(
                self.store.mailboxes.commit(
                    claim, update_id, state, dead=dead, give_back=give_back
                )
            )
        except ClaimLost:
            lost = True
        assert lost == (self.owners.get(lane) is not claim)
        if lost:
            return
        self.states[lane] = state
        self.deaths.pop(lane, None)
        self.stages[lane] = "waiting"
        done = self.mail[lane].pop(update_id, None)
        if done is not None:
            self.removed += 1
            if dead:
                self.dead.append((update_id, lane, dead, done.body))
        if self.mail[lane] and not give_back:
            assert is_lowest(following, self.mail[lane])
            self.extended(claim)
            return
        assert following is None
        self.left(lane)
        if not self.mail[lane]:
            del self.mail[lane], self.due[lane]


def machine_over(open_store: OpenStore) -> type[MailboxMachine]:
    """Give the machine that tries this implementation."""

    class Machine(MailboxMachine):
        def open_store(self) -> AbstractAsyncContextManager[Store]:
            return open_store()

    return Machine


def as_tuple(letter: DeadLetter) -> tuple[int, str, str, bytes]:
    """Give what is compared of a dead letter."""
    return letter.update_id, letter.lane, letter.reason, letter.body


def is_lowest(update: Envelope | None, mail: dict[int, Envelope]) -> bool:
    """Tell whether this is the update with the lowest id, as it was put first."""
    lowest = mail[min(mail)]
    return update is not None and (update.update_id, update.body) == (
        lowest.update_id,
        lowest.body,
    )
