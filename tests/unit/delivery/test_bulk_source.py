"""What the pacer gets, over the stores in memory."""

import pytest

from gateway.delivery.broadcasts.bulk_source import BulkSource
from gateway.domain.broadcast import Broadcast, BroadcastState, EnterResult
from gateway.domain.delivery import Delivery
from gateway.domain.mailbox_lease import MailboxLease
from gateway.mailboxes.memory.broadcasts import MemoryBroadcastStore
from gateway.mailboxes.memory.deliveries import MemoryDeliveryStore
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from tests.factories import build_broadcast, build_delivery
from tests.support.fakes import FakeClock

DRAFT, RUNNING = BroadcastState.DRAFT, BroadcastState.RUNNING
PAUSED, CANCELLED = BroadcastState.PAUSED, BroadcastState.CANCELLED


class World:
    """The stores and the source."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.mailboxes = MemoryMailboxStore(self.clock, limit=9, max_sessions=9)
        self.deliveries = MemoryDeliveryStore(self.mailboxes, self.clock, limit=9)
        self.broadcasts = MemoryBroadcastStore(self.deliveries, self.clock)
        self.source = BulkSource(
            self.deliveries,
            self.broadcasts,
            self._enter,
            read_ahead=10,
            now=self.clock.now,
        )

    async def _enter(self, delivery: Delivery) -> EnterResult:
        result = await self.broadcasts.enter_recipient(delivery, acquire=False)
        assert not isinstance(result, MailboxLease)
        return result

    async def start(self, number: int, *chat_ids: int) -> Broadcast:
        """Start a broadcast with these recipients."""
        broadcast = build_broadcast(number, expires_at=self.clock.now() + 60)
        await self.broadcasts.create_broadcast(broadcast)
        await self.broadcasts.add_recipients(broadcast, chat_ids)
        await self.change(broadcast, RUNNING)
        return broadcast

    async def change(self, broadcast: Broadcast, state: BroadcastState) -> None:
        """Change the state of a broadcast."""
        await self.broadcasts.change_state(
            broadcast.broadcast_id, state, {DRAFT, RUNNING, PAUSED}
        )

    async def state(self, broadcast: Broadcast) -> BroadcastState:
        """Return the state of a broadcast."""
        record = await self.broadcasts.get_broadcast(broadcast.broadcast_id)
        assert record is not None
        return record.state

    async def list_keys(self) -> list[str]:
        """Return the ordering keys that are listed, in order."""
        return [it.ordering_key for it in await self.source.list_bulk_deliveries(99)]


@pytest.fixture
def world() -> World:
    return World()


async def test_broadcasts_and_bulk_deliveries_take_turns(world: World) -> None:
    await world.start(1, 11, 12)
    await world.start(2, 21)
    for number, key in enumerate(("1/31", "1/32")):
        await world.deliveries.put_delivery(build_delivery(number, key, is_bulk=True))
    keys = await world.list_keys()
    assert {*keys[:3]} in ({"1/31", "1/11", "1/21"}, {"1/31", "1/12", "1/21"})
    assert sorted(keys) == ["1/11", "1/12", "1/21", "1/31", "1/32"]


async def test_each_kind_enters_in_its_own_way(world: World) -> None:
    await world.start(1, 11)
    await world.deliveries.put_delivery(build_delivery(1, "1/31", is_bulk=True))
    for waiting in await world.source.list_bulk_deliveries(99):
        assert await world.source.enter_bulk_delivery(waiting)
        assert not await world.source.enter_bulk_delivery(waiting)
    assert await world.list_keys() == []
    assert world.mailboxes.in_memory == 2


@pytest.mark.parametrize("state", [PAUSED, CANCELLED])
async def test_nothing_that_was_listed_enters_after_a_stop(
    world: World, state: BroadcastState
) -> None:
    broadcast = await world.start(1, 11)
    (waiting,) = await world.source.list_bulk_deliveries(99)
    await world.change(broadcast, state)
    assert not await world.source.enter_bulk_delivery(waiting)
    assert await world.list_keys() == []


async def test_a_broadcast_is_completed_when_all_have_ended(world: World) -> None:
    broadcast = await world.start(1, 11)
    (waiting,) = await world.source.list_bulk_deliveries(99)
    await world.source.enter_bulk_delivery(waiting)
    assert await world.list_keys() == []
    assert await world.state(broadcast) is RUNNING  # it is being sent
    empty = await world.start(2)
    assert await world.list_keys() == []
    assert await world.state(empty) is BroadcastState.COMPLETED


async def test_a_cancelled_broadcast_is_closed_without_its_recipients(
    world: World,
) -> None:
    """Also if the worker that cancelled it was lost before it dropped them."""
    broadcast = await world.start(1, 11, 12)
    await world.change(broadcast, CANCELLED)
    assert await world.list_keys() == []
    counts = await world.broadcasts.count_recipients(broadcast)
    assert (counts.total, counts.cancelled) == (2, 2)
    assert await world.state(broadcast) is CANCELLED
    assert await world.broadcasts.list_open_broadcasts() == {}


@pytest.mark.parametrize("state", [RUNNING, PAUSED])
async def test_recipients_of_an_expired_broadcast_get_nothing(
    world: World, state: BroadcastState
) -> None:
    broadcast = await world.start(1, 11, 12)
    await world.change(broadcast, state)
    world.clock.move(61)
    assert await world.list_keys() == []
    counts = await world.broadcasts.count_recipients(broadcast)
    assert (counts.total, counts.expired) == (2, 2)
    assert await world.state(broadcast) is BroadcastState.COMPLETED


async def test_a_broadcast_that_is_gone_is_closed(world: World) -> None:
    broadcast = await world.start(1, 11)
    world.broadcasts._entries.pop(broadcast.broadcast_id)  # noqa: SLF001 - it expired
    assert await world.list_keys() == []
    assert await world.broadcasts.list_open_broadcasts() == {}
