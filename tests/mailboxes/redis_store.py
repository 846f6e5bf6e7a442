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
from fakeredis.aioredis import FakeAsyncRedisConnection
from redis.asyncio.connection import AbstractConnection

from gateway.domain.update import DeadLetter
from gateway.mailboxes.commands import Command
from gateway.mailboxes.connect import Connect, connector
from gateway.mailboxes.keys import ALL_SHARDS
from gateway.mailboxes.letters import decode_letter
from gateway.mailboxes.redis import RedisMailboxes
from gateway.mailboxes.scripts import load_scripts
from gateway.mailboxes.transport import Transport
from tests.fakes import FakeClock
from tests.mailboxes.stores import LEASE, LIMIT, OpenStore, Store

PASS = """
for _, key in ipairs(redis.call('KEYS', 'p:*')) do
  local all = redis.call('ZRANGE', key, 0, -1)
  for _, lane in ipairs(all) do redis.call('ZINCRBY', key, -ARGV[1], lane) end
end
for _, key in ipairs(redis.call('KEYS', 's:*')) do
  local left = redis.call('PTTL', key) - ARGV[1]
  if left > 0 then redis.call('PEXPIRE', key, left) else redis.call('DEL', key) end
end
"""

COUNT = """
local queued, lanes = 0, {}
for _, key in ipairs(redis.call('KEYS', 'm:*')) do
  queued = queued + redis.call('ZCARD', key)
  lanes[string.match(key, '}:(.*)')] = true
end
for _, key in ipairs(redis.call('KEYS', 'p:*')) do
  for _, lane in ipairs(redis.call('ZRANGE', key, 0, -1)) do lanes[lane] = true end
end
for _, key in ipairs(redis.call('KEYS', 'c:*')) do
  for _, field in ipairs(redis.call('HKEYS', key)) do
    lanes[string.match(field, '!?(.*)')] = true
  end
end
local count = 0
for _ in pairs(lanes) do count = count + 1 end
return {queued, count}
"""


class RedisStore:
    """Mailboxes in an empty Redis."""

    def __init__(self, transport: Transport, clock: FakeClock) -> None:
        self.clock = clock
        self.transport = transport
        self.mailboxes = RedisMailboxes(
            transport, load_scripts(), clock, limit=LIMIT, lease_seconds=LEASE
        )
        self._start = time.monotonic()
        self._passed = 0.0
        self._shifted = 0.0

    async def ask(self, *arguments: bytes | str | int) -> Any:  # noqa: ANN401 - replies
        """Send any command."""
        command = Command(0, arguments)
        self.transport.submit(command)
        return await command.reply

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, and everything that Redis measures by its own.

        Of a long time the part is left out that went by in reality.
        """
        self.clock.move(seconds)
        self._passed += seconds
        shift = seconds
        if seconds > 0.1:
            real = time.monotonic() - self._start
            shift = min(seconds, self._passed - self._shifted - real)
        self._shifted += shift
        await self.ask("EVAL", PASS, 0, round(shift * 1000))

    async def queued(self) -> int:
        """Count the updates in all mailboxes."""
        queued: int = (await self.ask("EVAL", COUNT, 0))[0]
        return queued

    async def lanes(self) -> int:
        """Count the lanes of which there is more than a state."""
        lanes: int = (await self.ask("EVAL", COUNT, 0))[1]
        return lanes

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """Give the dead letters, oldest first."""
        letters = []
        for shard in ALL_SHARDS:
            for _, fields in await self.ask("XRANGE", shard.dead, "-", "+"):
                letters.append(decode_letter(fields))
        return sorted(letters, key=lambda letter: letter.time)


@asynccontextmanager
async def opened(
    connect: Connect, kind: type[RedisStore] = RedisStore
) -> AsyncIterator[RedisStore]:
    """Open an empty store over these connections."""
    clock = FakeClock()
    transport = Transport(connect, load_scripts(), clock)
    transport.start()
    store = kind(transport, clock)
    try:
        await store.ask("FLUSHALL")
        yield store
    finally:
        await transport.close()


def redis(url: str) -> OpenStore:
    """Give a way to open mailboxes in a real server."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        async with opened(connector(url)) as store:
            yield store

    return open_store


class FakeTime:
    """Stands in for the module `time`, so that a fake server's time can be moved."""

    def __init__(self, clock: FakeClock) -> None:
        self.time = clock.now


class FakeRedisStore(RedisStore):
    """Mailboxes in a stand-in for a server, whose time stands still as well."""

    async def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.move(seconds)


def fakeredis() -> OpenStore:
    """Give a way to open mailboxes in a server that exists in this process only."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        server = FakeServer(version=(7,))

        def connect() -> AbstractConnection:
            return FakeAsyncRedisConnection(server=server, protocol=2)

        with pytest.MonkeyPatch.context() as patch:
            async with opened(connect, FakeRedisStore) as store:
                moved = FakeTime(store.clock)
                patch.setattr("fakeredis.commands_mixins.server_mixin.time", moved)
                patch.setattr("fakeredis._socket._base.time", moved)
                yield store

    return open_store
