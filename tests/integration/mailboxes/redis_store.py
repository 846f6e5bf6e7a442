"""Mailboxes in Redis under test.

Time in Redis cannot be moved, but everything that Redis measures by it can: a moment
that passes is taken from every due time and every lifetime.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fakeredis import FakeServer

from gateway.background import BackgroundTasks
from gateway.domain.broadcast_store import BroadcastStore
from gateway.domain.delivery_store import DeliveryStore, RecipientIndex
from gateway.domain.update import DeadLetter
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.client.connection import PipelinedConnection
from gateway.mailboxes.redis.client.connection_factory import (
    ConnectionFactory,
    make_connection_factory,
)
from gateway.mailboxes.redis.client.shards import SHARD_COUNT
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from gateway.mailboxes.serialization import decode_dead_letter
from tests.integration.mailboxes.fake_connection import fake_connector
from tests.support.fakes import FakeClock
from tests.support.redis_servers import RedisCluster
from tests.support.stores import (
    KEYS,
    LEASE,
    LETTERS,
    LIMIT,
    SIGNATURES,
    OpenStore,
    Store,
)
from tests.support.tasks import in_own_task

PASS = """
for _, key in ipairs(redis.call('KEYS', '*:pending')) do
  local all = redis.call('ZRANGE', key, 0, -1)
  for _, mailbox in ipairs(all) do redis.call('ZINCRBY', key, -ARGV[1], mailbox) end
end
for _, pattern in ipairs({'*:s:*', '*:d:*', '*:i:*', '*:c:*', '*:b:*', '*:w:*',
  '*:n:*', '*:f:*', '*:reports'}) do
  for _, key in ipairs(redis.call('KEYS', pattern)) do
    local ttl = redis.call('PTTL', key)
    local left = ttl - ARGV[1]
    if left > 0 then redis.call('PEXPIRE', key, left) end
    if ttl >= 0 and left <= 0 then redis.call('DEL', key) end
  end
end
for _, key in ipairs(redis.call('KEYS', '*:scheduled')) do
  local all = redis.call('ZRANGE', key, 0, -1)
  for _, delivery in ipairs(all) do redis.call('ZINCRBY', key, -ARGV[1], delivery) end
end
for _, pattern in ipairs({'*:dead_letters', '*:rejected_letters'}) do
  for _, key in ipairs(redis.call('KEYS', pattern)) do
    local left = redis.call('PTTL', key) - ARGV[1]
    local entries = redis.call('XRANGE', key, '-', '+')
    redis.call('DEL', key)
    for _, entry in ipairs(left > 0 and entries or {}) do
      local ms, number = string.match(entry[1], '(%d+)-(%d+)')
      local id = string.format('%.0f', ms - ARGV[1]) .. '-' .. number
      redis.call('XADD', key, id, unpack(entry[2]))
      redis.call('PEXPIRE', key, left)
    end
  end
end
"""

COUNT = """
local queued, mailboxes = 0, {}
for _, key in ipairs(redis.call('KEYS', '*:m:*')) do
  queued = queued + redis.call('ZCARD', key)
  mailboxes[string.match(key, '}:m:(.*)')] = true
end
for _, key in ipairs(redis.call('KEYS', '*:pending')) do
  for _, mailbox in ipairs(redis.call('ZRANGE', key, 0, -1)) do mailboxes[mailbox] =
  true end
end
for _, key in ipairs(redis.call('KEYS', '*:leases')) do
  for _, field in ipairs(redis.call('HKEYS', key)) do
    mailboxes[string.match(field, '!?(.*)')] = true
  end
end
local count = 0
for _ in pairs(mailboxes) do count = count + 1 end
return {queued, count}
"""


READ_LETTERS = """
local all = {}
for _, pattern in ipairs({'*:dead_letters', '*:rejected_letters'}) do
  for _, key in ipairs(redis.call('KEYS', pattern)) do
    for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do
      table.insert(all, entry)
    end
  end
end
return all
"""


class RedisStore:
    """Mailboxes in an empty Redis.

    Args:
        transport: the way of the mailboxes to Redis.
        nodes: ways of the test to every node; the same where there is one.
        clock: the worker's clock.
    """

    def __init__(
        self,
        transport: ClusterClient,
        nodes: Sequence[ClusterClient | PipelinedConnection],
        clock: FakeClock,
    ) -> None:
        self.clock = clock
        self.transport = transport
        self._nodes = nodes
        self.mailboxes = RedisMailboxStore(
            transport,
            KEYS,
            load_scripts(),
            clock,
            SIGNATURES,
            limit=LIMIT,
            lease_seconds=LEASE,
            dead_letters=LETTERS,
        )
        self.deliveries: DeliveryStore = self.mailboxes.deliveries
        self.broadcasts: BroadcastStore = self.mailboxes.broadcasts
        self.recipients: RecipientIndex = self.mailboxes.recipients
        self.start = time.monotonic()
        """From when on the clocks of the worker and of Redis are held together."""
        self._passed = 0.0
        self._shifted = 0.0

    @property
    def is_replaying(self) -> bool:
        """Whether no lease is granted: a stalled machine looked like an outage."""
        return self.mailboxes._replay_buffer.is_paused  # noqa: SLF001 - not public

    async def ask(self, *arguments: bytes | str | int) -> Any:  # noqa: ANN401 - replies
        """Send any command to the first node."""
        return (await self.ask_nodes(*arguments))[0]

    async def ask_nodes(self, *arguments: bytes | str | int) -> list[Any]:
        """Send any command to every node."""
        commands = [RedisCommand(0, arguments) for _ in self._nodes]
        for node, command in zip(self._nodes, commands, strict=True):
            node.submit(command)
        return [await command.reply for command in commands]

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, and everything that Redis measures by its own.

        Of a long time the part is left out that went by in reality. Commands that
        nobody waits for take effect before it.
        """
        await self._await_submitted(seconds)
        self.clock.move(seconds)
        self._passed += seconds
        shift = seconds
        if seconds > 0.1:
            real = time.monotonic() - self.start
            shift = min(seconds, self._passed - self._shifted - real)
        self._shifted += shift
        await self.ask_nodes("EVAL", PASS, 0, round(shift * 1000))

    async def _await_submitted(self, seconds: float) -> None:
        """Let all commands take effect before a time that some wait for."""
        for _ in range(2 if seconds > 3600 else 0):  # a reply may lead to a command
            reads = [
                RedisCommand(number, (b"EXISTS", KEYS.shards[number].pending))
                for number in range(SHARD_COUNT)
            ]
            for read in reads:
                self.transport.submit(read)
            for read in reads:
                await read.reply

    async def tell_time(self) -> float:
        """Return the time of Redis."""
        seconds, microseconds = await self.ask("TIME")
        return int(seconds) + int(microseconds) / 1e6

    async def in_memory(self) -> int:
        """Count the updates in all mailboxes."""
        return sum(count[0] for count in await self.ask_nodes("EVAL", COUNT, 0))

    async def count_mailboxes(self) -> int:
        """Count the mailboxes of which there is more than a state."""
        return sum(count[1] for count in await self.ask_nodes("EVAL", COUNT, 0))

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """Return the dead letters, oldest first."""
        dead_letters = [
            decode_dead_letter(fields)
            for entries in await self.ask_nodes("EVAL", READ_LETTERS, 0)
            for _, fields in entries
        ]
        return sorted(
            dead_letters, key=lambda dead_letter: dead_letter.dead_lettered_at
        )


@asynccontextmanager
async def opened(
    connect: ConnectionFactory, kind: type[RedisStore] = RedisStore
) -> AsyncIterator[RedisStore]:
    """Open an empty store over these connections."""
    clock = FakeClock()
    scripts = load_scripts()
    async with (
        in_own_task(BackgroundTasks()) as background,
        ClusterClient(
            "", scripts.sources, clock, lambda _: connect, background=background
        ) as transport,
    ):
        store = kind(transport, [transport], clock)
        await store.ask("FLUSHALL")
        store.start = time.monotonic()
        yield store


def node_of(
    url: str, clock: FakeClock, background: BackgroundTasks
) -> PipelinedConnection:
    """Make a way to one node of a Cluster, whatever the others have."""
    connect, scripts = make_connection_factory(url), load_scripts()
    return PipelinedConnection(
        connect, scripts.sources, clock, lambda *_: pytest.fail("moved"), background
    )


@asynccontextmanager
async def opened_cluster(cluster: RedisCluster) -> AsyncIterator[RedisStore]:
    """Open an empty store in a Cluster."""
    clock = FakeClock()
    async with (
        in_own_task(BackgroundTasks()) as background,
        ClusterClient(
            cluster.url, load_scripts().sources, clock, background=background
        ) as transport,
    ):
        nodes = [node_of(node.url, clock, background) for node in cluster.nodes]
        store = RedisStore(transport, nodes, clock)
        for node in nodes:
            node.start()
        try:
            await store.ask_nodes("FLUSHALL")
            store.start = time.monotonic()
            yield store
        finally:
            for node in nodes:
                await node.close()


def redis(url: str) -> OpenStore:
    """Return a way to open mailboxes in a real server."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        async with opened(make_connection_factory(url)) as store:
            yield store

    return open_store


class FakeTime:
    """Stands in for the module `time`, so that a fake server's time can be moved."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def time(self) -> float:
        """Return the time, away from the ends of its milliseconds."""
        return self._clock.now() + 0.0005


class FakeRedisStore(RedisStore):
    """Mailboxes in a stand-in for a server, whose time stands still as well."""

    async def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        await self._await_submitted(seconds)
        self.clock.move(seconds)


def cluster(nodes: RedisCluster) -> OpenStore:
    """Return a way to open mailboxes in a real Cluster."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        async with opened_cluster(nodes) as store:
            yield store

    return open_store


def fakeredis() -> OpenStore:
    """Return a way to open mailboxes in a server that exists in this process only."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        server = FakeServer(version=(7,))

        with pytest.MonkeyPatch.context() as patch:
            async with opened(fake_connector(server), FakeRedisStore) as store:
                moved = FakeTime(store.clock)
                patch.setattr("fakeredis.commands_mixins.server_mixin.time", moved)
                patch.setattr("fakeredis._socket._base.time", moved)
                patch.setattr("fakeredis.model._stream.time", moved)
                yield store

    return open_store
