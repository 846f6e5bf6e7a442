"""What every implementation of `BroadcastStore` promises, one sentence at a time."""

import asyncio
import time

import pytest
from msgspec import structs

from gateway.domain.broadcast import (
    RETENTION_SECONDS,
    Broadcast,
    BroadcastCounts,
    BroadcastState,
    EnterResult,
    RecipientFailure,
    build_recipient_delivery,
    get_recipient,
)
from gateway.domain.delivery import DeliveryResult, DeliveryState
from gateway.domain.errors import BroadcastsUnsupported, IdempotencyKeyReused
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.update import Envelope
from gateway.mailboxes.no_broadcasts import NoBroadcasts
from tests.factories import build_broadcast, build_delivery
from tests.support.stores import LIMIT, Store

SENT = DeliveryResult(state=DeliveryState.SENT)
BLOCKED = DeliveryResult(state=DeliveryState.BLOCKED, reason="bot_blocked")
FAILED = DeliveryResult(state=DeliveryState.FAILED, reason="chat_not_found")
DOUBTFUL = DeliveryResult(state=DeliveryState.DOUBTFUL, reason="response_lost")
WAIT_AGAIN = DeliveryResult(state=DeliveryState.SCHEDULED)
OPEN_STATES = {
    BroadcastState.DRAFT,
    BroadcastState.RUNNING,
    BroadcastState.PAUSED,
}


@pytest.fixture
def store(broadcast_store: Store) -> Store:
    """Return an empty store."""
    return broadcast_store


async def create(store: Store, *chat_ids: int, number: int = 1) -> Broadcast:
    """Create a broadcast with these recipients."""
    broadcast = build_broadcast(number)
    assert await store.broadcasts.create_broadcast(broadcast)
    if chat_ids:
        await store.broadcasts.add_recipients(broadcast, chat_ids)
    return broadcast


async def enter(
    store: Store, broadcast: Broadcast, chat_id: int, *, acquire: bool = True
) -> MailboxLease | EnterResult:
    """Put the delivery for a recipient into its mailbox."""
    delivery = build_recipient_delivery(broadcast, chat_id, time.time())
    return await store.broadcasts.enter_recipient(delivery, acquire=acquire)


async def entered(store: Store, broadcast: Broadcast, chat_id: int) -> MailboxLease:
    """Put the delivery for a recipient into a free mailbox."""
    lease = await enter(store, broadcast, chat_id)
    assert isinstance(lease, MailboxLease)
    return lease


async def commit(
    store: Store, lease: MailboxLease, result: DeliveryResult
) -> Envelope | None:
    """Commit the end of the delivery at the head of a mailbox."""
    delivery = lease.next_update.delivery
    assert delivery is not None
    return await store.deliveries.commit_delivery(
        lease,
        delivery.delivery_id,
        b"state",
        result,
        recipient=get_recipient(delivery),
    )


async def count(store: Store, broadcast: Broadcast) -> dict[str, int]:
    """Return the counts that are not 0; they add up."""
    counts = structs.asdict(await store.broadcasts.count_recipients(broadcast))
    del counts["reasons"]
    assert counts["total"] == sum(counts.values()) - counts["total"]
    return {name: number for name, number in counts.items() if number}


class TestCreate:
    """Creating a broadcast and reading it."""

    async def test_a_new_broadcast_is_a_draft(self, store: Store) -> None:
        broadcast = await create(store)
        record = await store.broadcasts.get_broadcast(broadcast.broadcast_id)
        assert record is not None
        assert structs.asdict(record.broadcast) == structs.asdict(broadcast)
        assert record.state is BroadcastState.DRAFT
        assert await store.broadcasts.list_open_broadcasts() == {}

    async def test_the_same_request_creates_one_broadcast(self, store: Store) -> None:
        broadcast = await create(store)
        later = structs.replace(broadcast, created_at=broadcast.created_at + 5)
        assert not await store.broadcasts.create_broadcast(later)
        record = await store.broadcasts.get_broadcast(broadcast.broadcast_id)
        assert record is not None
        assert record.broadcast.created_at == broadcast.created_at

    async def test_another_request_with_the_key_is_refused(self, store: Store) -> None:
        broadcast = await create(store)
        other = structs.replace(broadcast, fingerprint=b"another")
        with pytest.raises(IdempotencyKeyReused):
            await store.broadcasts.create_broadcast(other)

    async def test_an_unknown_broadcast_is_not_found(self, store: Store) -> None:
        assert await store.broadcasts.get_broadcast("unknown") is None

    async def test_the_newest_broadcasts_are_listed_first(self, store: Store) -> None:
        for number in (1, 2, 3):
            await create(store, number=number)
        listed = await store.broadcasts.list_broadcasts(2)
        assert [it.broadcast.idempotency_key for it in listed] == ["issue-3", "issue-2"]

    async def test_a_broadcast_is_forgotten_some_time_after_it_expired(
        self, store: Store
    ) -> None:
        broadcast = build_broadcast(1, expires_at=await store.tell_time() + 60)
        await store.broadcasts.create_broadcast(broadcast)
        await store.broadcasts.add_recipients(broadcast, [1, 2])
        await store.pass_time(RETENTION_SECONDS)
        assert await store.broadcasts.get_broadcast(broadcast.broadcast_id) is not None
        await store.pass_time(120)
        assert await store.broadcasts.get_broadcast(broadcast.broadcast_id) is None
        assert list(await store.broadcasts.list_recipients(broadcast, 9)) == []


class TestStates:
    """Starting, pausing and closing."""

    async def test_a_started_broadcast_is_open(self, store: Store) -> None:
        broadcast = await create(store)
        before = await store.broadcasts.change_state(
            broadcast.broadcast_id, BroadcastState.RUNNING, {BroadcastState.DRAFT}
        )
        assert before is BroadcastState.DRAFT
        assert await store.broadcasts.list_open_broadcasts() == {
            broadcast.broadcast_id: BroadcastState.RUNNING
        }

    async def test_a_state_changes_only_from_an_allowed_one(self, store: Store) -> None:
        broadcast = await create(store)
        before = await store.broadcasts.change_state(
            broadcast.broadcast_id, BroadcastState.PAUSED, {BroadcastState.RUNNING}
        )
        assert before is BroadcastState.DRAFT
        record = await store.broadcasts.get_broadcast(broadcast.broadcast_id)
        assert record is not None
        assert record.state is BroadcastState.DRAFT

    async def test_a_closed_broadcast_keeps_its_state(self, store: Store) -> None:
        broadcast = await create(store)
        for is_open in (True, False):
            await store.broadcasts.change_state(
                broadcast.broadcast_id,
                BroadcastState.CANCELLED,
                {BroadcastState.DRAFT, BroadcastState.CANCELLED},
                is_open=is_open,
            )
        assert await store.broadcasts.list_open_broadcasts() == {}
        record = await store.broadcasts.get_broadcast(broadcast.broadcast_id)
        assert record is not None
        assert record.state is BroadcastState.CANCELLED

    async def test_an_unknown_broadcast_has_no_state(self, store: Store) -> None:
        before = await store.broadcasts.change_state(
            "unknown", BroadcastState.RUNNING, OPEN_STATES
        )
        assert before is None
        assert await store.broadcasts.list_open_broadcasts() == {}


class TestRecipients:
    """Adding recipients, and letting them enter."""

    async def test_a_recipient_is_added_once(self, store: Store) -> None:
        broadcast = await create(store)
        assert await store.broadcasts.add_recipients(broadcast, [1, 2, -3]) == 3
        assert await store.broadcasts.add_recipients(broadcast, [2, -3, 4]) == 1
        assert sorted(await store.broadcasts.list_recipients(broadcast, 1000)) == [
            *(-3, 1, 2, 4)
        ]
        assert await count(store, broadcast) == {"total": 4, "waiting": 4}

    async def test_many_recipients_are_added_and_all_of_them_are_found(
        self, store: Store
    ) -> None:
        broadcast = await create(store)
        chat_ids = range(1, 5001)
        assert await store.broadcasts.add_recipients(broadcast, chat_ids) == 5000
        found = await store.broadcasts.list_recipients(broadcast, 100_000)
        assert sorted(found) == list(chat_ids)
        some = await store.broadcasts.list_recipients(broadcast, 100)
        assert 50 <= len(some) <= 200

    async def test_a_recipient_enters_once(self, store: Store) -> None:
        """Also if two pacers run for a moment."""
        broadcast = await create(store, 7)
        results = await asyncio.gather(
            *(enter(store, broadcast, 7, acquire=False) for _ in range(5))
        )
        assert sorted(map(str, results)) == [*("entered", *4 * ["not waiting"])]
        assert await count(store, broadcast) == {"total": 1, "in_progress": 1}
        assert await store.in_memory() == 1

    async def test_a_free_mailbox_is_acquired(self, store: Store) -> None:
        broadcast = await create(store, 7)
        lease = await entered(store, broadcast, 7)
        assert lease.ordering_key == "1/7"
        delivery = lease.next_update.delivery
        assert delivery is not None
        assert delivery.request == broadcast.request
        assert delivery.broadcast_id == broadcast.broadcast_id

    async def test_it_enters_behind_what_was_accepted_before(
        self, store: Store
    ) -> None:
        broadcast = await create(store, 7)
        first = build_delivery(1, "1/7")
        await store.deliveries.put_delivery(first, acquire=False)
        assert await enter(store, broadcast, 7) is EnterResult.ENTERED
        lease = await store.mailboxes.acquire("1/7")
        assert isinstance(lease, MailboxLease)
        following = await store.deliveries.commit_delivery(
            lease, first.delivery_id, b"state", SENT
        )
        assert following is not None
        assert following.delivery is not None
        assert following.delivery.broadcast_id == broadcast.broadcast_id

    async def test_nobody_enters_a_full_mailbox(self, store: Store) -> None:
        broadcast = await create(store, 7)
        for number in range(LIMIT):
            await store.deliveries.put_delivery(
                build_delivery(number, "1/7"), acquire=False
            )
        assert await enter(store, broadcast, 7) is EnterResult.FULL
        assert await count(store, broadcast) == {"total": 1, "waiting": 1}

    async def test_those_who_are_dropped_do_not_enter(self, store: Store) -> None:
        broadcast = await create(store, 1, 2, 3)
        await entered(store, broadcast, 2)
        drop = store.broadcasts.drop_recipients
        assert await drop(broadcast, DeliveryState.CANCELLED) == 2
        assert await drop(broadcast, DeliveryState.CANCELLED) == 0
        assert await enter(store, broadcast, 1) is EnterResult.NOT_WAITING
        assert await count(store, broadcast) == {
            "total": 3,
            "in_progress": 1,
            "cancelled": 2,
        }

    async def test_broadcasts_do_not_share_recipients(self, store: Store) -> None:
        one = await create(store, 7)
        two = await create(store, 7, number=2)
        await entered(store, one, 7)
        assert await count(store, two) == {"total": 1, "waiting": 1}


class TestEnds:
    """Counting how deliveries end."""

    async def test_each_end_is_counted_with_its_reason(self, store: Store) -> None:
        broadcast = await create(store, 1, 2, 3, 4, 5)
        for chat_id, result in enumerate([SENT, BLOCKED, FAILED, DOUBTFUL], 1):
            assert (
                await commit(store, await entered(store, broadcast, chat_id), result)
                is None
            )
        assert await count(store, broadcast) == {
            "total": 5,
            "waiting": 1,
            "sent": 1,
            "blocked": 1,
            "failed": 1,
            "doubtful": 1,
        }
        counts = await store.broadcasts.count_recipients(broadcast)
        assert counts.reasons == {
            "bot_blocked": 1,
            "chat_not_found": 1,
            "response_lost": 1,
        }
        failures = await store.broadcasts.list_failures(broadcast, 9)
        assert sorted(failures) == [
            RecipientFailure(2, DeliveryState.BLOCKED, "bot_blocked"),
            RecipientFailure(3, DeliveryState.FAILED, "chat_not_found"),
            RecipientFailure(4, DeliveryState.DOUBTFUL, "response_lost"),
        ]
        assert len(await store.broadcasts.list_failures(broadcast, 2)) == 2

    async def test_a_recipient_of_a_paused_broadcast_waits_again(
        self, store: Store
    ) -> None:
        broadcast = await create(store, 7)
        lease = await entered(store, broadcast, 7)
        assert await commit(store, lease, WAIT_AGAIN) is None
        assert await count(store, broadcast) == {"total": 1, "waiting": 1}
        assert await commit(store, await entered(store, broadcast, 7), SENT) is None
        assert await count(store, broadcast) == {"total": 1, "sent": 1}

    async def test_a_recipient_to_whom_something_may_have_been_sent_does_not(
        self, store: Store
    ) -> None:
        """An earlier owner began the call and was lost."""
        broadcast = await create(store, 7)
        lease = await entered(store, broadcast, 7)
        delivery = lease.next_update.delivery
        assert delivery is not None
        await store.deliveries.begin_part(lease, delivery.delivery_id, 0, [])
        await store.mailboxes.release(lease)
        again = await store.mailboxes.acquire("1/7")
        assert isinstance(again, MailboxLease)
        await commit(store, again, WAIT_AGAIN)
        assert await count(store, broadcast) == {"total": 1, "doubtful": 1}

    async def test_an_unknown_broadcast_has_no_recipients(self, store: Store) -> None:
        broadcast = build_broadcast()
        counts = await store.broadcasts.count_recipients(broadcast)
        assert counts == BroadcastCounts()
        assert list(await store.broadcasts.list_failures(broadcast, 9)) == []


async def test_a_store_without_broadcasts_refuses_them() -> None:
    """As that of a gateway with DATA_DIR: it has none to list, to send or to change."""
    store, broadcast = NoBroadcasts(), build_broadcast()
    with pytest.raises(BroadcastsUnsupported):
        await store.create_broadcast(broadcast)
    assert await store.get_broadcast(broadcast.broadcast_id) is None
    assert await store.list_open_broadcasts() == {}
    assert list(await store.list_broadcasts(9)) == []
    assert await store.count_recipients(broadcast) == BroadcastCounts()
