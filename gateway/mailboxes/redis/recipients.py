"""Finds the Telegram users of each bot by their internal ids, in Redis.

An entry is signed: whoever could write a false one would receive the messages of
another user.
"""

import asyncio

from gateway.mailboxes.redis.client.command import (
    RedisClient,
    RedisCommand,
    consume_exception,
)
from gateway.mailboxes.redis.executor import CommandExecutor
from gateway.mailboxes.redis.keys import RedisKeys
from gateway.mailboxes.signatures import SIGNATURE_BYTES, Purpose, StoreSignatures

RECORD_SECONDS = 60.0
"""How long an entry is tried to be stored while Redis fails. After that the user is
recorded with the next session."""


class RedisRecipientIndex:
    """The `RecipientIndex` of all workers that use the same Redis.

    Args:
        client: the connections to Redis; sends what is not waited for.
        executor: sends the commands that are waited for.
        keys: the keys in Redis.
        signatures: signs entries and verifies them.
    """

    def __init__(
        self,
        client: RedisClient,
        executor: CommandExecutor,
        keys: RedisKeys,
        signatures: StoreSignatures,
    ) -> None:
        self._client = client
        self._executor = executor
        self._keys = keys
        self._signatures = signatures

    async def record_recipient(
        self, bot_id: int, internal_user_id: str, telegram_user_id: int
    ) -> None:
        """Store which Telegram user has a session. See `RecipientIndex`.

        Does not wait for Redis, and gives up after `RECORD_SECONDS`.
        """
        shard, key = self._keys.get_recipients(bot_id, internal_user_id)
        owner = f"{bot_id}:{internal_user_id}".encode()
        content = b"%d" % telegram_user_id
        entry = self._signatures.sign(Purpose.RECIPIENT, owner, content) + content
        command = RedisCommand(shard, (b"HSET", key, internal_user_id, entry))
        command.reply.add_done_callback(consume_exception)
        loop = asyncio.get_running_loop()
        loop.call_later(RECORD_SECONDS, command.reply.cancel)
        self._client.submit(command)

    async def find_recipient(self, bot_id: int, internal_user_id: str) -> int | None:
        """Return the Telegram user id for an internal user id.

        See `RecipientIndex.find_recipient`. A forged entry is counted and treated as
        missing.
        """
        shard, key = self._keys.get_recipients(bot_id, internal_user_id)
        command = RedisCommand(shard, (b"HGET", key, internal_user_id))
        stored = await self._executor.execute(command, has_timeout=True)
        if stored is None:
            return None
        owner = f"{bot_id}:{internal_user_id}".encode()
        signature, content = stored[:SIGNATURE_BYTES], stored[SIGNATURE_BYTES:]
        if not self._signatures.verify(Purpose.RECIPIENT, owner, signature, content):
            self._signatures.record_forgery(Purpose.RECIPIENT, b"")
            return None
        return int(content)
