"""Long polling, against a fake Telegram and in virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.background import BackgroundTasks
from gateway.domain.errors import (
    BotApiError,
    BotApiUnavailable,
    CallRejected,
    RejectedPart,
    StoreUnavailable,
)
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.bot_api.updates import FetchedUpdate
from gateway.telegram.polling import UpdatePoller, free_from_webhook
from tests.support.virtual_time import virtual_time


class FakeTelegram:
    """Keeps updates until they are confirmed, as getUpdates does."""

    def __init__(self, *update_ids: int) -> None:
        self.pending = list(update_ids)
        self.offsets: list[int | None] = []
        self.failures: list[BotApiError] = []
        self.largest_readable = 100
        self._changed = asyncio.Event()

    def add(self, *update_ids: int) -> None:
        """Add updates, and wake a waiting call."""
        self.pending += update_ids
        self._changed.set()

    async def fetch(
        self, *, offset: int | None, limit: int, timeout_seconds: int
    ) -> Sequence[FetchedUpdate]:
        """Confirm the updates before the offset, and return those from there on."""
        self.offsets.append(offset)
        if self.failures:
            raise self.failures.pop(0)
        if offset is not None:
            self.pending = [it for it in self.pending if it >= offset]
        if not self.pending and timeout_seconds:
            self._changed.clear()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._changed.wait()
            except TimeoutError:
                return []
        if len(self.pending[:limit]) > self.largest_readable:
            raise BotApiUnavailable("the answer was cut off")
        return [
            FetchedUpdate(it, json.dumps({"update_id": it}).encode())
            for it in self.pending[:limit]
        ]


class FakeLease:
    """A lease that a test grants and takes away."""

    def __init__(self) -> None:
        self.is_free = True
        self.error: StoreUnavailable | None = None
        self.was_released = False

    async def hold(self) -> bool:
        """Return whether the test grants the lease."""
        if self.error:
            raise self.error
        return self.is_free

    async def release(self) -> None:
        """Record the release."""
        self.was_released = True


class Harness:
    """A poller with a fake Telegram and a store in memory."""

    def __init__(self, *update_ids: int) -> None:
        self.telegram = FakeTelegram(*update_ids)
        self.lease = FakeLease()
        self.received: list[int] = []
        self.unfinished: set[int] = set()
        self.store_is_durable = False
        self.refused_ids: set[int] = set()
        self.poller = self.restart()

    def restart(self) -> UpdatePoller:
        """Start again with a new poller and an empty store, as after a crash."""
        self.unfinished.clear()
        self.poller = UpdatePoller(
            self.telegram.fetch,
            receive=self._receive,
            find_oldest_unfinished=lambda: min(self.unfinished, default=None),
            lease=self.lease,
        )
        return self.poller

    async def _receive(self, body: bytes) -> None:
        update_id = json.loads(body)["update_id"]
        if update_id in self.refused_ids:
            raise StoreUnavailable("full")
        self.received.append(update_id)
        if not self.store_is_durable:
            self.unfinished.add(update_id)

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Poll within the block."""
        with virtual_time():
            async with BackgroundTasks() as background:
                for name, work in self.poller.tasks.items():
                    background.start(name, work)
                yield


async def test_updates_are_received_in_order_and_then_confirmed() -> None:
    harness = Harness(5, 6, 7)
    harness.store_is_durable = True
    async with harness.polling():
        await asyncio.sleep(1)
        harness.telegram.add(8)
        await asyncio.sleep(1)
    assert harness.received == [5, 6, 7, 8]
    assert harness.telegram.offsets == [None, 8, 9]
    assert harness.telegram.pending == []


async def test_an_unfinished_update_in_memory_is_not_confirmed() -> None:
    harness = Harness(5, 6, 7)
    async with harness.polling():
        await asyncio.sleep(1)
        harness.unfinished -= {5, 7}
        await asyncio.sleep(1)
        assert harness.telegram.pending == [6, 7]
        harness.telegram.add(8)
        await asyncio.sleep(1)
        harness.unfinished.clear()
        await asyncio.sleep(1)
    assert harness.received == [5, 6, 7, 8]
    assert harness.telegram.pending == []


async def test_a_crash_loses_no_update_in_memory() -> None:
    harness = Harness(5, 6, 7)
    async with harness.polling():
        await asyncio.sleep(1)
        harness.unfinished.discard(5)
        await asyncio.sleep(1)
    harness.restart()
    async with harness.polling():
        await asyncio.sleep(1)
    assert harness.received == [5, 6, 7, 6, 7]


async def test_at_most_a_hundred_updates_in_memory_are_unfinished() -> None:
    harness = Harness(*range(1, 301))
    async with harness.polling():
        await asyncio.sleep(60)
        assert harness.received == list(range(1, 101))
        harness.unfinished -= set(range(1, 31))
        await asyncio.sleep(60)
        assert harness.received == list(range(1, 131))


async def test_ids_that_start_again_at_a_lower_number_are_received() -> None:
    """Telegram chooses a random id after a week without updates."""
    harness = Harness(9_000_000)
    harness.store_is_durable = True
    async with harness.polling():
        await asyncio.sleep(1)
        harness.telegram.add(4_000)
        await asyncio.sleep(1)
    assert harness.received == [9_000_000, 4_000]


async def test_no_call_is_made_without_the_lease() -> None:
    harness = Harness(5)
    harness.lease.is_free = False
    async with harness.polling():
        await asyncio.sleep(60)
        assert harness.telegram.offsets == []
        assert not harness.poller.is_active
        harness.lease.is_free = True
        await asyncio.sleep(2)
        assert harness.received == [5]
        assert harness.poller.is_active


async def test_a_lost_lease_ends_the_polling_after_the_current_call() -> None:
    harness = Harness()
    harness.store_is_durable = True
    async with harness.polling():
        await asyncio.sleep(1)
        harness.lease.is_free = False
        await asyncio.sleep(60)
        calls = len(harness.telegram.offsets)
        await asyncio.sleep(60)
        assert len(harness.telegram.offsets) == calls


async def test_a_worker_that_has_the_lease_polls_on_while_the_store_fails() -> None:
    harness = Harness()
    async with harness.polling():
        await asyncio.sleep(1)
        harness.lease.error = StoreUnavailable("down")
        await asyncio.sleep(60)
        harness.telegram.add(5)
        await asyncio.sleep(1)
        assert harness.received == [5]


async def test_another_worker_waits_while_the_store_fails() -> None:
    harness = Harness(5)
    harness.lease.error = StoreUnavailable("down")
    async with harness.polling():
        await asyncio.sleep(60)
        assert harness.telegram.offsets == []


async def test_a_worker_with_a_new_lease_confirms_nothing_that_others_fetched() -> None:
    harness = Harness(5)
    harness.store_is_durable = True
    async with harness.polling():
        await asyncio.sleep(1)
        harness.lease.is_free = False
        await asyncio.sleep(60)
        harness.telegram.offsets.clear()
        harness.lease.is_free = True
        await asyncio.sleep(2)
        assert harness.telegram.offsets[0] is None


async def test_failures_are_retried_with_growing_pauses() -> None:
    harness = Harness(5)
    harness.telegram.failures = [BotApiUnavailable("down") for _ in range(5)]
    async with harness.polling():
        await asyncio.sleep(0.5)
        assert len(harness.telegram.offsets) == 1
        await asyncio.sleep(1 + 2 + 4 + 8 + 16)
    assert harness.received == [5]


async def test_what_the_store_refused_is_fetched_again() -> None:
    """Nothing of that call is confirmed; the store knows what it has already."""
    harness = Harness(5, 6, 7)
    harness.store_is_durable = True
    harness.refused_ids = {6}
    async with harness.polling():
        await asyncio.sleep(0.5)
        assert harness.received == [5, 7]
        assert harness.telegram.pending == [5, 6, 7]
        harness.refused_ids.clear()
        await asyncio.sleep(10)
    assert harness.received == [5, 7, 5, 6, 7]
    assert harness.telegram.pending == []


async def test_updates_that_cannot_be_fetched_at_once_are_fetched_in_pieces() -> None:
    """The answer may be too large, or the link too slow."""
    harness = Harness(*range(1, 101))
    harness.store_is_durable = True
    harness.telegram.largest_readable = 30
    async with harness.polling():
        await asyncio.sleep(60)
        assert harness.received == list(range(1, 101))


async def test_a_failure_does_not_make_known_updates_new_again() -> None:
    """Although the next call asks for fewer of them."""
    harness = Harness(*range(1, 101))
    async with harness.polling():
        await asyncio.sleep(1)
        harness.unfinished -= set(range(60, 90))
        harness.telegram.failures = [BotApiUnavailable("down") for _ in range(3)]
        await asyncio.sleep(60)
        assert harness.received == list(range(1, 101))
        harness.telegram.failures = [BotApiUnavailable("down")]
        await asyncio.sleep(1)
        harness.unfinished.clear()
        await asyncio.sleep(60)
        harness.telegram.add(101)
        await asyncio.sleep(60)
    assert harness.received == list(range(1, 102))
    assert harness.telegram.pending == [101]


async def test_a_pause_lasts_as_long_as_telegram_asks() -> None:
    harness = Harness(5)
    harness.telegram.failures = [BotApiUnavailable("flood", retry_after=40)]
    async with harness.polling():
        await asyncio.sleep(39)
        assert harness.received == []
        await asyncio.sleep(2)
        assert harness.received == [5]


async def test_a_conflict_is_one_warning_and_a_problem_until_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    harness = Harness(5)
    harness.telegram.failures = [
        CallRejected("getUpdates", 409, RejectedPart.OTHER) for _ in range(3)
    ]
    async with harness.polling():
        await asyncio.sleep(5)
        assert harness.poller.problem is not None
        assert "webhook" in harness.poller.problem
        await asyncio.sleep(60)
        assert harness.poller.problem is None
    assert harness.received == [5]
    assert caplog.messages == [
        "polling_started",
        "polling_conflict",
        "polling_recovered",
    ]


async def test_close_confirms_finished_updates_and_releases_the_lease() -> None:
    harness = Harness(5, 6)
    async with harness.polling():
        await asyncio.sleep(1)
    harness.unfinished.discard(5)
    await harness.poller.close()
    assert harness.telegram.pending == [6]
    assert harness.lease.was_released


async def test_close_makes_no_call_beside_the_worker_that_has_the_lease_now() -> None:
    harness = Harness(5)
    async with harness.polling():
        await asyncio.sleep(1)
        harness.lease.is_free = False
        await asyncio.sleep(60)
    harness.unfinished.clear()
    harness.telegram.offsets.clear()
    await harness.poller.close()
    assert harness.telegram.offsets == []


async def test_close_without_an_answer_of_telegram_still_releases_the_lease() -> None:
    harness = Harness(5)
    async with harness.polling():
        await asyncio.sleep(1)
    harness.telegram.failures = [BotApiUnavailable("down")]
    await harness.poller.close()
    assert harness.lease.was_released


@pytest.mark.parametrize("take_over", [False, True])
async def test_the_start_does_not_wait_for_a_bot_api_that_is_silent(
    take_over: bool,
) -> None:
    class SilentApi(BotApiClient):
        def __init__(self) -> None:
            """Need no connections."""

        async def call(self, *_: object, **__: object) -> None:
            await asyncio.Event().wait()

    with virtual_time():
        async with asyncio.timeout(60):
            await free_from_webhook(SilentApi(), take_over=take_over)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 150)),
            st.tuples(st.just("finish"), st.integers(0, 200)),
            st.tuples(st.just("fail"), st.integers(1, 4)),
            st.tuples(st.just("crash"), st.just(0)),
        ),
        max_size=12,
    )
)
def test_no_crash_loses_an_update_whatever_is_finished_before(
    steps: list[tuple[str, int]],
) -> None:
    """In the end each is finished, and none was received twice between crashes."""

    async def run() -> None:
        harness = Harness()
        finished: set[int] = set()
        next_id = 1
        received_since_crash: list[int] = []
        for step, number in [*steps, ("crash", 0)]:
            async with harness.polling():
                await asyncio.sleep(1)
                if step == "add":
                    harness.telegram.add(*range(next_id, next_id + number))
                    next_id += number
                elif step == "finish" and harness.unfinished:
                    ordered = sorted(harness.unfinished)
                    update_id = ordered[number % len(ordered)]
                    harness.unfinished.discard(update_id)
                    finished.add(update_id)
                elif step == "fail":
                    harness.telegram.failures = [
                        BotApiUnavailable("down") for _ in range(number)
                    ]
                await asyncio.sleep(1)
            received_since_crash += harness.received
            harness.received.clear()
            assert len(set(received_since_crash)) == len(received_since_crash)
            if step == "crash":
                harness.restart()
                received_since_crash = []
        async with harness.polling():
            for _ in range(200):
                await asyncio.sleep(1)
                finished |= harness.unfinished
                harness.unfinished.clear()
        assert finished == set(range(1, next_id))

    asyncio.run(run())
