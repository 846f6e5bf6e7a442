"""A look into Redis, past all that is done to the workers' ways to it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.domain.user_state import decode_user_state
from gateway.mailboxes.serialization import decode_dead_letter
from gateway.mailboxes.signatures import SIGNATURE_BYTES
from tests.chaos.history import History, Left, Waiting
from tests.support.redis_servers import RedisServer, WatchedRedis
from tests.support.stores import KEYS

EVERY = 0.5
"""Seconds between two looks."""


_OPTIONS: dict[str, Any] = {
    "protocol": 2,
    "socket_timeout": 1,
    "socket_connect_timeout": 1,
    "retry": Retry(NoBackoff(), 0),
}


def client(redis: RedisServer | WatchedRedis) -> Redis:
    """Return a client to a server, or to whoever is the master."""
    if isinstance(redis, RedisServer):
        return Redis(port=redis.port, **_OPTIONS)
    addresses = [("127.0.0.1", sentinel.port) for sentinel in redis.sentinels]
    found: Redis = Sentinel(addresses).master_for("mail", **_OPTIONS)  # type: ignore[no-untyped-call]  # redis-py
    return found


class Store:
    """The Redis of a run, as the harness sees it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        pool = self._redis.connection_pool
        if isinstance(pool, SentinelConnectionPool):
            await pool.sentinel_manager.aclose()

    async def flush_scripts(self) -> None:
        """Make Redis forget all scripts."""
        with contextlib.suppress(RedisError, OSError):
            await self._redis.script_flush()

    async def count_mailboxes(self) -> int:
        """Count the mailboxes that have updates."""
        pending, _ = await self._pending()
        return len(pending)

    async def dead_letters(self) -> int:
        """Count the updates that were given up; 0 while Redis does not answer."""
        with contextlib.suppress(RedisError, OSError):
            async with self._redis.pipeline(transaction=False) as pipeline:
                for shard in KEYS.shards:
                    pipeline.xlen(shard.dead_letters)
                return sum(await pipeline.execute())
        return 0

    async def watch(self, history: History, look: Callable[[int], None]) -> None:
        """Note for ever the mailboxes that anybody might acquire.

        Args:
            history: where it is noted.
            look: is told every time how many mailboxes have updates.
        """
        while True:
            pending: list[tuple[str, float]] = []
            with contextlib.suppress(RedisError, OSError):
                began = time.monotonic()
                pending, now = await self._pending()
                # A look that took long tells nothing about when it was.
                if time.monotonic() - began < EVERY:
                    for user, due in pending:
                        if due < now:
                            wait = Waiting(user, began, (now - due) / 1000)
                            history.waiting.append(wait)
            look(len(pending))
            await asyncio.sleep(EVERY)

    async def left(self) -> Left:
        """Read what is there at the end."""
        left = Left()
        for shard in KEYS.shards:
            left.pending += await self._redis.zcard(shard.pending)
            left.pending += await self._ask("HLEN", shard.leases)
            for stream in (shard.dead_letters, shard.rejected_letters):
                for _, fields in await self._ask("XRANGE", stream, "-", "+"):
                    dead_letter = decode_dead_letter(fields)
                    left.dead.append((dead_letter.update_id or 0, dead_letter.reason))
        async for key in self._redis.scan_iter(b"*:m:*", count=1000):
            left.mailboxes += bool(key)
        keys = [key async for key in self._redis.scan_iter(b"*:s:*", count=1000)]
        for start in range(0, len(keys), 500):
            some = keys[start : start + 500]
            for key, state in zip(some, await self._ask("MGET", *some), strict=True):
                user = _find_user(key.split(b":", 3)[3])
                left.states[user] = decode_user_state(
                    state[SIGNATURE_BYTES:]
                ).recent_ids
        return left

    async def _pending(self) -> tuple[list[tuple[str, float]], float]:
        """Return the mailboxes with updates, when each is free, and the time."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for shard in KEYS.shards:
                pipeline.zrange(shard.pending, 0, -1, withscores=True)
            (seconds, micros), *found = await pipeline.execute()
        users = [(_find_user(key), due) for shard in found for key, due in shard]
        return users, seconds * 1000 + micros / 1000

    async def _ask(self, *command: Any) -> Any:  # noqa: ANN401 - as Redis answers
        # XRANGE is asked for past redis-py, which makes a map of its fields.
        connection = await self._redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py
        try:
            await connection.send_command(*command)
            return await connection.read_response()
        finally:
            await self._redis.connection_pool.release(connection)


@asynccontextmanager
async def watching(
    store: Store, history: History, look: Callable[[int], None]
) -> AsyncIterator[None]:
    """Look into the store again and again inside of the block."""
    task = asyncio.create_task(store.watch(history, look))
    try:
        yield
    finally:
        # redis-py may take a cancellation at its own deadline for that deadline.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=1)


def _find_user(ordering_key: bytes) -> str:
    """Return the user of an ordering key, which is `<bot>/<user>`."""
    return ordering_key.decode().partition("/")[2]
