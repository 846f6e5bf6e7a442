"""Broadcasts in Redis, with the recipients whose delivery is not in a mailbox yet.

Such a recipient waits in a set in the shard of its mailbox. The script that puts its
delivery into the mailbox removes it from the set, so that this happens once even if two
workers act as the pacer. The counts of each shard change in the same scripts. The total
of all shards is therefore the sum of the other counts at every reading. The keys are
described in `keys.py`.

Concurrency: as for the mailboxes, any number of workers and tasks.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gateway.domain.broadcast import (
    Broadcast,
    BroadcastCounts,
    BroadcastRecord,
    BroadcastState,
    EnterResult,
    RecipientFailure,
)
from gateway.domain.delivery import Delivery, DeliveryState
from gateway.domain.errors import ForgedEntry, IdempotencyKeyReused, StoreUnavailable
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import Clock
from gateway.domain.update import Envelope
from gateway.mailboxes.broadcast_serialization import decode_broadcast
from gateway.mailboxes.delivery_serialization import wrap_delivery
from gateway.mailboxes.redis.broadcast_commands import BroadcastCommandFactory
from gateway.mailboxes.redis.client.command import (
    RedisClient,
    RedisCommand,
    consume_exception,
    execute_all,
)
from gateway.mailboxes.redis.client.shards import SHARD_COUNT
from gateway.mailboxes.redis.executor import CommandExecutor
from gateway.mailboxes.redis.lease_reader import LeaseReader
from gateway.mailboxes.redis.replay_buffer import ReplayBuffer
from gateway.mailboxes.signatures import Purpose, StoreSignatures

REPLY_TIMEOUT_SECONDS = 5.0
"""How long a request to all shards waits for them."""

STATE_SECONDS = 0.4
"""The maximum age of the states that are not read again."""

_ENTER_RESULTS = (EnterResult.NOT_WAITING, EnterResult.ENTERED, EnterResult.FULL)

_REASON = b"reason "
"""Precedes the reason in the names of counts."""


class RedisBroadcastStore:
    """The `BroadcastStore` of all workers that use the same Redis.

    Args:
        client: the connections to Redis.
        executor: sends single commands, with a timeout.
        commands: builds the commands.
        leases: turns replies that grant a lease into a `MailboxLease`.
        replay_buffer: says whether a replay pause is running, in which no recipient
            enters.
        clock: the clock that all gateways share.
        signatures: verifies what is read.
        tokens: makes the fencing tokens.
    """

    def __init__(
        self,
        client: RedisClient,
        executor: CommandExecutor,
        commands: BroadcastCommandFactory,
        leases: LeaseReader,
        *,
        replay_buffer: ReplayBuffer,
        clock: Clock,
        signatures: StoreSignatures,
        tokens: Iterator[str],
    ) -> None:
        self._client = client
        self._executor = executor
        self._commands = commands
        self._leases = leases
        self._replay_buffer = replay_buffer
        self._clock = clock
        self._signatures = signatures
        self._tokens = tokens
        self._open: Mapping[str, BroadcastState] = {}
        self._open_until = 0.0
        """When the states in `_open` are too old, by `Clock.uptime`."""
        self._open_read: asyncio.Task[None] | None = None

    async def create_broadcast(self, broadcast: Broadcast) -> bool:
        """Store a new broadcast as a draft. See `BroadcastStore.create_broadcast`."""
        command = self._commands.create_broadcast(broadcast)
        stored = await self._executor.execute(command, has_timeout=True)
        if stored == 1:
            return True
        found = self._decode(stored, broadcast.broadcast_id)
        if found is None or found.fingerprint != broadcast.fingerprint:
            raise IdempotencyKeyReused("the key was used with another request")
        return command.send_count > 1 and found.created_at == broadcast.created_at

    async def get_broadcast(self, broadcast_id: str) -> BroadcastRecord | None:
        """Return a broadcast, or None. See `BroadcastStore.get_broadcast`.

        A forged one is counted, logged and treated as missing.
        """
        command = self._commands.read_broadcast(broadcast_id)
        reply = await self._executor.execute(command, has_timeout=True)
        return self._decode_record(reply, broadcast_id)

    async def list_broadcasts(self, limit: int) -> Sequence[BroadcastRecord]:
        """Return up to `limit` broadcasts, newest first. See `BroadcastStore`."""
        listed = await self._executor.execute(
            self._commands.list_broadcasts(), has_timeout=True
        )
        ids = [it.decode(errors="replace") for it in listed]
        replies = await self._execute_all(map(self._commands.read_broadcast, ids))
        records = [
            record
            for broadcast_id, reply in zip(ids, replies, strict=True)
            if (record := self._decode_record(reply, broadcast_id)) is not None
        ]
        records.sort(key=lambda it: it.broadcast.created_at, reverse=True)
        return records[:limit]

    async def change_state(
        self,
        broadcast_id: str,
        state: BroadcastState,
        allowed: Collection[BroadcastState],
        *,
        is_open: bool = True,
    ) -> BroadcastState | None:
        """Change a broadcast's state if it may. See `BroadcastStore.change_state`."""
        command = self._commands.change_state(
            broadcast_id, state, allowed, is_open=is_open
        )
        reply = await self._executor.execute(command, has_timeout=True)
        self._open_until = 0.0
        return None if reply == 0 else BroadcastState(reply.decode())

    async def list_open_broadcasts(self) -> Mapping[str, BroadcastState]:
        """Return the open broadcasts. See `BroadcastStore.list_open_broadcasts`.

        They are read from Redis at most every `STATE_SECONDS`.
        """
        if self._clock.uptime() >= self._open_until:
            # All tasks that need the states wait for the same reading of them.
            if self._open_read is None:
                self._open_read = asyncio.create_task(self._read_open())
                self._open_read.add_done_callback(consume_exception)
            await asyncio.shield(self._open_read)
        return self._open

    async def add_recipients(
        self, broadcast: Broadcast, chat_ids: Collection[int]
    ) -> int:
        """Add waiting recipients to a draft. See `BroadcastStore.add_recipients`.

        After StoreUnavailable some of them may have been added.
        """
        commands = self._commands.add_recipients(broadcast, chat_ids)
        return sum(await self._execute_all(commands))

    async def list_recipients(self, broadcast: Broadcast, limit: int) -> Sequence[int]:
        """Return waiting recipients. See `BroadcastStore.list_recipients`.

        Returns none during a replay pause.
        """
        if self._replay_buffer.is_paused:
            return ()
        per_shard = limit // SHARD_COUNT + 1
        replies = await self._execute_all(
            self._commands.list_recipients(broadcast, number, per_shard)
            for number in range(SHARD_COUNT)
        )
        return [int(it) for reply in replies for it in reply]

    async def enter_recipient(
        self, delivery: Delivery, *, acquire: bool
    ) -> MailboxLease | EnterResult:
        """Put the delivery for a waiting recipient into its mailbox.

        See `BroadcastStore.enter_recipient`. During a replay pause nothing is stored
        and the result is FULL.
        """
        if self._replay_buffer.is_paused:
            return EnterResult.FULL
        token = next(self._tokens) if acquire else ""
        command = self._commands.enter_recipient(delivery, token)
        reply = await self._executor.execute(
            command, delivery.ordering_key, token, has_timeout=True
        )
        if isinstance(reply, int):
            return _ENTER_RESULTS[reply]
        envelope = wrap_delivery(delivery)
        head: Envelope | None = envelope
        if len(reply) > 1:
            head = await self._leases.read_put_head(token, envelope, reply[1])
        if head is None:
            return EnterResult.ENTERED
        lease = self._leases.make_lease(command, token, head, reply[0])
        return lease or EnterResult.ENTERED

    async def drop_recipients(self, broadcast: Broadcast, state: DeliveryState) -> int:
        """Remove all waiting recipients. See `BroadcastStore.drop_recipients`.

        After StoreUnavailable those of some shards may have been removed.
        """
        commands = self._commands.drop_recipients(broadcast, state)
        return sum(await self._execute_all(commands))

    async def count_recipients(self, broadcast: Broadcast) -> BroadcastCounts:
        """Count recipients by what became of them. See `BroadcastStore`."""
        counts: Counter[bytes] = Counter()
        for reply in await self._execute_all(self._commands.read_counts(broadcast)):
            for name, count in zip(reply[::2], reply[1::2], strict=True):
                counts[name] += int(count)
        ended = {
            state: counts[state.encode()]
            for state in ("sent", "blocked", "failed", "expired", "cancelled")
        } | {"doubtful": counts[b"doubtful"]}
        return BroadcastCounts(
            total=counts[b"total"],
            waiting=counts[b"total"] - counts[b"entered"],
            in_progress=counts[b"entered"] - sum(ended.values()),
            **ended,
            reasons={
                name.removeprefix(_REASON).decode(errors="replace"): count
                for name, count in counts.items()
                if name.startswith(_REASON)
            },
        )

    async def list_failures(
        self, broadcast: Broadcast, limit: int
    ) -> Sequence[RecipientFailure]:
        """Return up to `limit` failed recipients. See `BroadcastStore.list_failures`.

        At most `MAX_SHARD_FAILURES` of a broadcast are kept in each shard.
        """
        commands = self._commands.read_failures(broadcast, limit)
        failures: list[RecipientFailure] = []
        for reply in await self._execute_all(commands):
            for entry in reply:
                chat_id, state, reason = entry.decode().split(" ", 2)
                failure = RecipientFailure(int(chat_id), DeliveryState(state), reason)
                failures.append(failure)
        return failures[:limit]

    async def _read_open(self) -> None:
        try:
            command = self._commands.list_open_broadcasts()
            started_at = self._clock.uptime()
            reply = await self._executor.execute(command, has_timeout=True)
            fields = [it.decode(errors="replace") for it in reply]
            self._open = {
                broadcast_id: BroadcastState(state)
                for broadcast_id, state in zip(fields[::2], fields[1::2], strict=True)
            }
            self._open_until = started_at + STATE_SECONDS
        finally:
            self._open_read = None

    async def _execute_all(self, commands: Iterable[RedisCommand]) -> list[Any]:
        """Send commands, and return their replies.

        Raises:
            StoreUnavailable: one of them failed.
        """
        sent = list(commands)
        await execute_all(self._client, sent, REPLY_TIMEOUT_SECONDS)
        if any(it.reply.cancelled() or it.reply.exception() for it in sent):
            raise StoreUnavailable("Redis does not answer")
        return [command.reply.result() for command in sent]

    def _decode_record(
        self, reply: Sequence[bytes | None], broadcast_id: str
    ) -> BroadcastRecord | None:
        stored, state, changed_at = reply
        broadcast = self._decode(stored, broadcast_id)
        if broadcast is None or state is None or changed_at is None:
            return None
        return BroadcastRecord(
            broadcast, BroadcastState(state.decode()), int(changed_at) / 1000
        )

    def _decode(self, stored: bytes | None, broadcast_id: str) -> Broadcast | None:
        """Decode a broadcast. A forged one is counted; for the caller it is missing."""
        if stored is None:
            return None
        try:
            return decode_broadcast(stored, broadcast_id, self._signatures)
        except ForgedEntry:
            self._signatures.record_forgery(Purpose.BROADCAST, broadcast_id.encode())
            return None
