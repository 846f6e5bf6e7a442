"""What every implementation of `MailboxStore` promises, one sentence at a time."""

import asyncio

import pytest

from gateway.domain.errors import LeaseLost
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.poison import MAX_UNSUSPECTED_LOSSES
from gateway.domain.ports import MailboxStore, PutResult
from gateway.domain.update import DeadLetter
from gateway.domain.user_state import STATE_TTL
from tests.factories import build_envelope
from tests.support.stores import LEASE, LETTERS, LIMIT, PAUSES, Store


async def acquired(
    mailboxes: MailboxStore, *ids: int, ordering_key: str = "7"
) -> MailboxLease:
    """Put these updates into a free mailbox; return the lease."""
    first, *others = [
        await mailboxes.put(build_envelope(number, ordering_key)) for number in ids
    ]
    assert isinstance(first, MailboxLease)
    assert set(others) <= {PutResult.STORED}
    return first


async def put_without_lease(
    mailboxes: MailboxStore, *ids: int, ordering_key: str = "7"
) -> None:
    """Put these updates into a free mailbox without acquiring it."""
    for number in ids:
        placed = await mailboxes.put(
            build_envelope(number, ordering_key), acquire=False
        )
        assert placed is PutResult.STORED


async def acquire_lease(
    mailboxes: MailboxStore, ordering_key: str = "7"
) -> MailboxLease:
    """Acquire a mailbox that is waiting."""
    lease = await mailboxes.acquire(ordering_key)
    assert isinstance(lease, MailboxLease)
    return lease


async def commit_all(mailboxes: MailboxStore, lease: MailboxLease) -> list[int]:
    """Do all the work of a mailbox; return the ids in the order of the work."""
    done = [lease.next_update.update_id]
    while following := await mailboxes.commit(lease, done[-1], b"state"):
        done.append(following.update_id)
    return done


class TestPut:
    """Appending an update."""

    async def test_a_free_mailbox_is_acquired_by_the_put(self, store: Store) -> None:
        """The worker where an update lands works on it, with one call of the store."""
        update = build_envelope(1)
        lease = await store.mailboxes.put(update)
        assert isinstance(lease, MailboxLease)
        assert lease.ordering_key == "7"
        assert lease.token
        assert lease.state is None
        assert (lease.next_update.update_id, lease.next_update.body) == (1, update.body)
        assert lease.expires_at == store.clock.uptime() + LEASE
        assert list(await store.mailboxes.claimable(10)) == []

    async def test_a_lease_brings_the_state_of_the_last_commit(
        self, mailboxes: MailboxStore
    ) -> None:
        """What was remembered of a user is there with the user's next update."""
        lease = await acquired(mailboxes, 1)
        await mailboxes.commit(lease, 1, b"remembered")
        assert (await acquired(mailboxes, 2)).state == b"remembered"

    async def test_a_worker_that_is_full_only_stores(
        self, mailboxes: MailboxStore
    ) -> None:
        """Without a lease the mailbox waits for anybody."""
        await put_without_lease(mailboxes, 1)
        assert list(await mailboxes.claimable(10)) == ["7"]

    async def test_an_update_that_is_there_is_not_stored_again(
        self, store: Store
    ) -> None:
        """Telegram repeats updates; the first of them stays, also in a full mailbox."""
        await store.mailboxes.put(build_envelope(1, body=b"first"), acquire=False)
        await put_without_lease(store.mailboxes, *range(2, LIMIT + 1))
        again = await store.mailboxes.put(
            build_envelope(1, body=b"again", arrived_at=9)
        )
        assert again is PutResult.DUPLICATE
        assert await store.in_memory() == LIMIT
        assert (await acquire_lease(store.mailboxes)).next_update.body == b"first"

    async def test_putting_again_leaves_the_lease_alone(
        self, mailboxes: MailboxStore
    ) -> None:
        """A repeated update neither ends a lease nor gives a second one."""
        lease = await acquired(mailboxes, 1)
        assert await mailboxes.put(build_envelope(1)) is PutResult.DUPLICATE
        assert list(await mailboxes.renew([lease])) == []

    async def test_a_full_mailbox_refuses(self, store: Store) -> None:
        """One user cannot fill the memory."""
        await put_without_lease(store.mailboxes, *range(1, LIMIT + 1))
        refused = await store.mailboxes.put(build_envelope(LIMIT + 1))
        assert refused is PutResult.FULL
        assert await store.in_memory() == LIMIT

    async def test_a_payment_is_never_refused(self, store: Store) -> None:
        """What is put without the bound passes a full mailbox."""
        await put_without_lease(store.mailboxes, *range(1, LIMIT + 1))
        stored = await store.mailboxes.put(
            build_envelope(LIMIT + 1), enforce_limit=False
        )
        assert stored is PutResult.STORED
        assert await store.in_memory() == LIMIT + 1

    async def test_one_mailbox_that_is_full_refuses_nothing_of_another(
        self, mailboxes: MailboxStore
    ) -> None:
        """No user suffers from another."""
        await acquired(mailboxes, *range(1, LIMIT + 1))
        assert await mailboxes.put(build_envelope(99)) is PutResult.FULL
        await acquired(mailboxes, 100, ordering_key="8")

    async def test_a_put_never_acquires_a_mailbox_that_waits_without_a_lease(
        self, mailboxes: MailboxStore
    ) -> None:
        """A talkative user would else pass by all those who wait longer."""
        await put_without_lease(mailboxes, 1)
        assert await mailboxes.put(build_envelope(2)) is PutResult.STORED
        assert list(await mailboxes.claimable(10)) == ["7"]

    async def test_a_put_never_acquires_a_mailbox_whose_lease_ended(
        self, store: Store
    ) -> None:
        """Only the scan does, so that owner losses are counted in one place."""
        await acquired(store.mailboxes, 1)
        await store.pass_time(LEASE + 1)
        assert await store.mailboxes.put(build_envelope(2)) is PutResult.STORED
        assert list(await store.mailboxes.claimable(10)) == ["7"]

    async def test_many_puts_at_once_give_one_lease(
        self, mailboxes: MailboxStore
    ) -> None:
        """One user is never handled twice at once."""
        answers = await asyncio.gather(
            *(mailboxes.put(build_envelope(number)) for number in range(1, LIMIT + 1))
        )
        assert sum(isinstance(answer, MailboxLease) for answer in answers) == 1
        assert answers.count(PutResult.STORED) == LIMIT - 1


class TestCommit:
    """Finishing an update."""

    async def test_updates_are_done_in_the_order_of_their_ids(
        self, mailboxes: MailboxStore
    ) -> None:
        await put_without_lease(mailboxes, 3, 1, 4, 2)
        assert await commit_all(mailboxes, await acquire_lease(mailboxes)) == [
            1,
            2,
            3,
            4,
        ]

    async def test_a_late_update_with_a_lower_id_is_next(
        self, mailboxes: MailboxStore
    ) -> None:
        """Telegram sends messages and button presses over different connections."""
        lease = await acquired(mailboxes, 5, 7)
        await mailboxes.put(build_envelope(6))
        following = await mailboxes.commit(lease, 5, b"state")
        assert following is not None
        assert following.update_id == 6

    async def test_nothing_but_the_state_is_left_of_a_free_mailbox(
        self, store: Store
    ) -> None:
        """A user who is served leaves no mailbox and no lease behind."""
        lease = await acquired(store.mailboxes, 1)
        assert await store.count_mailboxes() == 1
        assert await store.mailboxes.commit(lease, 1, b"state") is None
        assert await store.count_mailboxes() == 0
        assert await store.in_memory() == 0
        assert list(await store.mailboxes.claimable(10)) == []
        assert await store.mailboxes.acquire("7") is None

    async def test_every_lease_has_its_own_token(self, mailboxes: MailboxStore) -> None:
        """The token of a finished lease opens nothing later."""
        old = await acquired(mailboxes, 1)
        await mailboxes.commit(old, 1, b"state")
        new = await acquired(mailboxes, 1)
        assert old.token != new.token
        with pytest.raises(LeaseLost):
            await mailboxes.commit(old, 1, b"stale")

    async def test_a_commit_extends_the_lease(self, store: Store) -> None:
        """Who gets on needs no renewal."""
        lease = await acquired(store.mailboxes, 1, 2)
        await store.pass_time(0.6 * LEASE)
        await store.mailboxes.commit(lease, 1, b"state")
        assert lease.expires_at == store.clock.uptime() + LEASE
        await store.pass_time(0.6 * LEASE)
        assert list(await store.mailboxes.claimable(10)) == []
        assert await store.mailboxes.acquire("7") is None

    async def test_a_commit_after_the_lease_counts_if_nobody_else_came(
        self, store: Store
    ) -> None:
        """The work was done once and need not be done again."""
        lease = await acquired(store.mailboxes, 1, 2)
        await store.pass_time(LEASE + 1)
        following = await store.mailboxes.commit(lease, 1, b"state")
        assert following is not None
        assert following.update_id == 2
        assert list(await store.mailboxes.claimable(10)) == []

    async def test_a_commit_under_a_lost_lease_changes_nothing(
        self, store: Store
    ) -> None:
        """A worker that was paused cannot undo what its successor does."""
        old = await acquired(store.mailboxes, 1, 2)
        await store.pass_time(LEASE + 1)
        new = await acquire_lease(store.mailboxes)
        until = old.expires_at
        with pytest.raises(LeaseLost):
            await store.mailboxes.commit(old, 1, b"stale", dead_letter_reason="crashed")
        assert old.expires_at == until
        assert await store.in_memory() == 2
        assert list(await store.dead_letters()) == []
        await store.mailboxes.release(new)
        again = await acquire_lease(store.mailboxes)
        assert (again.next_update.update_id, again.state) == (1, None)

    @pytest.mark.parametrize("token", ["", "made-up"])
    async def test_a_token_that_was_never_given_opens_no_mailbox(
        self, store: Store, token: str
    ) -> None:
        """Neither a free one, nor one that waits, nor one that is acquired."""
        await put_without_lease(store.mailboxes, 1, ordering_key="waits")
        await acquired(store.mailboxes, 1, ordering_key="claimed")
        for ordering_key in ("free", "waits", "claimed"):
            made_up = MailboxLease(
                ordering_key, token, None, build_envelope(1, ordering_key), 0
            )
            with pytest.raises(LeaseLost):
                await store.mailboxes.commit(made_up, 1, b"stale")
            assert list(await store.mailboxes.renew([made_up])) == [made_up]
            await store.mailboxes.release(made_up)
        assert list(await store.mailboxes.claimable(10)) == ["waits"]
        assert await store.in_memory() == 2

    async def test_the_token_of_one_mailbox_does_not_open_another(
        self, mailboxes: MailboxStore
    ) -> None:
        lease = await acquired(mailboxes, 1, ordering_key="7")
        await acquired(mailboxes, 1, ordering_key="8")
        with pytest.raises(LeaseLost):
            await mailboxes.commit(
                MailboxLease("8", lease.token, None, lease.next_update, 0), 1, b"stale"
            )

    async def test_a_commit_sent_again_gives_the_same_answer(
        self, store: Store
    ) -> None:
        """After a lost answer a commit is repeated, and one dead letter is kept."""
        lease = await acquired(store.mailboxes, 1, 2, 3)
        for _ in range(2):
            following = await store.mailboxes.commit(
                lease, 1, b"s", dead_letter_reason="crashed"
            )
            assert following is not None
            assert following.update_id == 2
        assert await store.in_memory() == 2
        assert len(await store.dead_letters()) == 1

    async def test_a_commit_sent_again_after_the_last_update_has_lost_its_lease(
        self, mailboxes: MailboxStore
    ) -> None:
        """The mailbox is free then: drop the lease either way."""
        lease = await acquired(mailboxes, 1)
        await mailboxes.commit(lease, 1, b"state")
        with pytest.raises(LeaseLost):
            await mailboxes.commit(lease, 1, b"state")

    async def test_the_finished_update_need_not_be_there(self, store: Store) -> None:
        """The state is saved, and the work goes on with what is there."""
        lease = await acquired(store.mailboxes, 2)
        following = await store.mailboxes.commit(
            lease, 1, b"new", dead_letter_reason="crashed"
        )
        assert following is not None
        assert following.update_id == 2
        assert list(await store.dead_letters()) == []
        await store.mailboxes.release(lease)
        assert (await acquire_lease(store.mailboxes)).state == b"new"

    async def test_a_mailbox_given_back_waits_with_its_mail(self, store: Store) -> None:
        """A user who never stops lets the others pass."""
        lease = await acquired(store.mailboxes, 1, 2)
        await store.pass_time(0.1)
        await put_without_lease(store.mailboxes, 3, ordering_key="8")
        await store.pass_time(0.1)
        following = await store.mailboxes.commit(lease, 1, b"state", release=True)
        assert following is None
        assert list(await store.mailboxes.claimable(10)) == ["8", "7"]
        assert list(await store.mailboxes.renew([lease])) == [lease]
        again = await acquire_lease(store.mailboxes)
        assert (again.next_update.update_id, again.state) == (2, b"state")

    async def test_a_mailbox_given_back_empty_is_free(self, store: Store) -> None:
        lease = await acquired(store.mailboxes, 1)
        await store.mailboxes.commit(lease, 1, b"state", release=True)
        assert await store.count_mailboxes() == 0
        assert (await acquired(store.mailboxes, 2)).state == b"state"


class TestLeases:
    """Keeping a mailbox, giving it back, and losing it."""

    async def test_a_renewed_lease_stays(self, store: Store) -> None:
        lease = await acquired(store.mailboxes, 1)
        for _ in range(3):
            await store.pass_time(0.6 * LEASE)
            assert list(await store.mailboxes.renew([lease])) == []
            assert lease.expires_at == store.clock.uptime() + LEASE
            assert await store.mailboxes.acquire("7") is None

    async def test_a_lease_that_nobody_took_is_renewed_after_its_lease(
        self, store: Store
    ) -> None:
        lease = await acquired(store.mailboxes, 1)
        await store.pass_time(LEASE + 1)
        assert list(await store.mailboxes.renew([lease])) == []
        assert list(await store.mailboxes.claimable(10)) == []

    async def test_renewing_reports_the_leases_that_were_lost(
        self, store: Store
    ) -> None:
        """Those that were kept are renewed all the same."""
        taken = await acquired(store.mailboxes, 1, ordering_key="taken")
        await store.pass_time(LEASE + 1)
        await acquire_lease(store.mailboxes, "taken")
        released = await acquired(store.mailboxes, 1, ordering_key="released")
        await store.mailboxes.release(released)
        kept = await acquired(store.mailboxes, 1, ordering_key="kept")
        await store.pass_time(0.6 * LEASE)
        lost = await store.mailboxes.renew([taken, kept, released])
        assert set(lost) == {taken, released}
        assert kept.expires_at == store.clock.uptime() + LEASE

    async def test_renewing_nothing_loses_nothing(
        self, mailboxes: MailboxStore
    ) -> None:
        """An idle worker renews an empty list."""
        assert list(await mailboxes.renew([])) == []

    async def test_a_released_mailbox_waits_behind_the_others(
        self, store: Store
    ) -> None:
        lease = await acquired(store.mailboxes, 1)
        await store.pass_time(0.1)
        await put_without_lease(store.mailboxes, 2, ordering_key="8")
        await store.pass_time(0.1)
        await store.mailboxes.release(lease)
        assert list(await store.mailboxes.claimable(10)) == ["8", "7"]
        assert (await acquire_lease(store.mailboxes)).next_update.update_id == 1

    async def test_a_released_lease_is_over(self, mailboxes: MailboxStore) -> None:
        """Its token opens nothing, and a second release does nothing."""
        lease = await acquired(mailboxes, 1)
        await mailboxes.release(lease)
        with pytest.raises(LeaseLost):
            await mailboxes.commit(lease, 1, b"stale")
        successor = await acquire_lease(mailboxes)
        await mailboxes.release(lease)
        assert list(await mailboxes.renew([successor])) == []


class TestWaiting:
    """Finding the mailboxes that nobody works on."""

    async def test_mailboxes_are_listed_longest_waiting_first(
        self, store: Store
    ) -> None:
        """A mailbox waits since its put, or since its lease ended."""
        await acquired(store.mailboxes, 1, ordering_key="owner died")
        await store.pass_time(0.5)
        await put_without_lease(store.mailboxes, 2, ordering_key="put first")
        await store.pass_time(LEASE)
        await put_without_lease(store.mailboxes, 3, ordering_key="put last")
        await store.pass_time(0.5)
        assert list(await store.mailboxes.claimable(10)) == [
            "put first",
            "owner died",
            "put last",
        ]
        assert list(await store.mailboxes.claimable(2)) == ["put first", "owner died"]

    async def test_mailboxes_of_skipped_bots_hide_no_others(self, store: Store) -> None:
        """However many of them wait, and for how long."""
        for number in range(2100):
            await store.mailboxes.put(
                build_envelope(number, f"8/{number}"), acquire=False
            )
        await store.pass_time(0.5)
        for bot in ("7", "9"):
            await store.mailboxes.put(build_envelope(1, f"{bot}/1"), acquire=False)
        await store.pass_time(0.5)
        assert set(await store.mailboxes.claimable(10, {"8"})) == {"7/1", "9/1"}
        assert list(await store.mailboxes.claimable(10, {"8", "7"})) == ["9/1"]
        found = await store.mailboxes.claimable(10, {"9"})
        assert {it.partition("/")[0] for it in found} == {"8"}

    async def test_more_updates_do_not_change_since_when_a_mailbox_waits(
        self, store: Store
    ) -> None:
        for number, ordering_key in enumerate(["7", "8", "7", "8", "7"]):
            await store.pass_time(0.1)
            await store.mailboxes.put(
                build_envelope(number, ordering_key), acquire=False
            )
        assert list(await store.mailboxes.claimable(10)) == ["7", "8"]

    async def test_a_acquired_mailbox_waits_when_its_lease_has_ended(
        self, store: Store
    ) -> None:
        """And not before: a worker that died is noticed by its silence."""
        await acquired(store.mailboxes, 1)
        await store.pass_time(LEASE - 0.5)
        assert list(await store.mailboxes.claimable(10)) == []
        await store.pass_time(1)
        assert list(await store.mailboxes.claimable(10)) == ["7"]

    async def test_of_two_workers_one_acquires_a_waiting_mailbox(
        self, mailboxes: MailboxStore
    ) -> None:
        """The other comes too late, and a free mailbox cannot be acquired at all."""
        await put_without_lease(mailboxes, 1)
        leases = await asyncio.gather(mailboxes.acquire("7"), mailboxes.acquire("7"))
        assert sum(lease is not None for lease in leases) == 1
        assert list(await mailboxes.claimable(10)) == []
        assert await mailboxes.acquire("never seen") is None

    async def test_a_lease_of_a_waiting_mailbox_has_a_lease(self, store: Store) -> None:
        await put_without_lease(store.mailboxes, 1)
        await store.pass_time(60)
        lease = await acquire_lease(store.mailboxes)
        assert lease.expires_at == store.clock.uptime() + LEASE
        assert list(await store.mailboxes.claimable(10)) == []

    async def test_a_successor_goes_on_in_order(self, store: Store) -> None:
        """After an owner loss nothing is lost and nothing is left out."""
        dead = await acquired(store.mailboxes, 1, 2, 3)
        await store.mailboxes.commit(dead, 1, b"state")
        await store.pass_time(LEASE + 1)
        successor = await acquire_lease(store.mailboxes)
        assert successor.state == b"state"
        assert await commit_all(store.mailboxes, successor) == [2, 3]


class TestOwnerLosses:
    """Counting the owners that vanished with an update."""

    async def die(self, store: Store, times: int) -> None:
        """Let so many owners vanish while the update of mailbox 7 waits for others."""
        for _ in range(times):
            lease = await store.mailboxes.acquire("7")
            if lease is None:  # it was counted, and pauses
                await store.pass_time(PAUSES[-1] + 0.1)
                lease = await acquire_lease(store.mailboxes)
            await store.mailboxes.record_step(lease, running=False)
            await store.pass_time(LEASE + 1)

    async def acquire_later(self, store: Store) -> MailboxLease:
        """Acquire mailbox 7, after its pause if there is one."""
        lease = await store.mailboxes.acquire("7")
        if lease is None:
            await store.pass_time(PAUSES[-1] + 0.1)
            lease = await acquire_lease(store.mailboxes)
        return lease

    async def test_a_lease_tells_how_many_owners_vanished(self, store: Store) -> None:
        """The one that got the update by its put is counted too."""
        await acquired(store.mailboxes, 1)
        await store.pass_time(LEASE + 1)
        await self.die(store, 1)
        lease = await self.acquire_later(store)
        assert (lease.owner_losses, lease.owner_crashes) == (2, 0)

    async def test_a_suspect_pauses_after_each_death(self, store: Store) -> None:
        """Longer each time, up to a limit; meanwhile nobody finds or acquires it."""
        await put_without_lease(store.mailboxes, 1)
        await self.die(store, MAX_UNSUSPECTED_LOSSES)
        for pause in (*PAUSES, PAUSES[-1]):
            await self.die(store, 1)
            assert await store.mailboxes.acquire("7") is None
            await store.pass_time(0.2 * pause)
            assert list(await store.mailboxes.claimable(1)) == []
            assert await store.mailboxes.acquire("7") is None
            await store.pass_time(0.9 * pause)
            assert list(await store.mailboxes.claimable(1)) == ["7"]

    async def test_an_update_that_comes_in_a_pause_waits_too(
        self, store: Store
    ) -> None:
        await put_without_lease(store.mailboxes, 1)
        await self.die(store, 2)
        assert await store.mailboxes.acquire("7") is None
        assert await store.mailboxes.put(build_envelope(2)) is PutResult.STORED
        await store.pass_time(PAUSES[0] + 0.3)
        lease = await acquire_lease(store.mailboxes)
        assert await commit_all(store.mailboxes, lease) == [1, 2]

    async def test_an_owner_that_vanishes_in_a_step_is_a_crash(
        self, store: Store
    ) -> None:
        """The next lease knows, and there is no pause before it."""
        await put_without_lease(store.mailboxes, 1)
        await self.die(store, 2)
        lease = await self.acquire_later(store)
        for crashes in (1, 2):
            await store.mailboxes.record_step(lease, running=True)
            await store.pass_time(LEASE + 1)
            lease = await acquire_lease(store.mailboxes)
            assert (lease.owner_losses, lease.owner_crashes) == (2 + crashes, crashes)

    async def test_an_owner_that_vanishes_behind_a_step_is_no_crash(
        self, store: Store
    ) -> None:
        """The update waited for a service, as hundreds do."""
        await put_without_lease(store.mailboxes, 1)
        await self.die(store, 2)
        lease = await self.acquire_later(store)
        await store.mailboxes.record_step(lease, running=True)
        await store.mailboxes.record_step(lease, running=False)
        await store.pass_time(LEASE + 1)
        lease = await self.acquire_later(store)
        assert (lease.owner_losses, lease.owner_crashes) == (3, 0)

    async def test_a_suspect_that_was_not_begun_with_saw_no_owner_loss(
        self, store: Store
    ) -> None:
        """However often that happens, it does not even pause."""
        await put_without_lease(store.mailboxes, 1)
        await self.die(store, 2)
        lease = await self.acquire_later(store)
        for _ in range(3):
            await store.pass_time(LEASE + 1)
            lease = await acquire_lease(store.mailboxes)
            assert (lease.owner_losses, lease.owner_crashes) == (2, 0)

    async def test_steps_are_noted_for_suspects_alone(self, store: Store) -> None:
        """Of others a first crash is an owner loss like any other."""
        lease = await acquired(store.mailboxes, 1)
        for deaths in (1, 2):
            await store.mailboxes.record_step(lease, running=True)
            await store.pass_time(LEASE + 1)
            lease = await self.acquire_later(store)
            assert (lease.owner_losses, lease.owner_crashes) == (deaths, 0)

    async def test_a_step_under_a_lost_lease_is_not_noted(self, store: Store) -> None:
        """A worker that stood still may come back at any time."""
        await put_without_lease(store.mailboxes, 1)
        await self.die(store, 2)
        old = await self.acquire_later(store)
        await store.pass_time(LEASE + 1)
        await acquire_lease(store.mailboxes)
        await store.mailboxes.record_step(old, running=True)
        await store.pass_time(LEASE + 1)
        assert (await acquire_lease(store.mailboxes)).owner_crashes == 0

    async def test_a_mailbox_that_was_given_back_saw_no_owner_loss(
        self, store: Store
    ) -> None:
        """Neither did one that nobody had acquired yet."""
        await put_without_lease(store.mailboxes, 1)
        await store.pass_time(LEASE + 1)
        lease = await acquire_lease(store.mailboxes)
        assert lease.owner_losses == 0
        await store.mailboxes.release(lease)
        await store.pass_time(LEASE + 1)
        assert (await acquire_lease(store.mailboxes)).owner_losses == 0

    async def test_a_release_does_not_clear_a_suspect(self, store: Store) -> None:
        """A worker that stops has not proved that the update is harmless."""
        await put_without_lease(store.mailboxes, 1)
        await self.die(store, 2)
        await store.mailboxes.release(await self.acquire_later(store))
        assert (await acquire_lease(store.mailboxes)).owner_losses == 2

    async def test_a_commit_clears_the_mailbox(self, store: Store) -> None:
        """The next update is innocent."""
        await put_without_lease(store.mailboxes, 1, 2, 3)
        await self.die(store, 2)
        lease = await self.acquire_later(store)
        await store.mailboxes.record_step(lease, running=True)
        await store.mailboxes.commit(lease, 1, b"state")
        await store.pass_time(LEASE + 1)
        lease = await acquire_lease(store.mailboxes)
        assert (lease.owner_losses, lease.owner_crashes) == (1, 0)

    async def test_owner_losses_are_counted_per_update(self, store: Store) -> None:
        """One with a lower id that came late has not seen them."""
        await put_without_lease(store.mailboxes, 2)
        await self.die(store, 2)
        await store.mailboxes.release(await self.acquire_later(store))
        await put_without_lease(store.mailboxes, 1)
        assert (await acquire_lease(store.mailboxes)).owner_losses == 0


class TestDeadLetters:
    """Updates that were given up."""

    async def test_an_update_given_up_is_kept_as_a_dead_letter(
        self, store: Store
    ) -> None:
        """With all that is needed to replay it."""
        await store.mailboxes.put(
            build_envelope(1, body=b'{"update_id":1}'), acquire=False
        )
        lease = await acquire_lease(store.mailboxes)
        await store.mailboxes.commit(lease, 1, b"state", dead_letter_reason="crashed")
        (dead_letter,) = await store.dead_letters()
        assert (dead_letter.update_id, dead_letter.ordering_key) == (1, "7")
        assert (dead_letter.reason, dead_letter.body) == ("crashed", b'{"update_id":1}')
        assert dead_letter.dead_lettered_at == pytest.approx(store.clock.now(), abs=1)
        assert await store.in_memory() == 0

    async def test_a_body_that_is_no_update_is_kept_too(self, store: Store) -> None:
        """It never was in a mailbox and belongs to no mailbox."""
        dead_letter = DeadLetter(
            update_id=None,
            ordering_key=None,
            reason="malformed",
            dead_lettered_at=5.0,
            body=b"\xff{",
        )
        await store.mailboxes.add_dead_letter(dead_letter)
        (kept,) = await store.dead_letters()
        assert (kept.update_id, kept.ordering_key, kept.reason) == (
            None,
            None,
            "malformed",
        )
        assert (kept.dead_lettered_at, kept.body) == (5.0, b"\xff{")

    async def test_a_flood_of_malformed_bodies_displaces_no_updates(
        self, store: Store
    ) -> None:
        """Of those as many are kept as are allowed, the newest."""
        lease = await acquired(store.mailboxes, 1)
        await store.mailboxes.commit(lease, 1, b"", dead_letter_reason="crashed")
        flood = LETTERS.max_rejected + LETTERS.max_updates + 1
        for number in range(flood):
            await store.mailboxes.add_dead_letter(a_letter("malformed", float(number)))
        dead_letters = await store.dead_letters()
        kept = [
            dead_letter.dead_lettered_at
            for dead_letter in dead_letters
            if dead_letter.reason == "malformed"
        ]
        assert kept == [float(it) for it in range(flood - LETTERS.max_rejected, flood)]
        assert [it.update_id for it in dead_letters if it.reason == "crashed"] == [1]

    async def test_dead_letters_go_after_their_retention(self, store: Store) -> None:
        """Those of updates and those of malformed bodies; no later one goes along."""
        lease = await acquired(store.mailboxes, 1)
        await store.mailboxes.commit(lease, 1, b"", dead_letter_reason="crashed")
        await store.mailboxes.add_dead_letter(a_letter("malformed", 1.0))
        await store.pass_time(LETTERS.retention_seconds / 2)
        lease = await acquired(store.mailboxes, 2)
        await store.mailboxes.commit(lease, 2, b"", dead_letter_reason="crashed")
        await store.mailboxes.add_dead_letter(a_letter("malformed", 2.0))
        await store.mailboxes.claimable(1)
        assert len(await store.dead_letters()) == 4
        await store.pass_time(LETTERS.retention_seconds / 2 + 1)
        await store.mailboxes.claimable(1)
        reasons = [dead_letter.reason for dead_letter in await store.dead_letters()]
        assert sorted(reasons) == ["crashed", "malformed"]
        await store.pass_time(LETTERS.retention_seconds)
        await store.mailboxes.claimable(1)
        assert list(await store.dead_letters()) == []


def a_letter(reason: str, time: float) -> DeadLetter:
    """Build a dead letter that never was in a mailbox."""
    return DeadLetter(
        update_id=None,
        ordering_key=None,
        reason=reason,
        dead_lettered_at=time,
        body=b"\xff{",
    )


class TestState:
    """What is remembered of a user."""

    async def test_a_state_is_kept_for_a_day_after_the_last_commit(
        self, store: Store
    ) -> None:
        """Telegram repeats an update for that long."""
        await store.mailboxes.commit(await acquired(store.mailboxes, 1), 1, b"old")
        await store.pass_time(STATE_TTL - 60)
        second = await acquired(store.mailboxes, 2)
        assert second.state == b"old"
        await store.mailboxes.commit(second, 2, b"new")
        await store.pass_time(STATE_TTL - 60)
        assert (await acquired(store.mailboxes, 3)).state == b"new"

    async def test_a_state_is_forgotten_after_a_day(self, store: Store) -> None:
        """Nobody is remembered for longer than is needed."""
        await store.mailboxes.commit(await acquired(store.mailboxes, 1), 1, b"old")
        await store.pass_time(STATE_TTL + 1)
        assert (await acquired(store.mailboxes, 2)).state is None
