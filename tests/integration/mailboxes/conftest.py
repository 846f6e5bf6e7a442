"""Every test that asks for `store` or `mailboxes` runs over every implementation."""

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.domain.ports import MailboxStore
from gateway.mailboxes.memory import mailbox
from gateway.mailboxes.redis import commands, mailbox_scanner
from gateway.mailboxes.redis import deliveries as redis_deliveries
from gateway.mailboxes.sqlite import mail
from tests.integration.mailboxes.failover_store import failed_back, failed_over
from tests.integration.mailboxes.redis_store import cluster, fakeredis, redis
from tests.integration.mailboxes.sqlite_store import sqlite
from tests.support.redis_servers import RedisCluster, RedisServer
from tests.support.stores import PAUSES, STORES, OpenStore, Store, memory
from tests.support.waiting import LIMIT


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a server that tests share; a test that kills servers starts its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Run a Cluster that tests share."""
    nodes = RedisCluster(tmp_path_factory.mktemp("cluster"))
    nodes.start()
    yield nodes
    nodes.kill()


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return every store the pauses of `PAUSES`."""
    monkeypatch.setattr(mailbox, "SUSPECT_PAUSES", PAUSES)
    monkeypatch.setattr(mail, "SUSPECT_PAUSES", PAUSES)
    milliseconds = tuple(round(seconds * 1000) for seconds in PAUSES)
    monkeypatch.setattr(commands, "_SUSPECT_PAUSES_MS", milliseconds)


@pytest.fixture(params=STORES)
def open_store(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    long_pauses: None,
) -> OpenStore:
    """Return the way to open an empty store of each implementation."""
    return _choose_store(request, monkeypatch)


def _choose_store(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> OpenStore:
    if request.param != "failed over":
        # Else updates are not found in a Redis that a busy machine keeps waiting.
        for module in (mailbox_scanner, redis_deliveries):
            monkeypatch.setattr(module, "REPLY_TIMEOUT_SECONDS", LIMIT)
    if request.param == "redis":
        return redis(request.getfixturevalue("redis_server").url)
    if request.param == "cluster":
        return cluster(request.getfixturevalue("redis_cluster"))
    if request.param == "failed back":
        return failed_back(request.getfixturevalue("redis_server").url)
    return {
        "memory": memory,
        "sqlite": sqlite,
        "fakeredis": fakeredis,
        "failed over": failed_over,
    }[request.param]()


@pytest.fixture(params=[name for name in STORES if name != "failed over"])
def open_delivery_store(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, long_pauses: None
) -> OpenStore:
    """Return the way to open an empty store that stores deliveries."""
    return _choose_store(request, monkeypatch)


@pytest.fixture
async def delivery_store(open_delivery_store: OpenStore) -> AsyncIterator[Store]:
    """Open an empty store that stores deliveries."""
    async with open_delivery_store() as opened:
        yield opened


@pytest.fixture(
    params=[name for name in STORES if name not in {"sqlite", "failed over"}]
)
async def broadcast_store(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, long_pauses: None
) -> AsyncIterator[Store]:
    """Open an empty store that keeps broadcasts."""
    async with _choose_store(request, monkeypatch)() as opened:
        yield opened


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[Store]:
    """Open an empty store."""
    async with open_store() as opened:
        yield opened


@pytest.fixture
def mailboxes(store: Store) -> MailboxStore:
    """Return the mailboxes of an empty store."""
    return store.mailboxes
