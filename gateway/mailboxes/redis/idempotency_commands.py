"""The commands sent to Redis for idempotency keys.

An entry is in the shard of its delivery id, so that it is found without knowing the
recipient. It outlives the record of the delivery a little.
"""

from gateway.domain.delivery import RECORD_SECONDS, Delivery
from gateway.mailboxes.delivery_serialization import (
    IdempotencyEntry,
    encode_idempotency_entry,
)
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.keys import RedisKeys

ENTRY_MARGIN_SECONDS = 30 * 24 * 3600
"""How much longer than the record of a delivery that ends in time the idempotency entry
is kept, unless the end shortens that: nobody may have served the mailbox for days."""

_ENDED_MS = b"%d" % ((RECORD_SECONDS + 60) * 1000)
"""How long the entry of a delivery that has ended is kept: a little longer than its
record."""


class IdempotencyCommandFactory:
    """Builds commands.

    Args:
        keys: the keys in Redis.
    """

    def __init__(self, keys: RedisKeys) -> None:
        self._keys = keys

    def claim(self, delivery: Delivery, now: float) -> RedisCommand:
        """Store the entry of a delivery, unless there is one."""
        return self._set(delivery, now, b"NX")

    def replace(self, delivery: Delivery, now: float) -> RedisCommand:
        """Store the entry of a delivery in place of another one."""
        return self._set(delivery, now)

    def read(self, delivery_id: str) -> RedisCommand:
        """Read an entry."""
        shard, key = self._find(delivery_id)
        return RedisCommand(shard, (b"GET", key))

    def expire(self, delivery_id: str) -> RedisCommand:
        """Let the entry of an ended delivery expire after its record."""
        shard, key = self._find(delivery_id)
        return RedisCommand(shard, (b"PEXPIRE", key, _ENDED_MS))

    def _find(self, delivery_id: str) -> tuple[int, bytes]:
        """Return the shard and the key of an entry."""
        key = delivery_id.encode()
        shard = self._keys.get_shard(key)
        return shard.number, shard.idempotency_prefix + key

    def _set(self, delivery: Delivery, now: float, *options: bytes) -> RedisCommand:
        shard, key = self._find(delivery.delivery_id)
        entry = IdempotencyEntry(delivery.fingerprint, delivery.ordering_key)
        seconds = max(0, int(delivery.expires_at - now))
        lifetime = seconds + RECORD_SECONDS + ENTRY_MARGIN_SECONDS
        return RedisCommand(
            shard,
            (b"SET", key, encode_idempotency_entry(entry), b"EX", lifetime, *options),
        )
