"""Lists the deliveries in Redis that have not ended, for the command line."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from gateway.background import BackgroundTasks
from gateway.domain.errors import StoreUnavailable
from gateway.domain.ports import Clock
from gateway.mailboxes.delivery_serialization import read_delivery
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.command import (
    RedisClient,
    RedisCommand,
    execute_all,
)
from gateway.mailboxes.redis.keys import RedisKeys
from gateway.mailboxes.redis.lua.scripts import load_scripts

REPLY_TIMEOUT_SECONDS = 5.0


@asynccontextmanager
async def open_delivery_listing(
    url: str, key_prefix: str, clock: Clock
) -> AsyncIterator["DeliveryListing"]:
    """Connect to Redis until the end of the block.

    Does not wait for the connection.

    Args:
        url: the URL of the server, of its Sentinels, or of any node of a Cluster.
        key_prefix: the first part of every key.
        clock: the clock of this machine.
    """
    async with (
        BackgroundTasks() as background,
        ClusterClient(
            url, load_scripts().sources, clock, background=background
        ) as client,
    ):
        yield DeliveryListing(client, RedisKeys(key_prefix))


class DeliveryListing:
    """Lists deliveries that are in a mailbox or wait to enter it, in all shards.

    Every method raises `StoreUnavailable` if Redis does not answer within
    `REPLY_TIMEOUT_SECONDS`.
    """

    def __init__(self, client: RedisClient, keys: RedisKeys) -> None:
        self._client = client
        self._keys = keys

    async def list_ids(self, limit: int) -> list[str]:
        """Return the ids of up to `limit` deliveries that have not ended, in no order.

        Signatures are not verified.
        """
        found: list[str] = []
        for number in range(len(self._keys.shards)):
            if len(found) >= limit:
                break
            found += await self._list_shard(number, limit)
        return found[:limit]

    async def _list_shard(self, number: int, limit: int) -> list[str]:
        shard = self._keys.shards[number]
        scheduled, ordering_keys = await self._execute(
            number,
            [
                (b"ZRANGE", shard.scheduled, 0, limit - 1),
                (b"ZRANGE", shard.pending, 0, -1),
            ],
        )
        found = [member.decode().partition(" ")[0] for member in scheduled]
        for ordering_key in ordering_keys:
            if len(found) >= limit:
                break
            (mail,) = await self._execute(
                number, [(b"ZRANGE", shard.mailbox_key(ordering_key), 0, -1)]
            )
            deliveries = map(read_delivery, mail)
            found += [it.delivery_id for it in deliveries if it is not None]
        return found

    async def _execute(
        self, shard: int, lines: Sequence[tuple[Any, ...]]
    ) -> Sequence[Any]:
        commands = [RedisCommand(shard, line) for line in lines]
        await execute_all(self._client, commands, REPLY_TIMEOUT_SECONDS)
        for command in commands:
            if command.reply.cancelled() or command.reply.exception() is not None:
                raise StoreUnavailable("Redis does not answer")
        return [command.reply.result() for command in commands]
