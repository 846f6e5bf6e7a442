"""The endless tasks of the way to Redis: each survives a failure, and tells of it."""

from pathlib import Path

import pytest

from gateway.background import BackgroundTasks
from gateway.mailboxes.failover import FailoverMailboxStore
from gateway.mailboxes.redis.client import cluster, sentinel
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.sentinel import MasterConnection
from gateway.mailboxes.redis.lua.scripts import load_scripts
from tests.factories import build_envelope
from tests.integration.mailboxes.failover_store import worker
from tests.support.failing import break_once, failed
from tests.support.fakes import FakeClock
from tests.support.redis_servers import RedisCluster, RedisServer, WatchedRedis
from tests.support.waiting import wait_until


async def test_the_way_back_survives_a_failure(
    monkeypatch: pytest.MonkeyPatch,
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What memory holds gets to Redis all the same."""
    probe = break_once(monkeypatch, FailoverMailboxStore, "_probe_shards")
    async with worker(redis_server.url) as one:
        await one.memory.put(build_envelope(1, "7"), acquire=False)
        one.mailboxes._request_failback()  # noqa: SLF001 - as the first fault does
        await wait_until(lambda: not one.memory.mailbox_count)
        assert probe.calls >= 2
    assert failed(caplog) == ["failback"]


async def test_who_asks_a_cluster_survives_a_failure(
    monkeypatch: pytest.MonkeyPatch,
    redis_cluster: RedisCluster,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The next failing node is found, too."""
    monkeypatch.setattr(cluster, "REFRESH_SECONDS", 0.01)
    monkeypatch.setattr(ClusterClient, "is_failing", True)
    refresh = break_once(monkeypatch, ClusterClient, "_refresh_owners")
    url, clock = redis_cluster.url, FakeClock()
    async with (
        BackgroundTasks() as tasks,
        ClusterClient(
            url, load_scripts().sources, clock, background=tasks
        ) as transport,
    ):
        transport._get_node(("127.0.0.1", 1))  # noqa: SLF001 - as the first redirect does
        await wait_until(lambda: refresh.calls >= 3)
    assert failed(caplog) == ["refresh cluster slots"]


async def test_who_asks_sentinels_survives_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection stays, and is ended when another master is there."""
    servers = WatchedRedis(tmp_path)
    servers.start()
    monkeypatch.setattr(sentinel, "WATCH_SECONDS", 0.01)
    watch = break_once(monkeypatch, MasterConnection, "_watch_master")
    tasks = BackgroundTasks()
    try:
        async with (
            tasks,
            ClusterClient(
                servers.url, load_scripts().sources, FakeClock(), background=tasks
            ),
        ):
            await wait_until(lambda: watch.calls == 2)
    finally:
        servers.kill()
    assert failed(caplog) == ["watch sentinels"]
    assert tasks.failure_counts == {"watch sentinels": 1}
