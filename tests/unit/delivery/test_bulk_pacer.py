"""The pacer with a fake store and a fake clock."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.bulk_pacer import BulkPacer
from gateway.domain.delivery_store import WaitingDelivery
from gateway.domain.errors import StoreUnavailable
from tests.support.fakes import FakeClock


class Over(Exception):
    """The time of a test is over."""


class World:
    """A store, a lease and the time."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.clock = FakeClock()
        self.waiting = [
            WaitingDelivery(str(number), key) for number, key in enumerate(keys)
        ]
        self.entered: list[tuple[float, WaitingDelivery]] = []
        self.fails = False
        self.is_ours = True
        self.ends_at = 0.0

    async def list_bulk_deliveries(self, limit: int) -> Sequence[WaitingDelivery]:
        """List those that have not entered."""
        if self.fails:
            raise StoreUnavailable
        return self.waiting[:limit]

    async def enter_bulk_delivery(self, waiting: WaitingDelivery) -> bool:
        """Let it enter unless it was cancelled."""
        if waiting not in self.waiting:
            return False
        self.waiting.remove(waiting)
        self.entered.append((self.clock.uptime(), waiting))
        return True

    async def hold(self) -> bool:
        """Say whether the lease is ours."""
        return self.is_ours

    async def sleep(self, seconds: float) -> None:
        """Let time pass, up to the end of the test."""
        self.clock.move(seconds)
        if self.clock.uptime() >= self.ends_at:
            raise Over

    def make_pacer(self, rate: float) -> BulkPacer:
        """Make the pacer."""
        return BulkPacer(
            self, self, rate=rate, uptime=self.clock.uptime, sleep=self.sleep
        )

    def run(self, pacer: BulkPacer, seconds: float) -> None:
        """Let the pacer run for some seconds."""
        self.ends_at = self.clock.uptime() + seconds
        with pytest.raises(Over):
            asyncio.run(pacer.run())

    def entered_ids(self) -> list[str]:
        """Return the ids of those that entered, in order."""
        return [waiting.delivery_id for _, waiting in self.entered]


def most_within(times: Sequence[float], seconds: float) -> int:
    """Return the largest number of times within a window."""
    return max(
        sum(start <= time < start + seconds - 1e-6 for time in times) for start in times
    )


@given(st.sampled_from([0.5, 1, 7, 25, 30, 400]))
def test_no_second_has_more_than_the_rate_and_two_ticks_allow(rate: float) -> None:
    world = World(f"1/{user}" for user in range(int(rate * 20)))
    world.run(world.make_pacer(rate), 15)
    times = [time for time, _ in world.entered]
    assert rate * 15 * 0.9 - 2 <= len(times) <= rate * 15 + 1
    assert most_within(times, 1) <= rate + max(2, 0.04 * rate)


@given(st.lists(st.sampled_from(["1/5", "1/6", "1/-7", "2/5", "2/-7"]), max_size=40))
def test_each_chat_gets_its_share_and_nothing_is_forgotten(keys: list[str]) -> None:
    world = World(keys)
    world.run(world.make_pacer(25), 200)
    assert not world.waiting
    assert len(world.entered) == len(keys)
    times: dict[str, list[float]] = defaultdict(list)
    for time, waiting in world.entered:
        times[waiting.ordering_key].append(time)
    for key, of_chat in times.items():
        pause = 3 if "/-" in key else 1
        for earlier, later in pairwise(of_chat):
            assert later - earlier >= pause - 1e-6


def test_the_oldest_enter_first() -> None:
    world = World(f"1/{user}" for user in range(100))
    world.run(world.make_pacer(25), 30)
    assert world.entered_ids() == [str(number) for number in range(100)]


def test_bots_have_budgets_of_their_own() -> None:
    world = World([f"1/{user}" for user in range(900)] + ["2/5"])
    world.run(world.make_pacer(10), 3)
    assert "900" in world.entered_ids()


def test_a_chat_with_very_many_does_not_stop_the_others() -> None:
    world = World(["1/5"] * 900 + [f"1/{user}" for user in range(10, 30)])
    world.run(world.make_pacer(25), 5)
    assert {str(number) for number in range(900, 920)} <= set(world.entered_ids())


def test_a_worker_without_the_lease_lets_nothing_in() -> None:
    world = World(["1/5", "1/6"])
    world.is_ours = False
    pacer = world.make_pacer(25)
    world.run(pacer, 10)
    assert not world.entered
    world.is_ours = True
    world.run(pacer, 10)
    assert len(world.entered) == pacer.entered == 2


def test_a_new_owner_starts_without_a_budget() -> None:
    """The owner before it may just have used one."""
    world = World(f"1/{user}" for user in range(100))
    world.run(world.make_pacer(25), 0.01)
    assert not world.entered


def test_a_failing_store_is_asked_again() -> None:
    world = World(["1/5"])
    world.fails = True
    pacer = world.make_pacer(25)
    world.run(pacer, 5)
    world.fails = False
    world.run(pacer, 5)
    assert world.entered_ids() == ["0"]


def test_a_cancelled_one_is_not_counted() -> None:
    world = World(["1/5", "1/6"])
    pacer = world.make_pacer(1)
    world.run(pacer, 1.5)
    world.waiting.clear()
    world.run(pacer, 5)
    assert pacer.entered == len(world.entered) == 1
