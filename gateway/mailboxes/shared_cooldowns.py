"""Cool-downs of chats after a 429, which the workers of a bot share.

Sharing only saves calls: without it, each worker learns of a cool-down by a 429 of its
own.
"""

from gateway.domain.ports import Clock
from gateway.mailboxes.redis.client.command import (
    RedisClient,
    RedisCommand,
    consume_exception,
    execute_all,
)
from gateway.mailboxes.redis.keys import RedisKeys
from gateway.mailboxes.redis.lua.scripts import Script

TIMEOUT_SECONDS = 1.0
"""How long Redis may take to answer."""


class LocalCooldowns:
    """The `SharedCooldowns` of a single worker: there is no other worker to tell."""

    def record(self, chat_id: int, seconds: float) -> None:
        """Do nothing: the worker itself knows the cool-down."""

    async def find(self, chat_id: int) -> float:
        """Return 0: no other worker can have found a cool-down."""
        return 0


class RedisCooldowns:
    """The `SharedCooldowns` of all workers with the same Redis.

    Args:
        client: the connections to Redis.
        keys: the keys in Redis.
        script: the script `record_cooldown.lua`.
        clock: the clock that all gateways share.
        bot_id: the bot's user id.
    """

    def __init__(
        self,
        client: RedisClient,
        keys: RedisKeys,
        script: Script,
        clock: Clock,
        bot_id: int,
    ) -> None:
        self._client = client
        self._script = script
        self._keys = keys
        self._clock = clock
        self._bot_id = bot_id

    def record(self, chat_id: int, seconds: float) -> None:
        """Record a cool-down that starts now, unless one that ends later is stored.

        Does not wait for Redis, and ignores its failures.

        Args:
            chat_id: Telegram's id of the chat.
            seconds: the duration of the cool-down.
        """
        milliseconds = max(1, round(seconds * 1000))
        ends_at = round(self._clock.now() * 1000) + milliseconds
        shard, key = self._keys.get_cooldown(self._bot_id, chat_id)
        command = RedisCommand(
            shard,
            (b"EVALSHA", self._script.sha, 1, key, ends_at, milliseconds),
        )
        command.reply.add_done_callback(consume_exception)
        self._client.submit(command)

    async def find(self, chat_id: int) -> float:
        """Return the seconds until the cool-down of a chat ends.

        Returns 0 if none is stored, or if Redis does not answer within
        `TIMEOUT_SECONDS`.
        """
        shard, key = self._keys.get_cooldown(self._bot_id, chat_id)
        command = RedisCommand(shard, (b"GET", key))
        await execute_all(self._client, [command], TIMEOUT_SECONDS)
        reply = command.reply
        if reply.cancelled() or reply.exception() is not None:
            return 0
        ends_at = reply.result()
        if ends_at is None or not ends_at.isdigit():
            return 0
        return max(0.0, int(ends_at) / 1000 - self._clock.now())
