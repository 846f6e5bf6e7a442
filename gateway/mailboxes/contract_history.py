"""Stores in Redis the contracts that all gateways with that Redis serve together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from gateway.background import BackgroundTasks
from gateway.domain.contract_history import KEPT_GENERATIONS, ContractGeneration
from gateway.domain.errors import StoreUnavailable
from gateway.domain.ports import Clock
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.command import Argument, RedisClient, RedisCommand
from gateway.mailboxes.redis.keys import RedisKeys
from gateway.mailboxes.redis.lua.scripts import Script, load_scripts
from gateway.mailboxes.signatures import SIGNATURE_BYTES, Purpose, StoreSignatures

TIMEOUT_SECONDS = 1.0
"""How long Redis may take to answer."""

_CURRENT = b"current"


class RedisContractHistory:
    """The `ContractHistory` in a hash in Redis, which all gateways with it share.

    Every method raises StoreUnavailable if Redis does not answer within
    `TIMEOUT_SECONDS`.

    Args:
        client: the connections to Redis.
        keys: the keys in Redis.
        script: the script `add_generation.lua`.
        signatures: signs generations, and verifies those that are read.
    """

    def __init__(
        self,
        client: RedisClient,
        keys: RedisKeys,
        script: Script,
        signatures: StoreSignatures,
    ) -> None:
        self._client = client
        self._script = script
        self._signatures = signatures
        self._shard, self._key = keys.contracts

    async def find_current_number(self) -> int:
        """Return the number of the current generation; 0 if there is none.

        See `ContractHistory.find_current_number`.
        """
        number = await self._execute(b"HGET", self._key, _CURRENT)
        return int(number) if number is not None and number.isdigit() else 0

    async def get_generation(self, number: int) -> ContractGeneration | None:
        """Return a generation, or None if it is not kept or is forged.

        A forged one is counted and logged.
        """
        field = b"%d" % number
        entry = await self._execute(b"HGET", self._key, field)
        if entry is None:
            return None
        signature, content = entry[:SIGNATURE_BYTES], entry[SIGNATURE_BYTES:]
        if not self._signatures.verify(Purpose.CONTRACTS, field, signature, content):
            self._signatures.record_forgery(Purpose.CONTRACTS, field)
            return None
        return msgspec.msgpack.decode(content, type=ContractGeneration)

    async def add_generation(self, generation: ContractGeneration) -> bool:
        """Store a generation as the current one, unless somebody was faster.

        See `ContractHistory.add_generation`.
        """
        field = b"%d" % generation.number
        content = msgspec.msgpack.encode(generation)
        signature = self._signatures.sign(Purpose.CONTRACTS, field, content)
        reply = await self._execute(
            *(b"EVALSHA", self._script.sha, 1, self._key),
            *(field, signature + content, KEPT_GENERATIONS),
        )
        return bool(reply)

    async def _execute(self, *arguments: Argument) -> Any:  # noqa: ANN401 - any reply
        command = RedisCommand(self._shard, arguments)
        self._client.submit(command)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await command.reply
        except TimeoutError:
            raise StoreUnavailable("Redis does not answer") from None


@asynccontextmanager
async def open_redis_history(
    url: str, key_prefix: str, signatures: StoreSignatures, clock: Clock
) -> AsyncIterator[RedisContractHistory]:
    """Connect to Redis, for a command on the command line, until the end of the block.

    Waits for the first attempt to connect, whether or not it succeeds. If Redis does
    not answer, the methods of the history raise StoreUnavailable.

    Args:
        url: the URL of the server, of its Sentinels, or of any node of a Cluster.
        key_prefix: the first part of every key.
        signatures: signs generations, and verifies those that are read.
        clock: the clock of this machine.
    """
    scripts = load_scripts()
    async with (
        BackgroundTasks() as background,
        ClusterClient(url, scripts.sources, clock, background=background) as client,
    ):
        await client.wait_first_attempt()
        yield RedisContractHistory(
            client, RedisKeys(key_prefix), scripts.add_generation, signatures
        )
