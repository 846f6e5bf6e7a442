"""Leases that decide which of all workers fetches the updates of a bot.

Such a lease only saves calls and conflicts at Telegram: no update is lost or processed
twice if two workers poll at the same time. See `gateway/telegram/polling.py`.
"""

import asyncio
import secrets

from gateway.domain.errors import StoreUnavailable
from gateway.mailboxes.redis.client.command import RedisClient, RedisCommand
from gateway.mailboxes.redis.keys import RedisKeys
from gateway.mailboxes.redis.lua.scripts import Script

LEASE_SECONDS = 3.0
"""How long the lease lasts without being renewed."""

TIMEOUT_SECONDS = 1.0
"""How long Redis may take to answer."""


class LocalPollingLease:
    """The polling lease if there is only one worker, which always has it."""

    async def hold(self) -> bool:
        """Return True: this worker has the lease."""
        return True

    async def release(self) -> None:
        """Do nothing: no other worker waits for the lease."""


class RedisPollingLease:
    """The polling lease of a bot, for which all workers with the same Redis compete.

    Args:
        client: the connections to Redis.
        keys: the keys in Redis.
        script: the script `hold_lease.lua`.
        bot_id: the bot's user id, or another number that stands for the task of one
            worker.
    """

    def __init__(
        self, client: RedisClient, keys: RedisKeys, script: Script, bot_id: int
    ) -> None:
        self._client = client
        self._script = script
        self._shard, self._key = keys.get_polling_lease(bot_id)
        self._token = secrets.token_hex(8)

    async def hold(self) -> bool:
        """Acquire the lease if nobody has it, or renew it if this worker has it.

        It then lasts for `LEASE_SECONDS`; call this again before that.

        Returns:
            True if this worker has the lease now; False if another one has it.

        Raises:
            StoreUnavailable: Redis does not answer within `TIMEOUT_SECONDS`. Until its
                last renewal expires, the lease may still be this worker's.
        """
        return await self._call(LEASE_SECONDS)

    async def release(self) -> None:
        """Release the lease if this worker has it, so that another one gets it at once.

        Raises:
            StoreUnavailable: Redis does not answer. The lease then expires by itself.
        """
        await self._call(0)

    async def _call(self, seconds: float) -> bool:
        milliseconds = round(seconds * 1000)
        command = RedisCommand(
            self._shard,
            (b"EVALSHA", self._script.sha, 1, self._key, self._token, milliseconds),
        )
        self._client.submit(command)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return bool(await command.reply)
        except TimeoutError:
            raise StoreUnavailable("Redis does not answer") from None
