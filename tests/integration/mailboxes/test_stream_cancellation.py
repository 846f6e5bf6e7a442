"""Stops reach every worker."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio.connection import AbstractConnection

from gateway.background import BackgroundTasks
from gateway.clock import SystemClock
from gateway.mailboxes import stream_cancellation as stops_module
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.keys import get_shard_number
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.signatures import Purpose, StoreSignatures
from gateway.mailboxes.stream_cancellation import (
    LocalCancellationBus,
    RedisCancellationBus,
)
from tests.integration.mailboxes.redis_store import opened
from tests.support.redis_servers import RedisCluster, RedisServer
from tests.support.stores import KEYS, SIGNATURES
from tests.support.tasks import in_own_task
from tests.support.waiting import wait_until

Heard = list[tuple[str, int]]
PING_SECONDS = 0.1
SILENCE = 1.5
"""Seconds without an answer after which a connection is given up."""


def count_pings(server: RedisServer) -> int:
    """Count the pings that a server has received."""
    found = re.search(rb"cmdstat_ping:calls=(\d+)", server.ask("INFO commandstats"))
    return int(found[1]) if found else 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a server that the test may do anything to."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after connections more often than in real life."""
    monkeypatch.setattr(stops_module, "TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(stops_module, "RECONNECT_SECONDS", 0.1)
    monkeypatch.setattr(stops_module, "PING_SECONDS", PING_SECONDS)


@asynccontextmanager
async def worker(url: str) -> AsyncIterator[tuple[RedisCancellationBus, Heard]]:
    """Run what a worker needs to tell and to hear stops."""
    async with (
        in_own_task(BackgroundTasks()) as background,
        ClusterClient(
            url, load_scripts().sources, SystemClock(), background=background
        ) as transport,
        RedisCancellationBus(
            KEYS.cancellation_channel,
            transport.make_connection,
            transport,
            SIGNATURES,
            background,
        ) as stops,
    ):
        heard: Heard = []
        stops.subscribe(
            lambda ordering_key, draft_id: heard.append((ordering_key, draft_id))
        )
        yield stops, heard


def test_a_stop_in_one_process_is_heard_at_once() -> None:
    stops = LocalCancellationBus()
    heard: Heard = []
    for _ in range(2):
        stops.subscribe(
            lambda ordering_key, draft_id: heard.append((ordering_key, draft_id))
        )
    stops.publish("7", 5)
    assert heard == [("7", 5), ("7", 5)]


async def test_a_stop_is_heard_by_all_workers(server: RedisServer) -> None:
    """Here at once, elsewhere in a moment; mailboxes may have any name."""
    async with worker(server.url) as (one, own), worker(server.url) as (two, others):
        await one.subscribed.wait()
        await two.subscribed.wait()
        one.publish("kind:a b", 2**40)
        assert own == [("kind:a b", 2**40)]
        await wait_until(lambda: others == [("kind:a b", 2**40)])
        two.publish("-100", 6)
        await wait_until(lambda: ("-100", 6) in own)


async def test_a_forged_stop_is_not_heard(server: RedisServer) -> None:
    """Whoever may publish in Redis cannot end other people's answers."""
    strangers = StoreSignatures(["a secret that is not ours"])
    number, ordering_key = b"5", b"7"
    stranger = strangers.sign(Purpose.CANCELLATION, ordering_key, number)
    mail = SIGNATURES.sign(Purpose.UPDATE, ordering_key, number)
    async with (
        worker(server.url) as (stops, heard),
        opened(make_connection_factory(server.url)) as by,
    ):
        await stops.subscribed.wait()
        before = SIGNATURES.forged_counts["cancellation"]
        for message in (b"5 7", b"", stranger + b"5 7", mail + b"5 7"):
            await by.ask("PUBLISH", KEYS.cancellation_channel, message)
        genuine = SIGNATURES.sign(Purpose.CANCELLATION, ordering_key, number)
        await by.ask("PUBLISH", KEYS.cancellation_channel, genuine + b"5 7")
        await wait_until(lambda: heard)
        assert heard == [("7", 5)]
        assert SIGNATURES.forged_counts["cancellation"] - before == 4


async def test_a_stop_is_heard_through_any_node_of_a_cluster(
    redis_cluster: RedisCluster,
) -> None:
    """The mailbox's shard may be on another node than the one that is listened to."""
    async with (
        worker(redis_cluster.url) as (one, _),
        worker(redis_cluster.url) as (two, others),
    ):
        await one.subscribed.wait()
        await two.subscribed.wait()
        ordering_keys = [str(number) for number in range(40)]
        for ordering_key in ordering_keys:
            one.publish(ordering_key, 1)
        await wait_until(
            lambda: {ordering_key for ordering_key, _ in others} == set(ordering_keys)
        )


@pytest.mark.usefixtures("often")
async def test_without_a_right_to_the_channel_the_mailboxes_go_on(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis gives new users none. Stops work on their own worker, and that is said."""
    server.ask("ACL SETUSER gateway on >secret ~* +@all")
    url = server.url.replace("redis://", "redis://gateway:secret@")
    background = BackgroundTasks()
    transport = ClusterClient(
        url, load_scripts().sources, SystemClock(), background=background
    )
    attempts = 0

    def connect() -> AbstractConnection:
        nonlocal attempts
        attempts += 1
        return transport.make_connection()

    async with (
        background,
        transport,
        RedisCancellationBus(
            KEYS.cancellation_channel, connect, transport, SIGNATURES, background
        ) as stops,
    ):
        heard: Heard = []
        stops.subscribe(
            lambda ordering_key, draft_id: heard.append((ordering_key, draft_id))
        )
        await wait_until(lambda: bool(caplog.records))
        stops.publish("7", 1)
        for _ in range(3):
            ping = RedisCommand(get_shard_number("7"), (b"PING",))
            transport.submit(ping)
            assert await ping.reply == b"PONG"
            assert not transport.is_failing
        before = attempts
        await wait_until(lambda: attempts >= before + 3)
    assert heard == [("7", 1)]
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("often")
async def test_after_a_restart_stops_are_heard_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of meanwhile are not: answers go on to their end, and nothing breaks."""
    submitted: list[RedisCommand] = []
    submit = ClusterClient.submit

    def record(self: ClusterClient, command: RedisCommand) -> None:
        submitted.append(command)
        submit(self, command)

    monkeypatch.setattr(ClusterClient, "submit", record)
    async with worker(server.url) as (one, _), worker(server.url) as (two, others):
        await asyncio.gather(one.subscribed.wait(), two.subscribed.wait())
        server.kill()
        await wait_until(lambda: not two.subscribed.is_set())
        one.publish("7", 1)
        await wait_until(submitted[-1].reply.cancelled)  # it is of no use any more
        server.start()
        await two.subscribed.wait()

        def heard_again() -> bool:
            one.publish("7", 2)  # again: its own connections may take a moment longer
            return bool(others)

        await wait_until(heard_again)
        assert set(others) == {("7", 2)}


@pytest.mark.usefixtures("often")
async def test_a_connection_that_dies_without_a_word_is_made_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one on which nothing happens for long is left alone."""
    # A Redis that is busy with something else answers within it.
    monkeypatch.setattr(stops_module, "TIMEOUT_SECONDS", SILENCE - PING_SECONDS)
    async with worker(server.url) as (one, heard):
        await one.subscribed.wait()
        # Longer than the silence after which the connection is given up.
        await wait_until(lambda: count_pings(server) > 1.5 * SILENCE / PING_SECONDS)
        assert one.subscribed.is_set()
        os.kill(server.pid, signal.SIGSTOP)
        await wait_until(lambda: not one.subscribed.is_set())
        os.kill(server.pid, signal.SIGCONT)
        await one.subscribed.wait()
        assert heard == []
