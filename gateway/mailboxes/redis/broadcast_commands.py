"""Builds the commands for Redis that concern broadcasts. Nothing is sent here."""

import random
from collections import defaultdict
from collections.abc import Collection, Iterator

from gateway.domain.broadcast import Broadcast, BroadcastState
from gateway.domain.delivery import Delivery, DeliveryState
from gateway.mailboxes.broadcast_serialization import encode_broadcast
from gateway.mailboxes.delivery_serialization import encode_delivery, encode_facts
from gateway.mailboxes.redis.client.command import Argument, RedisCommand
from gateway.mailboxes.redis.client.shards import SHARD_COUNT
from gateway.mailboxes.redis.commands import call_script
from gateway.mailboxes.redis.keys import WAITING_PARTS, RedisKeys, ShardKeys
from gateway.mailboxes.redis.lua.scripts import Scripts
from gateway.mailboxes.redis.recipient_commands import compute_expiry
from gateway.mailboxes.signatures import StoreSignatures

MAX_BATCH = 1000
"""The number of recipients that are added to a shard with one command: Lua can pass
only some thousand arguments at once."""


class BroadcastCommandFactory:
    """Builds the commands for broadcasts. The caller sends them and reads the replies.

    The broadcasts themselves are in shard 0; the recipients of a broadcast are in the
    shards of their mailboxes.

    Args:
        keys: the keys in Redis.
        scripts: the Lua scripts.
        limit: the maximum number of updates and deliveries in a mailbox.
        lease_seconds: how many seconds a lease lasts without renewal.
        signatures: signs stored entries.
    """

    def __init__(
        self,
        keys: RedisKeys,
        scripts: Scripts,
        limit: int,
        lease_seconds: float,
        signatures: StoreSignatures,
    ) -> None:
        self._keys = keys
        self._scripts = scripts
        self._signatures = signatures
        self._limit = b"%d" % limit
        self._lease_ms = b"%d" % int(lease_seconds * 1000)
        self._home = keys.shards[0]
        """The shard of all broadcasts; their recipients are in the recipients' own."""

    def create_broadcast(self, broadcast: Broadcast) -> RedisCommand:
        """Build the command that stores a new broadcast, unless its id is used.

        The reply is 1, or else what is stored under the id.
        """
        return call_script(
            self._scripts.create_broadcast,
            self._home,
            (self._get_key(broadcast.broadcast_id), self._home.broadcasts),
            broadcast.broadcast_id,
            encode_broadcast(broadcast, self._signatures),
            compute_expiry(broadcast.expires_at),
        )

    def read_broadcast(self, broadcast_id: str) -> RedisCommand:
        """Build the command that reads a broadcast.

        The reply has the signed broadcast, its state, and the time of its last change
        in ms; each is None if there is no such broadcast.
        """
        key = self._get_key(broadcast_id)
        fields = (b"broadcast", b"state", b"changed")
        return RedisCommand(self._home.number, (b"HMGET", key, *fields))

    def list_broadcasts(self) -> RedisCommand:
        """Build the command that lists the ids of all broadcasts."""
        return RedisCommand(
            self._home.number, (b"ZRANGE", self._home.broadcasts, 0, -1)
        )

    def list_open_broadcasts(self) -> RedisCommand:
        """Build the command that lists the open broadcasts.

        The reply has their ids and states, alternating.
        """
        return RedisCommand(self._home.number, (b"HGETALL", self._home.open_broadcasts))

    def change_state(
        self,
        broadcast_id: str,
        state: BroadcastState,
        allowed: Collection[BroadcastState],
        *,
        is_open: bool,
    ) -> RedisCommand:
        """Build the command that changes the state of a broadcast, if it is allowed.

        The reply is the state before; 0 if there is no such broadcast. The arguments
        are those of `BroadcastStore.change_state`.
        """
        return call_script(
            self._scripts.change_broadcast,
            self._home,
            (self._get_key(broadcast_id), self._home.open_broadcasts),
            broadcast_id,
            state.value,
            b"1" if is_open else b"0",
            *(it.value for it in allowed),
        )

    def add_recipients(
        self, broadcast: Broadcast, chat_ids: Collection[int]
    ) -> Iterator[RedisCommand]:
        """Build the commands that add waiting recipients, by shard.

        A shard gets several commands for more than `MAX_BATCH` recipients. Each reply
        is the number of new ones.
        """
        broadcast_id = broadcast.broadcast_id.encode()
        shards: dict[ShardKeys, list[tuple[bytes, int]]] = defaultdict(list)
        for chat_id in chat_ids:
            ordering_key = b"%d/%d" % (broadcast.bot_id, chat_id)
            shard = self._keys.get_shard(ordering_key)
            waiting = shard.waiting_key(broadcast_id, ordering_key)
            shards[shard].append((waiting, chat_id))
        for shard, recipients in shards.items():
            for start in range(0, len(recipients), MAX_BATCH):
                yield self._add_batch(
                    broadcast, shard, recipients[start : start + MAX_BATCH]
                )

    def list_recipients(
        self, broadcast: Broadcast, number: int, limit: int
    ) -> RedisCommand:
        """Build the command that lists waiting recipients of one shard.

        Args:
            broadcast: the broadcast.
            number: the number of the shard.
            limit: the maximum number of recipients; the reply has their chat ids.
        """
        shard = self._keys.shards[number]
        return call_script(
            self._scripts.list_recipients,
            shard,
            shard.list_waiting_keys(broadcast.broadcast_id.encode()),
            limit,
            random.randrange(WAITING_PARTS),  # noqa: S311 - no secret
        )

    def enter_recipient(self, delivery: Delivery, token: str) -> RedisCommand:
        """Build the command that puts the delivery for a recipient into its mailbox.

        The reply is a number (see `_ENTER_RESULTS` in `broadcasts.py`), or the stored
        state, and the head if there is other mail, if the lease was acquired.

        Args:
            delivery: the delivery.
            token: the token of the lease to acquire; an empty string to acquire none.
        """
        key = delivery.ordering_key.encode()
        broadcast_id = delivery.broadcast_id.encode()
        shard = self._keys.get_shard(key)
        return call_script(
            self._scripts.enter_recipient,
            shard,
            (
                shard.mailbox_prefix + key,
                shard.state_prefix + key,
                shard.pending,
                shard.leases,
                shard.record_prefix + delivery.delivery_id.encode(),
                shard.waiting_key(broadcast_id, key),
                shard.counts_prefix + broadcast_id,
            ),
            key,
            delivery.delivery_id,
            encode_delivery(delivery, self._signatures),
            encode_facts(delivery, self._signatures),
            delivery.chat_id,
            self._limit,
            token,
            self._lease_ms,
            compute_expiry(delivery.expires_at),
        )

    def drop_recipients(
        self, broadcast: Broadcast, state: DeliveryState
    ) -> Iterator[RedisCommand]:
        """Build the commands that remove all waiting recipients, one for each shard.

        They count these recipients as ended in the given state. Each reply is their
        number.
        """
        broadcast_id = broadcast.broadcast_id.encode()
        for shard in self._keys.shards:
            counts = shard.counts_prefix + broadcast_id
            keys = (counts, *shard.list_waiting_keys(broadcast_id))
            yield call_script(self._scripts.drop_recipients, shard, keys, state.value)

    def read_counts(self, broadcast: Broadcast) -> Iterator[RedisCommand]:
        """Build the commands that read the counts of recipients, one for each shard.

        Each reply has names and counts, alternating.
        """
        broadcast_id = broadcast.broadcast_id.encode()
        for shard in self._keys.shards:
            key = shard.counts_prefix + broadcast_id
            yield RedisCommand(shard.number, (b"HGETALL", key))

    def read_failures(self, broadcast: Broadcast, limit: int) -> Iterator[RedisCommand]:
        """Build the commands that read recipients who may not have got the message.

        One for each shard, each for at most `limit` of them.
        """
        broadcast_id = broadcast.broadcast_id.encode()
        for number in range(SHARD_COUNT):
            key = self._keys.shards[number].failures_prefix + broadcast_id
            yield RedisCommand(number, (b"LRANGE", key, 0, limit - 1))

    def _get_key(self, broadcast_id: str) -> bytes:
        return self._home.broadcast_prefix + broadcast_id.encode()

    def _add_batch(
        self,
        broadcast: Broadcast,
        shard: ShardKeys,
        recipients: Collection[tuple[bytes, int]],
    ) -> RedisCommand:
        parts: dict[bytes, list[int]] = defaultdict(list)
        for waiting, chat_id in recipients:
            parts[waiting].append(chat_id)
        arguments: list[Argument] = []
        for part in parts.values():
            arguments += (len(part), *part)
        return call_script(
            self._scripts.add_recipients,
            shard,
            (shard.counts_prefix + broadcast.broadcast_id.encode(), *parts),
            compute_expiry(broadcast.expires_at),
            *arguments,
        )
