"""Changes of the bots stop and start the pollers that they are about."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from gateway.background import BackgroundTasks
from gateway.bots.pollers import BotPollers
from gateway.telegram.bot_api.updates import FetchedUpdate
from gateway.telegram.polling import UpdatePoller
from tests.support.waiting import wait_until


class Polling:
    """A lease of a poller, and what the poller does with it and at Telegram."""

    def __init__(self) -> None:
        self.calls = 0
        self.releases = 0
        self.is_closing = False
        self.failures: list[Exception] = []
        self.may_release = asyncio.Event()
        self.may_release.set()
        self.poller = UpdatePoller(
            self.fetch,
            receive=self.receive,
            find_oldest_unfinished=lambda: None,
            lease=self,
        )

    async def hold(self) -> bool:
        """Grant the lease."""
        return True

    async def release(self) -> None:
        """Wait until the test lets the lease be released, or fail as told."""
        if self.failures:
            raise self.failures.pop(0)
        self.is_closing = True
        await self.may_release.wait()
        self.releases += 1

    async def receive(self, body: bytes) -> None:
        """Receive nothing: there are no updates."""

    async def fetch(
        self, *, offset: int | None, limit: int, timeout_seconds: int
    ) -> Sequence[FetchedUpdate]:
        """Wait for an update, which never comes."""
        del offset, limit, timeout_seconds
        self.calls += 1
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nothing ends the wait")


class Harness:
    """The pollers of some bots."""

    def __init__(self, background: BackgroundTasks) -> None:
        self.background = background
        self.wanted: dict[int, Polling] = {}
        self.pollers = BotPollers(self._find_wanted, background)

    def _find_wanted(self) -> dict[int, UpdatePoller]:
        return {bot_id: it.poller for bot_id, it in self.wanted.items()}

    async def start(self, count: int) -> list[Polling]:
        """Start with so many bots; return what they do."""
        bots = [Polling() for _ in range(count)]
        self.wanted = dict(enumerate(bots))
        self.pollers.start()
        await wait_until(lambda: all(it.calls for it in bots))
        return bots


@asynccontextmanager
async def running() -> AsyncIterator[Harness]:
    """Run the pollers of a process."""
    async with BackgroundTasks() as background:
        harness = Harness(background)
        yield harness
        await harness.pollers.stop()


async def test_only_the_poller_of_a_changed_bot_is_restarted() -> None:
    async with running() as harness:
        first, second = await harness.start(2)
        changed = harness.wanted[0] = Polling()
        harness.pollers.update()
        await wait_until(lambda: changed.calls)
        assert (first.releases, second.releases, second.calls) == (1, 0, 1)
        del harness.wanted[1]
        harness.pollers.update()
        await wait_until(lambda: second.releases)
        assert list(harness.pollers) == [changed.poller]


async def test_a_slow_bot_does_not_delay_the_others() -> None:
    async with running() as harness:
        before = await harness.start(20)
        before[0].may_release.clear()
        after = [Polling() for _ in before]
        harness.wanted = dict(enumerate(after))
        harness.pollers.update()
        await wait_until(lambda: all(it.calls for it in after[1:]))
        assert before[0].releases == after[0].calls == 0
        before[0].may_release.set()
        await wait_until(lambda: after[0].calls)


async def test_one_change_is_made_at_a_time() -> None:
    """Otherwise both would close the same poller, and the earlier one might win."""
    async with running() as harness:
        [first] = await harness.start(1)
        first.may_release.clear()
        harness.wanted[0] = Polling()
        harness.pollers.update()
        await wait_until(lambda: first.is_closing)
        latest = harness.wanted[0] = Polling()
        harness.pollers.update()
        first.may_release.set()
        await wait_until(lambda: latest.calls)
        assert list(harness.pollers) == [latest.poller]
        assert first.releases == 1


async def test_a_failed_change_is_made_again() -> None:
    """The other bots do not wait for that."""
    async with running() as harness:
        first, second = await harness.start(2)
        first.failures.append(ValueError("a defect"))
        harness.wanted = {0: Polling(), 1: Polling()}
        harness.pollers.update()
        await wait_until(lambda: all(it.calls for it in harness.wanted.values()))
        assert second.releases == 1
        assert harness.background.failure_counts["update pollers"] == 1


async def test_the_pollers_are_closed_at_once() -> None:
    """A shutdown of many bots has little time."""
    async with running() as harness:
        bots = await harness.start(20)
        bots[0].may_release.clear()
        await harness.pollers.stop()
        closing = asyncio.create_task(harness.pollers.close())
        await wait_until(lambda: all(it.releases for it in bots[1:]))
        bots[0].may_release.set()
        await closing
        assert bots[0].releases == 1
