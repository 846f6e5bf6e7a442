"""What every implementation of `Mailboxes` promises, one sentence at a time."""

import asyncio

import pytest

from gateway.domain.errors import ClaimLost
from gateway.domain.ports import Claim, Mailboxes, Placed
from gateway.domain.suspicion import PAUSES, UNSUSPECTED
from gateway.domain.update import DeadLetter
from gateway.domain.user_state import KEPT_SECONDS
from tests.mailboxes.stores import LEASE, LETTERS, LIMIT, Store, envelope


async def claimed(mailboxes: Mailboxes, *ids: int, lane: str = "7") -> Claim:
    """Put these updates into a free lane; give the claim that the first one brought."""
    first, *others = [await mailboxes.put(envelope(number, lane)) for number in ids]
    assert isinstance(first, Claim)
    assert set(others) <= {Placed.STORED}
    return first


async def unclaimed(mailboxes: Mailboxes, *ids: int, lane: str = "7") -> None:
    """Put these updates into a free lane without claiming it."""
    for number in ids:
        placed = await mailboxes.put(envelope(number, lane), claim=False)
        assert placed is Placed.STORED


async def claim_of(mailboxes: Mailboxes, lane: str = "7") -> Claim:
    """Claim a lane that is waiting."""
    claim = await mailboxes.claim(lane)
    assert isinstance(claim, Claim)
    return claim


async def commit_all(mailboxes: Mailboxes, claim: Claim) -> list[int]:
    """Do all the work of a lane; give the ids in the order of the work."""
    done = [claim.head.update_id]
    while following := await mailboxes.commit(claim, done[-1], b"state"):
        done.append(following.update_id)
    return done


class TestPut:
    """Appending an update."""

    async def test_a_free_lane_is_claimed_by_the_put(self, store: Store) -> None:
        """The worker where an update lands works on it, with one call of the store."""
        update = envelope(1)
        claim = await store.mailboxes.put(update)
        assert isinstance(claim, Claim)
        assert claim.lane == "7"
        assert claim.token
        assert claim.state is None
        assert (claim.head.update_id, claim.head.body) == (1, update.body)
        assert claim.until == store.clock.uptime() + LEASE
        assert list(await store.mailboxes.waiting(10)) == []

    async def test_a_claim_brings_the_state_of_the_last_commit(
        self, mailboxes: Mailboxes
    ) -> None:
        """What was remembered of a user is there with the user's next update."""
        claim = await claimed(mailboxes, 1)
        await mailboxes.commit(claim, 1, b"remembered")
        assert (await claimed(mailboxes, 2)).state == b"remembered"

    async def test_a_worker_that_is_full_only_stores(
        self, mailboxes: Mailboxes
    ) -> None:
        """Without a claim the lane waits for anybody."""
        await unclaimed(mailboxes, 1)
        assert list(await mailboxes.waiting(10)) == ["7"]

    async def test_an_update_that_is_there_is_not_stored_again(
        self, store: Store
    ) -> None:
        """Telegram repeats updates; the first of them stays, also in a full mailbox."""
        await store.mailboxes.put(envelope(1, body=b"first"), claim=False)
        await unclaimed(store.mailboxes, *range(2, LIMIT + 1))
        again = await store.mailboxes.put(envelope(1, body=b"again", arrived=9))
        assert again is Placed.ALREADY
        assert await store.queued() == LIMIT
        assert (await claim_of(store.mailboxes)).head.body == b"first"

    async def test_putting_again_leaves_the_claim_alone(
        self, mailboxes: Mailboxes
    ) -> None:
        """A repeated update neither ends a claim nor gives a second one."""
        claim = await claimed(mailboxes, 1)
        assert await mailboxes.put(envelope(1)) is Placed.ALREADY
        assert list(await mailboxes.renew([claim])) == []

    async def test_a_full_mailbox_refuses(self, store: Store) -> None:
        """One user cannot fill the memory."""
        await unclaimed(store.mailboxes, *range(1, LIMIT + 1))
        refused = await store.mailboxes.put(envelope(LIMIT + 1))
        assert refused is Placed.FULL
        assert await store.queued() == LIMIT

    async def test_a_payment_is_never_refused(self, store: Store) -> None:
        """What is put without the bound passes a full mailbox."""
        await unclaimed(store.mailboxes, *range(1, LIMIT + 1))
        stored = await store.mailboxes.put(envelope(LIMIT + 1), bounded=False)
        assert stored is Placed.STORED
        assert await store.queued() == LIMIT + 1

    async def test_one_lane_that_is_full_refuses_nothing_of_another(
        self, mailboxes: Mailboxes
    ) -> None:
        """No user suffers from another."""
        await claimed(mailboxes, *range(1, LIMIT + 1))
        assert await mailboxes.put(envelope(99)) is Placed.FULL
        await claimed(mailboxes, 100, lane="8")

    async def test_a_put_never_claims_a_lane_that_waits_unclaimed(
        self, mailboxes: Mailboxes
    ) -> None:
        """A talkative user would else pass by all those who wait longer."""
        await unclaimed(mailboxes, 1)
        assert await mailboxes.put(envelope(2)) is Placed.STORED
        assert list(await mailboxes.waiting(10)) == ["7"]

    async def test_a_put_never_claims_a_lane_whose_lease_ended(
        self, store: Store
    ) -> None:
        """Only the sweep does, so that deaths are counted in one place."""
        await claimed(store.mailboxes, 1)
        await store.pass_time(LEASE + 1)
        assert await store.mailboxes.put(envelope(2)) is Placed.STORED
        assert list(await store.mailboxes.waiting(10)) == ["7"]

    async def test_many_puts_at_once_give_one_claim(self, mailboxes: Mailboxes) -> None:
        """One user is never handled twice at once."""
        answers = await asyncio.gather(
            *(mailboxes.put(envelope(number)) for number in range(1, LIMIT + 1))
        )
        assert sum(isinstance(answer, Claim) for answer in answers) == 1
        assert answers.count(Placed.STORED) == LIMIT - 1


class TestCommit:
    """Finishing an update."""

    async def test_updates_are_done_in_the_order_of_their_ids(
        self, mailboxes: Mailboxes
    ) -> None:
        """Whatever the order of their arrival."""
        await unclaimed(mailboxes, 3, 1, 4, 2)
        assert await commit_all(mailboxes, await claim_of(mailboxes)) == [1, 2, 3, 4]

    async def test_a_late_update_with_a_lower_id_is_next(
        self, mailboxes: Mailboxes
    ) -> None:
        """Telegram sends messages and button presses over different connections."""
        claim = await claimed(mailboxes, 5, 7)
        await mailboxes.put(envelope(6))
        following = await mailboxes.commit(claim, 5, b"state")
        assert following is not None
        assert following.update_id == 6

    async def test_nothing_but_the_state_is_left_of_a_free_lane(
        self, store: Store
    ) -> None:
        """A user who is served leaves no mailbox and no claim behind."""
        claim = await claimed(store.mailboxes, 1)
        assert await store.lanes() == 1
        assert await store.mailboxes.commit(claim, 1, b"state") is None
        assert await store.lanes() == 0
        assert await store.queued() == 0
        assert list(await store.mailboxes.waiting(10)) == []
        assert await store.mailboxes.claim("7") is None

    async def test_every_claim_has_its_own_token(self, mailboxes: Mailboxes) -> None:
        """The token of a finished claim opens nothing later."""
        old = await claimed(mailboxes, 1)
        await mailboxes.commit(old, 1, b"state")
        new = await claimed(mailboxes, 1)
        assert old.token != new.token
        with pytest.raises(ClaimLost):
            await mailboxes.commit(old, 1, b"stale")

    async def test_a_commit_extends_the_lease(self, store: Store) -> None:
        """Who gets on needs no renewal."""
        claim = await claimed(store.mailboxes, 1, 2)
        await store.pass_time(0.6 * LEASE)
        await store.mailboxes.commit(claim, 1, b"state")
        assert claim.until == store.clock.uptime() + LEASE
        await store.pass_time(0.6 * LEASE)
        assert list(await store.mailboxes.waiting(10)) == []
        assert await store.mailboxes.claim("7") is None

    async def test_a_commit_after_the_lease_counts_if_nobody_else_came(
        self, store: Store
    ) -> None:
        """The work was done once and need not be done again."""
        claim = await claimed(store.mailboxes, 1, 2)
        await store.pass_time(LEASE + 1)
        following = await store.mailboxes.commit(claim, 1, b"state")
        assert following is not None
        assert following.update_id == 2
        assert list(await store.mailboxes.waiting(10)) == []

    async def test_a_commit_under_a_lost_claim_changes_nothing(
        self, store: Store
    ) -> None:
        """A worker that was paused cannot undo what its successor does."""
        old = await claimed(store.mailboxes, 1, 2)
        await store.pass_time(LEASE + 1)
        new = await claim_of(store.mailboxes)
        until = old.until
        with pytest.raises(ClaimLost):
            await store.mailboxes.commit(old, 1, b"stale", dead="crashed")
        assert old.until == until
        assert await store.queued() == 2
        assert list(await store.dead_letters()) == []
        await store.mailboxes.release(new)
        again = await claim_of(store.mailboxes)
        assert (again.head.update_id, again.state) == (1, None)

    @pytest.mark.parametrize("token", ["", "made-up"])
    async def test_a_token_that_was_never_given_opens_no_lane(
        self, store: Store, token: str
    ) -> None:
        """Neither a free one, nor one that waits, nor one that is claimed."""
        await unclaimed(store.mailboxes, 1, lane="waits")
        await claimed(store.mailboxes, 1, lane="claimed")
        for lane in ("free", "waits", "claimed"):
            made_up = Claim(lane, token, None, envelope(1, lane), 0)
            with pytest.raises(ClaimLost):
                await store.mailboxes.commit(made_up, 1, b"stale")
            assert list(await store.mailboxes.renew([made_up])) == [made_up]
            await store.mailboxes.release(made_up)
        assert list(await store.mailboxes.waiting(10)) == ["waits"]
        assert await store.queued() == 2

    async def test_the_token_of_one_lane_does_not_open_another(
        self, mailboxes: Mailboxes
    ) -> None:
        """A token belongs to its lane."""
        claim = await claimed(mailboxes, 1, lane="7")
        await claimed(mailboxes, 1, lane="8")
        with pytest.raises(ClaimLost):
            await mailboxes.commit(
                Claim("8", claim.token, None, claim.head, 0), 1, b"stale"
            )

    async def test_a_commit_sent_again_gives_the_same_answer(
        self, store: Store
    ) -> None:
        """After a lost answer a commit is repeated, and one dead letter is kept."""
        claim = await claimed(store.mailboxes, 1, 2, 3)
        for _ in range(2):
            following = await store.mailboxes.commit(claim, 1, b"s", dead="crashed")
            assert following is not None
            assert following.update_id == 2
        assert await store.queued() == 2
        assert len(await store.dead_letters()) == 1

    async def test_a_commit_sent_again_after_the_last_update_has_lost_its_claim(
        self, mailboxes: Mailboxes
    ) -> None:
        """The lane is free then: drop the claim either way."""
        claim = await claimed(mailboxes, 1)
        await mailboxes.commit(claim, 1, b"state")
        with pytest.raises(ClaimLost):
            await mailboxes.commit(claim, 1, b"state")

    async def test_the_finished_update_need_not_be_there(self, store: Store) -> None:
        """The state is saved, and the work goes on with what is there."""
        claim = await claimed(store.mailboxes, 2)
        following = await store.mailboxes.commit(claim, 1, b"new", dead="crashed")
        assert following is not None
        assert following.update_id == 2
        assert list(await store.dead_letters()) == []
        await store.mailboxes.release(claim)
        assert (await claim_of(store.mailboxes)).state == b"new"

    async def test_a_lane_given_back_waits_with_its_mail(self, store: Store) -> None:
        """A user who never stops lets the others pass."""
        claim = await claimed(store.mailboxes, 1, 2)
        await store.pass_time(0.1)
        await unclaimed(store.mailboxes, 3, lane="8")
        await store.pass_time(0.1)
        following = await store.mailboxes.commit(claim, 1, b"state", give_back=True)
        assert following is None
        assert list(await store.mailboxes.waiting(10)) == ["8", "7"]
        assert list(await store.mailboxes.renew([claim])) == [claim]
        again = await claim_of(store.mailboxes)
        assert (again.head.update_id, again.state) == (2, b"state")

    async def test_a_lane_given_back_empty_is_free(self, store: Store) -> None:
        """There is nothing to wait for."""
        claim = await claimed(store.mailboxes, 1)
        await store.mailboxes.commit(claim, 1, b"state", give_back=True)
        assert await store.lanes() == 0
        assert (await claimed(store.mailboxes, 2)).state == b"state"


class TestLeases:
    """Keeping a lane, giving it back, and losing it."""

    async def test_a_renewed_claim_stays(self, store: Store) -> None:
        """However long the work takes."""
        claim = await claimed(store.mailboxes, 1)
        for _ in range(3):
            await store.pass_time(0.6 * LEASE)
            assert list(await store.mailboxes.renew([claim])) == []
            assert claim.until == store.clock.uptime() + LEASE
            assert await store.mailboxes.claim("7") is None

    async def test_a_claim_that_nobody_took_is_renewed_after_its_lease(
        self, store: Store
    ) -> None:
        """A short pause costs nothing."""
        claim = await claimed(store.mailboxes, 1)
        await store.pass_time(LEASE + 1)
        assert list(await store.mailboxes.renew([claim])) == []
        assert list(await store.mailboxes.waiting(10)) == []

    async def test_renewing_reports_the_claims_that_were_lost(
        self, store: Store
    ) -> None:
        """Those that were kept are renewed all the same."""
        taken = await claimed(store.mailboxes, 1, lane="taken")
        await store.pass_time(LEASE + 1)
        await claim_of(store.mailboxes, "taken")
        released = await claimed(store.mailboxes, 1, lane="released")
        await store.mailboxes.release(released)
        kept = await claimed(store.mailboxes, 1, lane="kept")
        await store.pass_time(0.6 * LEASE)
        lost = await store.mailboxes.renew([taken, kept, released])
        assert set(lost) == {taken, released}
        assert kept.until == store.clock.uptime() + LEASE

    async def test_renewing_nothing_loses_nothing(self, mailboxes: Mailboxes) -> None:
        """An idle worker renews an empty list."""
        assert list(await mailboxes.renew([])) == []

    async def test_a_released_lane_waits_behind_the_others(self, store: Store) -> None:
        """With all its mail."""
        claim = await claimed(store.mailboxes, 1)
        await store.pass_time(0.1)
        await unclaimed(store.mailboxes, 2, lane="8")
        await store.pass_time(0.1)
        await store.mailboxes.release(claim)
        assert list(await store.mailboxes.waiting(10)) == ["8", "7"]
        assert (await claim_of(store.mailboxes)).head.update_id == 1

    async def test_a_released_claim_is_over(self, mailboxes: Mailboxes) -> None:
        """Its token opens nothing, and a second release does nothing."""
        claim = await claimed(mailboxes, 1)
        await mailboxes.release(claim)
        with pytest.raises(ClaimLost):
            await mailboxes.commit(claim, 1, b"stale")
        successor = await claim_of(mailboxes)
        await mailboxes.release(claim)
        assert list(await mailboxes.renew([successor])) == []


class TestWaiting:
    """Finding the lanes that nobody works on."""

    async def test_lanes_are_listed_longest_waiting_first(self, store: Store) -> None:
        """A lane waits since its put, or since its lease ended."""
        await claimed(store.mailboxes, 1, lane="owner died")
        await store.pass_time(0.5)
        await unclaimed(store.mailboxes, 2, lane="put first")
        await store.pass_time(LEASE)
        await unclaimed(store.mailboxes, 3, lane="put last")
        await store.pass_time(0.5)
        assert list(await store.mailboxes.waiting(10)) == [
            "put first",
            "owner died",
            "put last",
        ]
        assert list(await store.mailboxes.waiting(2)) == ["put first", "owner died"]

    async def test_more_mail_does_not_change_since_when_a_lane_waits(
        self, store: Store
    ) -> None:
        """Neither backwards nor forwards."""
        for number, lane in enumerate(["7", "8", "7", "8", "7"]):
            await store.pass_time(0.1)
            await store.mailboxes.put(envelope(number, lane), claim=False)
        assert list(await store.mailboxes.waiting(10)) == ["7", "8"]

    async def test_a_claimed_lane_waits_when_its_lease_has_ended(
        self, store: Store
    ) -> None:
        """And not before: a worker that died is noticed by its silence."""
        await claimed(store.mailboxes, 1)
        await store.pass_time(LEASE - 0.5)
        assert list(await store.mailboxes.waiting(10)) == []
        await store.pass_time(1)
        assert list(await store.mailboxes.waiting(10)) == ["7"]

    async def test_of_two_workers_one_claims_a_waiting_lane(
        self, mailboxes: Mailboxes
    ) -> None:
        """The other comes too late, and a free lane cannot be claimed at all."""
        await unclaimed(mailboxes, 1)
        claims = await asyncio.gather(mailboxes.claim("7"), mailboxes.claim("7"))
        assert sum(claim is not None for claim in claims) == 1
        assert list(await mailboxes.waiting(10)) == []
        assert await mailboxes.claim("never seen") is None

    async def test_a_claim_of_a_waiting_lane_has_a_lease(self, store: Store) -> None:
        """As long as any other."""
        await unclaimed(store.mailboxes, 1)
        await store.pass_time(60)
        claim = await claim_of(store.mailboxes)
        assert claim.until == store.clock.uptime() + LEASE
        assert list(await store.mailboxes.waiting(10)) == []

    async def test_a_successor_goes_on_in_order(self, store: Store) -> None:
        """After a death nothing is lost and nothing is left out."""
        dead = await claimed(store.mailboxes, 1, 2, 3)
        await store.mailboxes.commit(dead, 1, b"state")
        await store.pass_time(LEASE + 1)
        successor = await claim_of(store.mailboxes)
        assert successor.state == b"state"
        assert await commit_all(store.mailboxes, successor) == [2, 3]


class TestDeaths:
    """Counting the owners that vanished with an update."""

    async def die(self, store: Store, times: int) -> None:
        """Let so many owners vanish while the update of lane 7 waits for others."""
        for _ in range(times):
            claim = await store.mailboxes.claim("7")
            if claim is None:  # it was counted, and pauses
                await store.pass_time(PAUSES[-1] + 0.1)
                claim = await claim_of(store.mailboxes)
            await store.mailboxes.note_step(claim, running=False)
            await store.pass_time(LEASE + 1)

    async def claim_later(self, store: Store) -> Claim:
        """Claim lane 7, after its pause if there is one."""
        claim = await store.mailboxes.claim("7")
        if claim is None:
            await store.pass_time(PAUSES[-1] + 0.1)
            claim = await claim_of(store.mailboxes)
        return claim

    async def test_a_claim_tells_how_many_owners_vanished(self, store: Store) -> None:
        """The one that got the update by its put is counted too."""
        await claimed(store.mailboxes, 1)
        await store.pass_time(LEASE + 1)
        await self.die(store, 1)
        claim = await self.claim_later(store)
        assert (claim.deaths, claim.crashes) == (2, 0)

    async def test_a_suspect_pauses_after_each_death(self, store: Store) -> None:
        """Longer each time, up to a limit; meanwhile nobody finds or claims it."""
        await unclaimed(store.mailboxes, 1)
        await self.die(store, UNSUSPECTED)
        for pause in (*PAUSES, PAUSES[-1]):
            await self.die(store, 1)
            assert await store.mailboxes.claim("7") is None
            await store.pass_time(0.2 * pause)
            assert list(await store.mailboxes.waiting(1)) == []
            assert await store.mailboxes.claim("7") is None
            await store.pass_time(0.9 * pause)
            assert list(await store.mailboxes.waiting(1)) == ["7"]

    async def test_an_update_that_comes_in_a_pause_waits_too(
        self, store: Store
    ) -> None:
        """The order of the lane is kept."""
        await unclaimed(store.mailboxes, 1)
        await self.die(store, 2)
        assert await store.mailboxes.claim("7") is None
        assert await store.mailboxes.put(envelope(2)) is Placed.STORED
        await store.pass_time(PAUSES[0] + 0.3)
        claim = await claim_of(store.mailboxes)
        assert await commit_all(store.mailboxes, claim) == [1, 2]

    async def test_an_owner_that_vanishes_in_a_step_is_a_crash(
        self, store: Store
    ) -> None:
        """The next claim knows, and there is no pause before it."""
        await unclaimed(store.mailboxes, 1)
        await self.die(store, 2)
        claim = await self.claim_later(store)
        for crashes in (1, 2):
            await store.mailboxes.note_step(claim, running=True)
            await store.pass_time(LEASE + 1)
            claim = await claim_of(store.mailboxes)
            assert (claim.deaths, claim.crashes) == (2 + crashes, crashes)

    async def test_an_owner_that_vanishes_behind_a_step_is_no_crash(
        self, store: Store
    ) -> None:
        """The update waited for a service, as hundreds do."""
        await unclaimed(store.mailboxes, 1)
        await self.die(store, 2)
        claim = await self.claim_later(store)
        await store.mailboxes.note_step(claim, running=True)
        await store.mailboxes.note_step(claim, running=False)
        await store.pass_time(LEASE + 1)
        claim = await self.claim_later(store)
        assert (claim.deaths, claim.crashes) == (3, 0)

    async def test_a_suspect_that_was_not_begun_with_saw_no_death(
        self, store: Store
    ) -> None:
        """However often that happens, it does not even pause."""
        await unclaimed(store.mailboxes, 1)
        await self.die(store, 2)
        claim = await self.claim_later(store)
        for _ in range(3):
            await store.pass_time(LEASE + 1)
            claim = await claim_of(store.mailboxes)
            assert (claim.deaths, claim.crashes) == (2, 0)

    async def test_steps_are_noted_for_suspects_alone(self, store: Store) -> None:
        """Of others a first crash is a death like any other."""
        claim = await claimed(store.mailboxes, 1)
        for deaths in (1, 2):
            await store.mailboxes.note_step(claim, running=True)
            await store.pass_time(LEASE + 1)
            claim = await self.claim_later(store)
            assert (claim.deaths, claim.crashes) == (deaths, 0)

    async def test_a_step_under_a_lost_claim_is_not_noted(self, store: Store) -> None:
        """A worker that stood still may come back at any time."""
        await unclaimed(store.mailboxes, 1)
        await self.die(store, 2)
        old = await self.claim_later(store)
        await store.pass_time(LEASE + 1)
        await claim_of(store.mailboxes)
        await store.mailboxes.note_step(old, running=True)
        await store.pass_time(LEASE + 1)
        assert (await claim_of(store.mailboxes)).crashes == 0

    async def test_a_lane_that_was_given_back_saw_no_death(self, store: Store) -> None:
        """Neither did one that nobody had claimed yet."""
        await unclaimed(store.mailboxes, 1)
        await store.pass_time(LEASE + 1)
        claim = await claim_of(store.mailboxes)
        assert claim.deaths == 0
        await store.mailboxes.release(claim)
        await store.pass_time(LEASE + 1)
        assert (await claim_of(store.mailboxes)).deaths == 0

    async def test_a_release_does_not_clear_a_suspect(self, store: Store) -> None:
        """A worker that stops has not proved that the update is harmless."""
        await unclaimed(store.mailboxes, 1)
        await self.die(store, 2)
        await store.mailboxes.release(await self.claim_later(store))
        assert (await claim_of(store.mailboxes)).deaths == 2

    async def test_a_commit_clears_the_lane(self, store: Store) -> None:
        """The next update is innocent."""
        await unclaimed(store.mailboxes, 1, 2, 3)
        await self.die(store, 2)
        claim = await self.claim_later(store)
        await store.mailboxes.note_step(claim, running=True)
        await store.mailboxes.commit(claim, 1, b"state")
        await store.pass_time(LEASE + 1)
        claim = await claim_of(store.mailboxes)
        assert (claim.deaths, claim.crashes) == (1, 0)

    async def test_deaths_are_counted_per_update(self, store: Store) -> None:
        """One with a lower id that came late has not seen them."""
        await unclaimed(store.mailboxes, 2)
        await self.die(store, 2)
        await store.mailboxes.release(await self.claim_later(store))
        await unclaimed(store.mailboxes, 1)
        assert (await claim_of(store.mailboxes)).deaths == 0


class TestDeadLetters:
    """Updates that were given up."""

    async def test_an_update_given_up_is_kept_as_a_dead_letter(
        self, store: Store
    ) -> None:
        """With all that is needed to replay it."""
        await store.mailboxes.put(envelope(1, body=b'{"update_id":1}'), claim=False)
        claim = await claim_of(store.mailboxes)
        await store.mailboxes.commit(claim, 1, b"state", dead="crashed")
        (letter,) = await store.dead_letters()
        assert (letter.update_id, letter.lane) == (1, "7")
        assert (letter.reason, letter.body) == ("crashed", b'{"update_id":1}')
        assert letter.time == pytest.approx(store.clock.now(), abs=1)
        assert await store.queued() == 0

    async def test_a_body_that_is_no_update_is_kept_too(self, store: Store) -> None:
        """It never was in a mailbox and belongs to no lane."""
        letter = DeadLetter(
            update_id=0, lane="", reason="malformed", time=5.0, body=b"\xff{"
        )
        await store.mailboxes.bury(letter)
        (kept,) = await store.dead_letters()
        assert (kept.update_id, kept.lane, kept.reason) == (0, "", "malformed")
        assert (kept.time, kept.body) == (5.0, b"\xff{")

    async def test_a_flood_of_malformed_bodies_displaces_no_updates(
        self, store: Store
    ) -> None:
        """Of those as many are kept as are allowed, the newest."""
        claim = await claimed(store.mailboxes, 1)
        await store.mailboxes.commit(claim, 1, b"", dead="crashed")
        flood = LETTERS.rejected + LETTERS.updates + 1
        for number in range(flood):
            await store.mailboxes.bury(a_letter("malformed", float(number)))
        letters = await store.dead_letters()
        kept = [letter.time for letter in letters if letter.reason == "malformed"]
        assert kept == [float(it) for it in range(flood - LETTERS.rejected, flood)]
        assert [it.update_id for it in letters if it.reason == "crashed"] == [1]

    async def test_dead_letters_go_after_their_retention(self, store: Store) -> None:
        """Those of updates and those of malformed bodies; no later one goes along."""
        claim = await claimed(store.mailboxes, 1)
        await store.mailboxes.commit(claim, 1, b"", dead="crashed")
        await store.mailboxes.bury(a_letter("malformed", 1.0))
        await store.pass_time(LETTERS.seconds / 2)
        claim = await claimed(store.mailboxes, 2)
        await store.mailboxes.commit(claim, 2, b"", dead="crashed")
        await store.mailboxes.bury(a_letter("malformed", 2.0))
        await store.mailboxes.waiting(1)
        assert len(await store.dead_letters()) == 4
        await store.pass_time(LETTERS.seconds / 2 + 1)
        await store.mailboxes.waiting(1)
        reasons = [letter.reason for letter in await store.dead_letters()]
        assert sorted(reasons) == ["crashed", "malformed"]
        await store.pass_time(LETTERS.seconds)
        await store.mailboxes.waiting(1)
        assert list(await store.dead_letters()) == []


def a_letter(reason: str, time: float) -> DeadLetter:
    """Build a dead letter that never was in a mailbox."""
    return DeadLetter(update_id=0, lane="", reason=reason, time=time, body=b"\xff{")


class TestState:
    """What is remembered of a user."""

    async def test_a_state_is_kept_for_a_day_after_the_last_commit(
        self, store: Store
    ) -> None:
        """Telegram repeats an update for that long."""
        await store.mailboxes.commit(await claimed(store.mailboxes, 1), 1, b"old")
        await store.pass_time(KEPT_SECONDS - 60)
        second = await claimed(store.mailboxes, 2)
        assert second.state == b"old"
        await store.mailboxes.commit(second, 2, b"new")
        await store.pass_time(KEPT_SECONDS - 60)
        assert (await claimed(store.mailboxes, 3)).state == b"new"

    async def test_a_state_is_forgotten_after_a_day(self, store: Store) -> None:
        """Nobody is remembered for longer than is needed."""
        await store.mailboxes.commit(await claimed(store.mailboxes, 1), 1, b"old")
        await store.pass_time(KEPT_SECONDS + 1)
        assert (await claimed(store.mailboxes, 2)).state is None
