"""The polling lease: one of all workers has it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.background import BackgroundTasks
from gateway.clock import SystemClock
from gateway.domain.errors import StoreUnavailable
from gateway.mailboxes import polling_lease
from gateway.mailboxes.polling_lease import LocalPollingLease, RedisPollingLease
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.keys import RedisKeys
from gateway.mailboxes.redis.lua.scripts import load_scripts
from tests.support.redis_servers import RedisServer
from tests.support.waiting import wait_until_found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@asynccontextmanager
async def worker(url: str, bot_id: int = 7) -> AsyncIterator[RedisPollingLease]:
    scripts = load_scripts()
    async with (
        BackgroundTasks() as background,
        ClusterClient(
            url, scripts.sources, SystemClock(), background=background
        ) as client,
    ):
        yield RedisPollingLease(client, RedisKeys("tg"), scripts.hold_lease, bot_id)


async def test_the_only_worker_always_has_the_lease() -> None:
    lease = LocalPollingLease()
    assert await lease.hold()
    await lease.release()
    assert await lease.hold()


async def test_one_of_two_workers_has_the_lease_until_it_releases_it(
    server: RedisServer,
) -> None:
    async with worker(server.url) as first, worker(server.url) as second:
        assert await first.hold()
        assert not await second.hold()
        assert await first.hold()
        await second.release()  # has no effect on the lease of the other worker
        assert not await second.hold()
        await first.release()
        assert await second.hold()
        assert not await first.hold()


async def test_each_bot_has_a_lease_of_its_own(server: RedisServer) -> None:
    async with worker(server.url, 7) as first, worker(server.url, 8) as second:
        assert await first.hold()
        assert await second.hold()


async def test_a_lease_that_is_not_renewed_expires(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_lease, "LEASE_SECONDS", 0.05)
    async with worker(server.url) as first, worker(server.url) as second:
        assert await first.hold()

        async def acquire() -> bool:
            return await second.hold()

        await wait_until_found(acquire)


async def test_a_store_that_does_not_answer_is_reported(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_lease, "TIMEOUT_SECONDS", 0.05)
    async with worker(server.url) as lease:
        server.kill()
        with pytest.raises(StoreUnavailable):
            await lease.hold()
        with pytest.raises(StoreUnavailable):
            await lease.release()
