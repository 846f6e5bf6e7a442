"""Builds the commands for Redis that concern idempotency keys.

The entry of a key says which request used it, and for which recipient. It is in the
shard of the delivery id, which is derived from the key, so that it is found without
knowing the recipient. It is kept a little longer than the record of the delivery.
"""

from gateway.domain.delivery import RECORD_SECONDS, Delivery
from gateway.mailboxes.delivery_serialization import (
    IdempotencyEntry,
    encode_idempotency_entry,
)
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.commands import call_script
from gateway.mailboxes.redis.keys import RedisKeys
from gateway.mailboxes.redis.lua.scripts import Scripts

ENTRY_MARGIN_SECONDS = 30 * 24 * 3600
"""How much longer than the record of a delivery that ends in time the idempotency entry
is kept, unless the end shortens that: nobody may have served the mailbox for days."""

_ENDED_MS = b"%d" % ((RECORD_SECONDS + 60) * 1000)
"""How long the entry of a delivery that has ended is kept: a little longer than its
record."""


class IdempotencyCommandFactory:
    """Builds the commands for the entries of idempotency keys.

    Args:
        keys: the keys in Redis.
        scripts: the Lua scripts.
    """

    def __init__(self, keys: RedisKeys, scripts: Scripts) -> None:
        self._keys = keys
        self._scripts = scripts

    def claim(self, delivery: Delivery, now: float) -> RedisCommand:
        """Build the command that stores the entry of a delivery, unless there is one.

        The reply is None if there is one.

        Args:
            delivery: the delivery.
            now: the present time in seconds since the epoch.
        """
        return self._set(delivery, now, b"NX")

    def replace(self, delivery: Delivery, now: float) -> RedisCommand:
        """Build the command that stores the entry of a delivery in any case."""
        return self._set(delivery, now)

    def read(self, delivery_id: str) -> RedisCommand:
        """Build the command that reads the entry under a delivery id."""
        shard, key = self._find(delivery_id)
        return RedisCommand(shard, (b"GET", key))

    def expire(self, delivery_id: str) -> RedisCommand:
        """Build the command that lets an entry expire a little after the record.

        Send it when the delivery has ended.
        """
        shard, key = self._find(delivery_id)
        return RedisCommand(shard, (b"PEXPIRE", key, _ENDED_MS))

    def release(self, delivery: Delivery) -> RedisCommand:
        """Build the command that removes exactly this entry, if it is still stored."""
        _, key = self._find(delivery.delivery_id)
        shard = self._keys.get_shard(delivery.delivery_id.encode())
        return call_script(
            self._scripts.release_key, shard, (key,), _encode_entry(delivery)
        )

    def _find(self, delivery_id: str) -> tuple[int, bytes]:
        """Return the shard and the key of an entry."""
        key = delivery_id.encode()
        shard = self._keys.get_shard(key)
        return shard.number, shard.idempotency_prefix + key

    def _set(self, delivery: Delivery, now: float, *options: bytes) -> RedisCommand:
        shard, key = self._find(delivery.delivery_id)
        seconds = max(0, int(delivery.expires_at - now))
        lifetime = seconds + RECORD_SECONDS + ENTRY_MARGIN_SECONDS
        return RedisCommand(
            shard,
            (b"SET", key, _encode_entry(delivery), b"EX", lifetime, *options),
        )


def _encode_entry(delivery: Delivery) -> bytes:
    entry = IdempotencyEntry(delivery.fingerprint, delivery.ordering_key)
    return encode_idempotency_entry(entry)
