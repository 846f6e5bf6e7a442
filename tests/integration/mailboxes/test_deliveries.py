"""What every implementation of `DeliveryStore` promises, one sentence at a time."""

import asyncio
from typing import Any

import pytest
from msgspec import structs

from gateway.domain.delivery import (
    RECORD_SECONDS,
    Delivery,
    DeliveryRecord,
    DeliveryResult,
    DeliveryState,
    ReportPolicy,
    SentPart,
)
from gateway.domain.delivery_store import DeliveryPutResult, WaitingDelivery
from gateway.domain.errors import IdempotencyKeyReused, LeaseLost
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import PutResult
from gateway.domain.update import Envelope
from tests.factories import build_delivery, build_envelope
from tests.support.stores import LEASE, LIMIT, PAUSES, Store

SENT = DeliveryResult(state=DeliveryState.SENT, sent_parts=[SentPart(7, 70)])
BLOCKED = DeliveryResult(state=DeliveryState.BLOCKED, reason="blocked")


@pytest.fixture
def store(delivery_store: Store) -> Store:
    """Return an empty store."""
    return delivery_store


def id_of(number: int) -> str:
    """Return the id of the delivery with this number."""
    return build_delivery(number).delivery_id


async def acquired(store: Store, *numbers: int) -> MailboxLease:
    """Put these deliveries into a free mailbox; return the lease."""
    first, *others = [
        await store.deliveries.put_delivery(build_delivery(number))
        for number in numbers
    ]
    assert isinstance(first, MailboxLease)
    assert set(others) <= {DeliveryPutResult.STORED}
    return first


async def put(
    store: Store,
    number: int,
    **fields: Any,  # noqa: ANN401 - each has its own type
) -> MailboxLease | DeliveryPutResult:
    """Put a delivery without acquiring its mailbox."""
    delivery = build_delivery(number, **fields)
    return await store.deliveries.put_delivery(delivery, acquire=False)


async def get(store: Store, number: int) -> DeliveryRecord:
    """Return the record of the delivery with this number."""
    record = await store.deliveries.get_delivery(id_of(number))
    assert record is not None
    return record


async def acquire(store: Store, ordering_key: str = "7") -> MailboxLease:
    """Acquire a mailbox that is waiting."""
    lease = await store.mailboxes.acquire(ordering_key)
    assert isinstance(lease, MailboxLease)
    return lease


async def finish_all(store: Store, lease: MailboxLease) -> list[object]:
    """Do all the work of a mailbox; return what was done, in order."""
    done: list[object] = []
    mail: Envelope | None = lease.next_update
    while mail is not None:
        if mail.delivery is None:
            done.append(mail.update_id)
            mail = await store.mailboxes.commit(lease, mail.update_id, b"state")
        else:
            delivery_id = mail.delivery.delivery_id
            done.append(delivery_id)
            mail = await store.deliveries.commit_delivery(
                lease, delivery_id, b"state", SENT
            )
    return done


class TestPut:
    """Storing a delivery."""

    async def test_a_free_mailbox_is_acquired_by_the_put(self, store: Store) -> None:
        """The worker that gets a delivery sends it."""
        lease = await acquired(store, 1)
        assert lease.ordering_key == "7"
        assert lease.state is None
        assert lease.next_update.delivery is not None
        assert lease.next_update.update_id == 0
        assert lease.expires_at == store.clock.uptime() + LEASE
        assert list(await store.mailboxes.claimable(10)) == []

    async def test_all_of_a_delivery_comes_back(self, store: Store) -> None:
        """Whichever worker sends it has what the caller asked for."""
        delivery = build_delivery(
            collapse_key="c",
            repeat_if_doubtful=False,
            report=ReportPolicy.ALL,
            not_before=5.0,
            request=bytes(99),
        )
        await store.deliveries.put_delivery(delivery, acquire=False)
        found = (await acquire(store)).next_update.delivery
        assert found is not None
        assert structs.asdict(found) == structs.asdict(delivery)

    async def test_a_lease_brings_the_state_of_the_last_commit(
        self, store: Store
    ) -> None:
        """What is remembered of a user is there with a delivery, too."""
        lease = await store.mailboxes.put(build_envelope(1))
        assert isinstance(lease, MailboxLease)
        await store.mailboxes.commit(lease, 1, b"remembered")
        assert (await acquired(store, 1)).state == b"remembered"

    async def test_the_record_of_a_delivery_that_waits(self, store: Store) -> None:
        """A caller can ask from the moment that it is accepted."""
        await put(store, 1)
        record = await get(store, 1)
        assert record.state is DeliveryState.ACCEPTED
        assert record.sequence_number == 1
        assert (record.caller, record.idempotency_key) == ("orders", "order-1")
        assert (record.delivery_id, record.ordering_key) == (id_of(1), "7")
        assert record.accepted_at == build_delivery().accepted_at
        assert not record.is_part_begun

    async def test_an_unknown_delivery_has_no_record(self, store: Store) -> None:
        assert await store.deliveries.get_delivery(id_of(1)) is None
        assert await store.deliveries.cancel_delivery(id_of(1)) is None

    async def test_a_repeated_request_stores_nothing(self, store: Store) -> None:
        """A caller that got no answer asks again."""
        await put(store, 1)
        assert await put(store, 1) is DeliveryPutResult.REPEATED
        assert await store.in_memory() == 1
        lease = await acquire(store)
        assert await put(store, 1) is DeliveryPutResult.REPEATED
        assert await finish_all(store, lease) == [id_of(1)]
        again = await store.deliveries.put_delivery(build_delivery(1))
        assert again is DeliveryPutResult.REPEATED
        assert await store.in_memory() == 0

    async def test_a_used_key_with_another_request_is_refused(
        self, store: Store
    ) -> None:
        """Also if the other request is for another user, or the first one ended."""
        other = {"fingerprint": b"another request"}
        await acquired(store, 1)
        for ordering_key in ("7", "8"):
            with pytest.raises(IdempotencyKeyReused):
                await put(store, 1, ordering_key=ordering_key, **other)
        await store.deliveries.cancel_delivery(id_of(1))
        with pytest.raises(IdempotencyKeyReused):
            await put(store, 1, **other)
        assert await store.in_memory() == 0

    async def test_a_repeated_request_for_a_user_with_a_new_chat_stores_nothing(
        self, store: Store
    ) -> None:
        """An internal user id may belong to another chat since the first request."""
        await put(store, 1)
        assert await put(store, 1, ordering_key="8") is DeliveryPutResult.REPEATED
        assert await store.in_memory() == 1

    async def test_the_key_is_free_a_day_after_the_end(self, store: Store) -> None:
        """And not earlier."""
        await finish_all(store, await acquired(store, 1))
        await store.pass_time(RECORD_SECONDS - 60)
        assert await put(store, 1) is DeliveryPutResult.REPEATED
        assert (await get(store, 1)).state is DeliveryState.SENT
        await store.pass_time(120)
        assert await store.deliveries.get_delivery(id_of(1)) is None
        assert await put(store, 1) is DeliveryPutResult.STORED

    async def test_a_delivery_that_has_not_ended_is_kept(self, store: Store) -> None:
        """However long it waits."""
        await put(store, 1)
        await store.pass_time(30 * 86400)
        assert await put(store, 1) is DeliveryPutResult.REPEATED
        assert await finish_all(store, await acquire(store)) == [id_of(1)]

    async def test_a_full_mailbox_refuses(self, store: Store) -> None:
        for number in range(1, LIMIT):
            await put(store, number)
        await store.mailboxes.put(build_envelope(1))
        assert await put(store, LIMIT) is DeliveryPutResult.FULL
        assert await store.deliveries.get_delivery(id_of(LIMIT)) is None
        assert await store.in_memory() == LIMIT
        await finish_all(store, await acquire(store))
        assert await put(store, LIMIT) is DeliveryPutResult.STORED

    async def test_a_refused_key_may_be_used_with_another_request(
        self, store: Store
    ) -> None:
        """Nothing was stored under it."""
        for number in range(LIMIT):
            await put(store, number)
        assert await put(store, LIMIT) is DeliveryPutResult.FULL
        other = build_delivery(LIMIT, "8", fingerprint=b"another request")
        assert isinstance(await store.deliveries.put_delivery(other), MailboxLease)

    async def test_many_puts_of_one_key_store_one_delivery(self, store: Store) -> None:
        answers = await asyncio.gather(
            *(store.deliveries.put_delivery(build_delivery(1)) for _ in range(20))
        )
        assert sum(isinstance(answer, MailboxLease) for answer in answers) == 1
        assert answers.count(DeliveryPutResult.REPEATED) == 19
        assert await store.in_memory() == 1


class TestOrder:
    """Deliveries and updates of a mailbox."""

    async def test_a_delivery_comes_after_all_that_was_accepted_before(
        self, store: Store
    ) -> None:
        await store.mailboxes.put(build_envelope(500), acquire=False)
        await put(store, 1)
        await put(store, 2)
        await store.mailboxes.put(build_envelope(501), acquire=False)
        lease = await acquire(store)
        assert await finish_all(store, lease) == [500, id_of(1), id_of(2), 501]

    async def test_a_late_update_overtakes_a_delivery_but_is_not_mixed_up_with_it(
        self, store: Store
    ) -> None:
        """A delivery may be in work when an update with a lower id arrives."""
        await store.mailboxes.put(build_envelope(500), acquire=False)
        await put(store, 1)
        await put(store, 2)
        lease = await acquire(store)
        assert await store.mailboxes.commit(lease, 500, b"state") is not None
        await store.mailboxes.put(build_envelope(499))
        following = await store.deliveries.commit_delivery(
            lease, id_of(1), b"state", SENT
        )
        assert following is not None
        assert following.update_id == 499
        following = await store.mailboxes.commit(lease, 499, b"state")
        assert following is not None
        assert following.delivery is not None
        assert following.delivery.delivery_id == id_of(2)

    async def test_an_update_in_a_mailbox_with_deliveries_is_still_recognized(
        self, store: Store
    ) -> None:
        await put(store, 1)
        update = build_envelope(1)
        assert await store.mailboxes.put(update) is PutResult.STORED
        assert await store.mailboxes.put(update) is PutResult.DUPLICATE
        assert await finish_all(store, await acquire(store)) == [id_of(1), 1]

    async def test_a_suspected_delivery_pauses_like_an_update(
        self, store: Store
    ) -> None:
        """Poison is recognized by the same counts."""
        await acquired(store, 1)
        await store.pass_time(LEASE + 1)
        assert (await acquire(store)).owner_losses == 1
        await store.pass_time(LEASE + 1)
        assert await store.mailboxes.acquire("7") is None
        await store.pass_time(PAUSES[0] + 1)
        lease = await acquire(store)
        assert (lease.owner_losses, lease.owner_crashes) == (2, 0)
        await store.mailboxes.record_step(lease, running=True)
        await store.pass_time(LEASE + 1)
        assert (await acquire(store)).owner_crashes == 1


class TestParts:
    """The records of Bot API calls."""

    async def test_the_first_part_begins_the_sending(self, store: Store) -> None:
        lease = await acquired(store, 1)
        before = await store.deliveries.begin_part(lease, id_of(1), 0, [])
        assert before.state is DeliveryState.ACCEPTED
        assert not before.is_part_begun
        record = await get(store, 1)
        assert record.state is DeliveryState.SENDING
        assert record.sequence_number == 2
        assert (record.next_part, record.is_part_begun) == (0, True)

    async def test_an_owner_does_not_doubt_its_own_parts(self, store: Store) -> None:
        """It knows what became of them, also if it calls again after a lost reply."""
        lease = await acquired(store, 1)
        for _ in range(2):
            before = await store.deliveries.begin_part(lease, id_of(1), 0, [])
            assert not before.is_part_begun
        sent = [SentPart(7, 70)]
        before = await store.deliveries.begin_part(lease, id_of(1), 1, sent)
        assert not before.is_part_begun
        record = await get(store, 1)
        assert record.sequence_number == 2
        assert record.next_part == 1
        assert list(record.sent_parts) == sent

    async def test_a_new_owner_learns_which_part_is_in_doubt(
        self, store: Store
    ) -> None:
        """Nothing is changed until it has decided."""
        lost = await acquired(store, 1)
        await store.deliveries.begin_part(lost, id_of(1), 0, [])
        await store.deliveries.begin_part(lost, id_of(1), 1, [SentPart(7, 70)])
        await store.pass_time(LEASE + 1)
        lease = await acquire(store)
        for _ in range(2):
            before = await store.deliveries.begin_part(lease, id_of(1), 0, [])
            assert (before.next_part, before.is_part_begun) == (1, True)
            assert list(before.sent_parts) == [SentPart(7, 70)]
        with pytest.raises(LeaseLost):
            await store.deliveries.begin_part(lost, id_of(1), 2, [])
        await store.deliveries.begin_part(
            lease, id_of(1), 2, [SentPart(7, 70)], resolves_doubt=True
        )
        assert (await get(store, 1)).next_part == 2
        before = await store.deliveries.begin_part(lease, id_of(1), 3, [])
        assert not before.is_part_begun

    async def test_a_retracted_first_part_can_be_cancelled(self, store: Store) -> None:
        """It certainly took no effect. It may also be begun again."""
        lease = await acquired(store, 1, 2)
        for _ in range(2):
            before = await store.deliveries.begin_part(lease, id_of(1), 0, [])
            assert before.state is DeliveryState.ACCEPTED
            for _ in range(2):
                await store.deliveries.retract_part(lease, id_of(1))
        record = await get(store, 1)
        assert record.state is DeliveryState.ACCEPTED
        assert (record.next_part, record.is_part_begun) == (0, False)
        assert record.sequence_number == 5
        cancelled = await store.deliveries.cancel_delivery(id_of(1))
        assert cancelled is not None
        assert cancelled.state is DeliveryState.CANCELLED
        await store.deliveries.retract_part(lease, id_of(1))
        assert (await get(store, 1)).state is DeliveryState.CANCELLED

    async def test_a_new_owner_does_not_doubt_a_retracted_part(
        self, store: Store
    ) -> None:
        """It continues with that part: nothing is begun before it knows which it is."""
        lost = await acquired(store, 1)
        sent = [SentPart(7, 70)]
        await store.deliveries.begin_part(lost, id_of(1), 1, sent)
        await store.deliveries.retract_part(lost, id_of(1))
        await store.pass_time(LEASE + 1)
        lease = await acquire(store)
        for _ in range(2):
            before = await store.deliveries.begin_part(lease, id_of(1), 0, [])
            assert before.state is DeliveryState.SENDING
            assert (before.next_part, before.is_part_begun) == (1, False)
            assert list(before.sent_parts) == sent
        with pytest.raises(LeaseLost):
            await store.deliveries.retract_part(lost, id_of(1))
        await store.deliveries.begin_part(lease, id_of(1), 1, sent)
        record = await get(store, 1)
        assert (record.next_part, record.is_part_begun) == (1, True)

    async def test_the_part_of_another_owner_is_not_retracted(
        self, store: Store
    ) -> None:
        """It stays in doubt."""
        lost = await acquired(store, 1)
        await store.deliveries.begin_part(lost, id_of(1), 0, [])
        await store.pass_time(LEASE + 1)
        lease = await acquire(store)
        await store.deliveries.retract_part(lease, id_of(1))
        assert (await get(store, 1)).is_part_begun

    async def test_nothing_of_a_cancelled_delivery_is_begun(self, store: Store) -> None:
        """Its owner may have it already."""
        lease = await acquired(store, 1, 2)
        await store.deliveries.cancel_delivery(id_of(1))
        before = await store.deliveries.begin_part(lease, id_of(1), 0, [])
        assert before.state is DeliveryState.CANCELLED
        following = await store.deliveries.commit_delivery(
            lease, id_of(1), b"state", SENT
        )
        assert following is not None
        assert following.delivery is not None
        assert following.delivery.delivery_id == id_of(2)
        assert (await get(store, 1)).state is DeliveryState.CANCELLED


class TestCommit:
    """The end of a delivery."""

    async def test_the_record_gets_the_result(self, store: Store) -> None:
        lease = await acquired(store, 1)
        await store.deliveries.begin_part(lease, id_of(1), 0, [])
        result = DeliveryResult(
            state=DeliveryState.FAILED,
            reason="chat_not_found",
            description="Bad Request: chat not found",
            sent_parts=[SentPart(7, 70), SentPart(7, 71)],
            maybe_repeated=True,
        )
        assert (
            await store.deliveries.commit_delivery(lease, id_of(1), b"state", result)
            is None
        )
        record = await get(store, 1)
        assert record.state is DeliveryState.FAILED
        assert record.sequence_number == 3
        assert (record.reason, record.description) == (
            *("chat_not_found", "Bad Request: chat not found"),
        )
        assert list(record.sent_parts) == [SentPart(7, 70), SentPart(7, 71)]
        assert record.maybe_repeated
        assert not record.is_part_begun

    async def test_nothing_but_state_and_record_is_left(self, store: Store) -> None:
        lease = await acquired(store, 1)
        await finish_all(store, lease)
        assert await store.count_mailboxes() == 0
        assert await store.in_memory() == 0
        assert await store.mailboxes.acquire("7") is None
        assert (await acquired(store, 2)).state == b"state"

    async def test_a_commit_may_be_repeated(self, store: Store) -> None:
        """Whether the mailbox is empty after it or not."""
        lease = await acquired(store, 1, 2)
        for _ in range(2):
            following = await store.deliveries.commit_delivery(
                lease, id_of(1), b"state", SENT
            )
            assert following is not None
            assert following.delivery is not None
            assert following.delivery.delivery_id == id_of(2)
        for _ in range(2):
            following = await store.deliveries.commit_delivery(
                lease, id_of(2), b"state", SENT
            )
            assert following is None
        assert (await get(store, 2)).sequence_number == 2

    async def test_a_lost_lease_commits_nothing(self, store: Store) -> None:
        lost = await acquired(store, 1)
        await store.pass_time(LEASE + 1)
        lease = await acquire(store)
        with pytest.raises(LeaseLost):
            await store.deliveries.commit_delivery(lost, id_of(1), b"stale", SENT)
        assert (await get(store, 1)).state is DeliveryState.ACCEPTED
        await store.deliveries.commit_delivery(lease, id_of(1), b"state", BLOCKED)
        with pytest.raises(LeaseLost):
            await store.deliveries.commit_delivery(lost, id_of(1), b"stale", SENT)
        assert (await get(store, 1)).state is DeliveryState.BLOCKED

    async def test_a_released_mailbox_waits_with_its_other_mail(
        self, store: Store
    ) -> None:
        lease = await acquired(store, 1, 2)
        following = await store.deliveries.commit_delivery(
            lease, id_of(1), b"state", SENT, release=True
        )
        assert following is None
        assert list(await store.mailboxes.claimable(9)) == ["7"]
        assert await finish_all(store, await acquire(store)) == [id_of(2)]

    async def test_a_poison_delivery_becomes_a_dead_letter(self, store: Store) -> None:
        lease = await acquired(store, 1)
        await store.deliveries.commit_delivery(
            lease,
            id_of(1),
            b"state",
            DeliveryResult(state=DeliveryState.FAILED, reason="poison"),
            dead_letter_reason="poison",
        )
        (dead_letter,) = await store.dead_letters()
        assert (dead_letter.reason, dead_letter.ordering_key) == ("poison", "7")
        assert dead_letter.update_id is None


class TestCancel:
    """Cancelling a delivery."""

    async def test_a_delivery_that_waits_is_cancelled(self, store: Store) -> None:
        await put(store, 1)
        cancelled = await store.deliveries.cancel_delivery(id_of(1))
        assert cancelled is not None
        assert cancelled.state is DeliveryState.CANCELLED
        assert cancelled.reason == "cancelled"
        assert cancelled.sequence_number == 2
        assert await store.in_memory() == 0
        assert await store.count_mailboxes() == 0
        again = await store.deliveries.cancel_delivery(id_of(1))
        assert again is not None
        assert again.sequence_number == 2

    async def test_only_this_delivery_goes(self, store: Store) -> None:
        await store.mailboxes.put(build_envelope(5), acquire=False)
        for number in (1, 2, 3):
            await put(store, number)
        await store.deliveries.cancel_delivery(id_of(2))
        lease = await acquire(store)
        assert await finish_all(store, lease) == [5, id_of(1), id_of(3)]

    async def test_a_delivery_that_was_begun_or_ended_is_not_cancelled(
        self, store: Store
    ) -> None:
        lease = await acquired(store, 1)
        await store.deliveries.begin_part(lease, id_of(1), 0, [])
        record = await store.deliveries.cancel_delivery(id_of(1))
        assert record is not None
        assert record.state is DeliveryState.SENDING
        await finish_all(store, lease)
        record = await store.deliveries.cancel_delivery(id_of(1))
        assert record is not None
        assert record.state is DeliveryState.SENT

    async def test_an_owner_whose_only_delivery_was_cancelled_gets_no_other_mail(
        self, store: Store
    ) -> None:
        """Whether it commits, releases or is lost."""
        lease = await acquired(store, 1)
        await store.deliveries.cancel_delivery(id_of(1))
        result = DeliveryResult(state=DeliveryState.CANCELLED)
        assert (
            await store.deliveries.commit_delivery(lease, id_of(1), b"state", result)
            is None
        )
        assert await store.count_mailboxes() == 0
        lease = await acquired(store, 2)
        await store.deliveries.cancel_delivery(id_of(2))
        await store.mailboxes.release(lease)
        assert await store.mailboxes.acquire("7") is None
        await acquired(store, 3)
        await store.deliveries.cancel_delivery(id_of(3))
        await store.pass_time(LEASE + 1)
        assert await store.mailboxes.acquire("7") is None
        assert await store.count_mailboxes() == 0


class TestSchedule:
    """Deliveries with a later time."""

    async def test_it_waits_outside_of_the_mailbox(self, store: Store) -> None:
        at = await store.tell_time() + 3600
        assert await put(store, 1, not_before=at) is DeliveryPutResult.SCHEDULED
        assert (await get(store, 1)).state is DeliveryState.SCHEDULED
        assert await store.in_memory() == 0
        assert await put(store, 1, not_before=at) is DeliveryPutResult.REPEATED
        assert await enter(store) == 0

    async def test_it_enters_behind_all_mail_when_its_time_has_come(
        self, store: Store
    ) -> None:
        now = await store.tell_time()
        await put(store, 2, not_before=now + 3601)
        await put(store, 1, not_before=now + 3600)
        await put(store, 3, not_before=now + 36000)
        await store.mailboxes.put(build_envelope(5), acquire=False)
        await store.pass_time(3700)
        assert await enter(store) == 2
        assert await enter(store) == 0
        record = await get(store, 1)
        assert record.state is DeliveryState.ACCEPTED
        assert record.sequence_number == 2
        assert list(await store.mailboxes.claimable(9)) == ["7"]
        lease = await acquire(store)
        assert await finish_all(store, lease) == [5, id_of(1), id_of(2)]

    async def test_no_more_enter_than_asked_for(self, store: Store) -> None:
        at = await store.tell_time() + 10
        for number in (1, 2, 3):
            await put(store, number, not_before=at, ordering_key=str(number))
        await store.pass_time(20)
        assert [await enter(store, 2), await enter(store, 2)] == [2, 1]

    async def test_many_workers_enter_it_once(self, store: Store) -> None:
        await put(store, 1, not_before=await store.tell_time() + 10)
        await store.pass_time(20)
        await store.mailboxes.claimable(9)
        entered = await asyncio.gather(
            *(store.deliveries.enter_due_deliveries(9) for _ in range(5))
        )
        assert sum(entered) == 1
        assert await store.in_memory() == 1

    async def test_a_full_mailbox_is_entered_later(self, store: Store) -> None:
        await put(store, 9, not_before=await store.tell_time() + 10)
        for number in range(1, LIMIT + 1):
            await put(store, number)
        await store.pass_time(20)
        assert await enter(store) == 0
        lease = await acquire(store)
        assert len(await finish_all(store, lease)) == LIMIT
        await store.pass_time(20)
        assert await enter(store) == 1
        assert await finish_all(store, await acquire(store)) == [id_of(9)]

    async def test_a_cancelled_one_never_enters(self, store: Store) -> None:
        await put(store, 1, not_before=await store.tell_time() + 10)
        cancelled = await store.deliveries.cancel_delivery(id_of(1))
        assert cancelled is not None
        assert cancelled.state is DeliveryState.CANCELLED
        await store.pass_time(20)
        assert await enter(store) == 0
        assert await store.count_mailboxes() == 0

    async def test_an_empty_mailbox_is_gone_with_the_last_that_waited_outside(
        self, store: Store
    ) -> None:
        """A mailbox that its owner released empty is not kept for a scan."""
        lease = await acquired(store, 1)
        await put(store, 2, not_before=await store.tell_time() + 10)
        await store.deliveries.cancel_delivery(id_of(1))
        await store.mailboxes.release(lease)
        await store.deliveries.cancel_delivery(id_of(2))
        assert await store.count_mailboxes() == 0

    async def test_a_past_time_is_no_schedule(self, store: Store) -> None:
        at = await store.tell_time() - 10
        assert await put(store, 1, not_before=at) is DeliveryPutResult.STORED


async def enter(store: Store, limit: int = 9) -> int:
    """Enter due deliveries after a scan."""
    await store.mailboxes.claimable(9)
    return await store.deliveries.enter_due_deliveries(limit)


class TestBulk:
    """Bulk deliveries, which the pacer lets into their mailboxes."""

    async def test_they_wait_outside_of_the_mailbox(self, store: Store) -> None:
        assert await put(store, 1, is_bulk=True) is DeliveryPutResult.SCHEDULED
        await store.pass_time(3600)
        assert await enter(store) == 0
        assert await store.in_memory() == 0
        assert (await get(store, 1)).state is DeliveryState.SCHEDULED

    async def test_they_enter_behind_what_was_accepted_since(
        self, store: Store
    ) -> None:
        await put(store, 1, is_bulk=True)
        await put(store, 2)
        await store.pass_time(1)
        (waiting,) = await store.deliveries.list_bulk_deliveries(9)
        assert waiting == WaitingDelivery(id_of(1), "7")
        assert await store.deliveries.enter_bulk_delivery(waiting)
        assert not await store.deliveries.enter_bulk_delivery(waiting)
        assert await store.deliveries.list_bulk_deliveries(9) == []
        record = await get(store, 1)
        assert record.state is DeliveryState.ACCEPTED
        assert record.sequence_number == 2
        assert await finish_all(store, await acquire(store)) == [id_of(2), id_of(1)]

    async def test_the_oldest_come_first(self, store: Store) -> None:
        for number in range(1, 6):
            await put(store, number, is_bulk=True, ordering_key=str(number))
            await store.pass_time(1)
        first = await store.deliveries.list_bulk_deliveries(70)
        assert [it.delivery_id for it in first] == [id_of(it) for it in range(1, 6)]
        assert len(await store.deliveries.list_bulk_deliveries(2)) == 2

    async def test_they_wait_for_their_time(self, store: Store) -> None:
        at = await store.tell_time() + 100
        await put(store, 1, is_bulk=True, not_before=at)
        await store.pass_time(50)
        assert await store.deliveries.list_bulk_deliveries(9) == []
        await store.pass_time(60)
        assert len(await store.deliveries.list_bulk_deliveries(9)) == 1

    async def test_a_cancelled_one_never_enters(self, store: Store) -> None:
        await put(store, 1, is_bulk=True)
        await store.pass_time(1)
        (waiting,) = await store.deliveries.list_bulk_deliveries(9)
        await store.deliveries.cancel_delivery(id_of(1))
        assert not await store.deliveries.enter_bulk_delivery(waiting)
        assert await store.deliveries.list_bulk_deliveries(9) == []

    async def test_it_replaces_one_with_its_collapse_key(self, store: Store) -> None:
        await put(store, 1, is_bulk=True, collapse_key="state")
        await put(store, 2, is_bulk=True, collapse_key="state")
        await store.pass_time(1)
        (waiting,) = await store.deliveries.list_bulk_deliveries(9)
        assert waiting.delivery_id == id_of(2)

    async def test_one_for_a_full_mailbox_waits_for_the_pacer(
        self, store: Store
    ) -> None:
        await put(store, 9, is_bulk=True)
        for number in range(1, LIMIT + 1):
            await put(store, number)
        await store.pass_time(1)
        (waiting,) = await store.deliveries.list_bulk_deliveries(9)
        assert not await store.deliveries.enter_bulk_delivery(waiting)
        assert await store.deliveries.list_bulk_deliveries(9) == []
        assert len(await finish_all(store, await acquire(store))) == LIMIT
        await store.pass_time(20)
        assert await enter(store) == 0
        assert await store.deliveries.list_bulk_deliveries(9) == [waiting]
        assert await store.deliveries.enter_bulk_delivery(waiting)


class TestCollapse:
    """Deliveries that replace earlier ones."""

    async def test_an_earlier_one_is_replaced(self, store: Store) -> None:
        await put(store, 1, collapse_key="state")
        await put(store, 2)
        await put(store, 3, collapse_key="state")
        record = await get(store, 1)
        assert (record.state, record.reason) == (DeliveryState.CANCELLED, "collapsed")
        assert await finish_all(store, await acquire(store)) == [id_of(2), id_of(3)]

    async def test_a_delivery_that_was_begun_is_known_after_a_day(
        self, store: Store
    ) -> None:
        """A later one with its collapse key did not end it."""
        first = build_delivery(1, collapse_key="state")
        lease = await store.deliveries.put_delivery(first)
        assert isinstance(lease, MailboxLease)
        await store.deliveries.begin_part(lease, id_of(1), 0, [])
        await put(store, 2, collapse_key="state")
        await store.pass_time(RECORD_SECONDS + 100)
        assert (await get(store, 1)).state is DeliveryState.SENDING

    async def test_the_key_of_a_replaced_delivery_is_free_after_a_day(
        self, store: Store
    ) -> None:
        await put(store, 1, collapse_key="state")
        await put(store, 2, collapse_key="state")
        await store.pass_time(RECORD_SECONDS + 100)
        other = await put(store, 1, ordering_key="8", fingerprint=b"another")
        assert other is DeliveryPutResult.STORED

    async def test_one_after_the_other_is_replaced(self, store: Store) -> None:
        """The newest one stays, also if the mailbox is full."""
        for number in range(90, 90 + LIMIT - 1):
            await put(store, number)
        for number in range(1, 6):
            answer = await put(store, number, collapse_key="state")
            assert answer is DeliveryPutResult.STORED
        done = await finish_all(store, await acquire(store))
        assert done[-1] == id_of(5)
        assert len(done) == LIMIT

    async def test_what_was_begun_or_ended_stays(self, store: Store) -> None:
        first = await store.deliveries.put_delivery(
            build_delivery(1, collapse_key="state")
        )
        assert isinstance(first, MailboxLease)
        await store.deliveries.begin_part(first, id_of(1), 0, [])
        await put(store, 2, collapse_key="state")
        assert (await get(store, 1)).state is DeliveryState.SENDING
        assert await finish_all(store, first) == [id_of(1), id_of(2)]
        await put(store, 3, collapse_key="state")
        assert (await get(store, 2)).state is DeliveryState.SENT

    @pytest.mark.parametrize(
        "other",
        [{"ordering_key": "8"}, {"caller": "sales"}, {"collapse_key": "other"}],
    )
    async def test_others_are_left_alone(
        self, store: Store, other: dict[str, str]
    ) -> None:
        await put(store, 1, collapse_key="state")
        await put(store, 2, **{"collapse_key": "state"} | other)
        assert (await get(store, 1)).state is DeliveryState.ACCEPTED

    async def test_scheduled_ones_replace_and_are_replaced(self, store: Store) -> None:
        at = await store.tell_time() + 100
        await put(store, 1, collapse_key="state")
        await put(store, 2, collapse_key="state", not_before=at)
        assert (await get(store, 1)).state is DeliveryState.CANCELLED
        assert await store.count_mailboxes() == 0
        await put(store, 3, collapse_key="state", not_before=at)
        assert (await get(store, 2)).state is DeliveryState.CANCELLED
        await store.pass_time(200)
        assert await enter(store) == 1
        await put(store, 4, collapse_key="state")
        assert (await get(store, 3)).state is DeliveryState.CANCELLED
        assert await finish_all(store, await acquire(store)) == [id_of(4)]

    async def test_a_put_that_replaces_may_be_repeated(self, store: Store) -> None:
        await put(store, 1, collapse_key="state")
        await put(store, 2, collapse_key="state")
        repeated = await put(store, 1, collapse_key="state")
        assert repeated is DeliveryPutResult.REPEATED
        assert (await get(store, 2)).state is DeliveryState.ACCEPTED

    async def test_many_at_once_leave_one(self, store: Store) -> None:
        await asyncio.gather(
            *(put(store, number, collapse_key="state") for number in range(1, 9))
        )
        assert await store.in_memory() == 1


class TestReports:
    """Reports of the ends of deliveries."""

    @pytest.mark.parametrize(
        ("policy", "result", "is_reported"),
        [
            (ReportPolicy.ALL, SENT, True),
            (ReportPolicy.ALL, BLOCKED, True),
            (ReportPolicy.FAILURES, SENT, False),
            (ReportPolicy.FAILURES, BLOCKED, True),
            (ReportPolicy.NONE, BLOCKED, False),
        ],
    )
    async def test_the_ends_that_were_asked_for_are_reported(
        self,
        store: Store,
        policy: ReportPolicy,
        result: DeliveryResult,
        is_reported: bool,
    ) -> None:
        await put(store, 1, report=policy)
        lease = await acquire(store)
        assert await take(store) == []
        await store.deliveries.commit_delivery(lease, id_of(1), b"state", result)
        reports = await take(store)
        assert [report.delivery_id for report in reports] == [id_of(1)] * is_reported
        assert all(report.state is result.state for report in reports)

    async def test_a_cancellation_is_reported(self, store: Store) -> None:
        """Also one by a delivery with the same collapse key."""
        await put(store, 1, report=ReportPolicy.FAILURES, collapse_key="state")
        await put(store, 2, report=ReportPolicy.FAILURES, collapse_key="state")
        await store.deliveries.cancel_delivery(id_of(2))
        reports = await take(store)
        assert {report.reason for report in reports} == {"cancelled", "collapsed"}

    async def test_a_report_is_taken_until_it_is_confirmed(self, store: Store) -> None:
        """The oldest come first."""
        for number in (1, 2, 3):
            await put(store, number, report=ReportPolicy.ALL, ordering_key=str(number))
            await store.deliveries.cancel_delivery(id_of(number))
        first = await take(store)
        assert {report.delivery_id for report in first} == set(map(id_of, (1, 2, 3)))
        assert first == sorted(first, key=lambda report: report.updated_at)
        assert len(await take(store, 2)) == 2
        await store.deliveries.confirm_reports(first[:2])
        assert [it.delivery_id for it in await take(store)] == [first[2].delivery_id]
        await store.deliveries.confirm_reports(first)
        assert await take(store) == []

    async def test_a_report_that_nobody_takes_goes_with_its_record(
        self, store: Store
    ) -> None:
        await put(store, 1, report=ReportPolicy.ALL)
        await store.deliveries.cancel_delivery(id_of(1))
        await store.pass_time(RECORD_SECONDS + 60)
        assert await take(store) == []


async def take(store: Store, limit: int = 9) -> list[DeliveryRecord]:
    """Take reports after a scan."""
    await store.mailboxes.claimable(9)
    return list(await store.deliveries.take_reports(limit))


class TestRecipients:
    """The index of users."""

    async def test_a_user_is_found_by_the_bot_and_the_internal_id(
        self, store: Store
    ) -> None:
        await store.recipients.record_recipient(1, "ada", 7)
        await store.recipients.record_recipient(1, "grace", 8)
        await store.recipients.record_recipient(2, "ada", 9)
        find = store.recipients.find_recipient
        assert [await find(1, "ada"), await find(1, "grace"), await find(2, "ada")] == [
            *(7, 8, 9),
        ]
        assert await find(2, "grace") is None

    async def test_a_new_session_replaces_the_user(self, store: Store) -> None:
        await store.recipients.record_recipient(1, "ada", 7)
        await store.recipients.record_recipient(1, "ada", 8)
        assert await store.recipients.find_recipient(1, "ada") == 8


def test_deliveries_of_tests_differ() -> None:
    """Otherwise the tests above would not see a wrong one."""
    first, second = build_delivery(1), build_delivery(2)
    assert isinstance(first, Delivery)
    assert first.fingerprint != second.fingerprint
