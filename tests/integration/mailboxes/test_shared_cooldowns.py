"""The cool-downs of chats: what one worker learned, all know."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.background import BackgroundTasks
from gateway.clock import SystemClock
from gateway.mailboxes import shared_cooldowns
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.keys import RedisKeys
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.shared_cooldowns import LocalCooldowns, RedisCooldowns
from tests.support.redis_servers import RedisServer
from tests.support.waiting import wait_until_found

KEYS = RedisKeys("tg")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@asynccontextmanager
async def worker(url: str, bot_id: int = 7) -> AsyncIterator[RedisCooldowns]:
    clock = SystemClock()
    scripts = load_scripts()
    async with (
        BackgroundTasks() as background,
        ClusterClient(url, scripts.sources, clock, background=background) as client,
    ):
        yield RedisCooldowns(client, KEYS, scripts.record_cooldown, clock, bot_id)


async def test_the_only_worker_tells_nobody() -> None:
    cooldowns = LocalCooldowns()
    cooldowns.record(5, 60)
    assert await cooldowns.find(5) == 0


async def test_another_worker_finds_a_cooldown(server: RedisServer) -> None:
    """Of this chat and of this bot only."""
    async with (
        worker(server.url) as first,
        worker(server.url) as second,
        worker(server.url, 8) as other_bot,
    ):
        first.record(-5, 600)
        await wait_until_found(lambda: second.find(-5))
        assert 0 < await second.find(-5) <= 600
        assert await second.find(5) == 0
        assert await other_bot.find(-5) == 0


async def test_it_expires(server: RedisServer) -> None:
    async with worker(server.url) as first:
        first.record(5, 1)
        await wait_until_found(lambda: first.find(5))

        async def is_over() -> bool:
            return not await first.find(5)

        await wait_until_found(is_over)


async def test_the_later_end_counts(server: RedisServer) -> None:
    """Another worker may learn of a shorter wait."""
    async with worker(server.url) as first, worker(server.url) as second:
        first.record(5, 600)
        await wait_until_found(lambda: second.find(5))
        for seconds in (1, 0.001):
            second.record(5, seconds)
        assert await second.find(5) > 500
        second.record(5, 1200)
        assert await second.find(5) > 1000


async def test_what_is_no_time_is_no_cooldown(server: RedisServer) -> None:
    async with worker(server.url) as cooldowns, Redis.from_url(server.url) as stranger:
        await stranger.set(KEYS.get_cooldown(7, 5)[1], "soon")
        assert await cooldowns.find(5) == 0


async def test_without_redis_no_cooldown_is_known(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery does not wait for more than the timeout."""
    monkeypatch.setattr(shared_cooldowns, "TIMEOUT_SECONDS", 0.05)
    async with worker(server.url) as cooldowns:
        server.kill()
        cooldowns.record(5, 600)
        assert await cooldowns.find(5) == 0
