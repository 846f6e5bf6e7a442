"""Deliveries in Redis: in the mailboxes of their recipients, with their records.

A put sends two commands, because the idempotency key and the mailbox are in different
shards. The first one stores the recipient of the key, unless the key was used before.
The second one stores the delivery, unless it has a record. If nothing happens after the
first one, the same request, repeated, stores the delivery. Nobody else can use the key
meanwhile. All other methods that change something send one script, which changes the
record together with the mailbox. The keys are described in `keys.py`.

Concurrency: as for the mailboxes, any number of workers and tasks. A command whose
reply was lost is sent again, which has no further effect.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import DecodeError

from gateway.domain.delivery import (
    Delivery,
    DeliveryRecord,
    DeliveryResult,
    DeliveryState,
    SentPart,
)
from gateway.domain.delivery_store import DeliveryPutResult, WaitingDelivery
from gateway.domain.errors import ForgedEntry, IdempotencyKeyReused, LeaseLost
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import Clock
from gateway.domain.update import Envelope
from gateway.mailboxes.delivery_serialization import (
    NO_OWNER,
    IdempotencyEntry,
    StoredRecord,
    decode_delivery,
    decode_idempotency_entry,
    decode_record,
    make_lost_record,
    wrap_delivery,
)
from gateway.mailboxes.redis.client.command import (
    RedisClient,
    RedisCommand,
    consume_exception,
    execute_all,
)
from gateway.mailboxes.redis.client.shards import SHARD_COUNT
from gateway.mailboxes.redis.delivery_commands import (
    CANCELLED,
    DeliveryCommandFactory,
    RecordOrigin,
)
from gateway.mailboxes.redis.delivery_replays import DeliveryReplays
from gateway.mailboxes.redis.executor import CommandExecutor
from gateway.mailboxes.redis.lease_reader import LeaseReader
from gateway.mailboxes.redis.mailbox_scanner import MailboxScanner
from gateway.mailboxes.redis.replay_buffer import ReplayBuffer
from gateway.mailboxes.signatures import Purpose, StoreSignatures

_PUT_RESULTS = (
    DeliveryPutResult.REPEATED,
    DeliveryPutResult.STORED,
    DeliveryPutResult.FULL,
    DeliveryPutResult.SCHEDULED,
)

REPLY_TIMEOUT_SECONDS = 1.0
"""How long reports and due deliveries wait for the shards. The next scan finds those
that have not answered."""

_STORED_RESULTS = frozenset({DeliveryPutResult.STORED, DeliveryPutResult.SCHEDULED})

KEY_REFRESH_SECONDS = 10.0
"""How long a command that nobody waits for is tried."""


class RedisDeliveryStore:
    """The `DeliveryStore` of all workers that use the same Redis.

    Args:
        client: the connections to Redis.
        executor: sends the commands.
        commands: builds the commands.
        leases: reads the leases that are granted.
        scanner: finds the shards with due deliveries and with reports.
        replay_buffer: puts accepted deliveries again after a loss.
        clock: the clock that all gateways share.
        signatures: verifies what is read.
        tokens: makes the fencing tokens.
    """

    def __init__(  # noqa: PLR0913 - most by name
        self,
        client: RedisClient,
        executor: CommandExecutor,
        commands: DeliveryCommandFactory,
        leases: LeaseReader,
        *,
        scanner: MailboxScanner,
        replay_buffer: ReplayBuffer,
        clock: Clock,
        signatures: StoreSignatures,
        tokens: Iterator[str],
    ) -> None:
        self._client = client
        self._executor = executor
        self._commands = commands
        self._leases = leases
        self._scanner = scanner
        self._replay_buffer = replay_buffer
        self._replays = DeliveryReplays(replay_buffer, commands, clock)
        self._clock = clock
        self._signatures = signatures
        self._tokens = tokens
        self._check_put: Callable[[str], None] = lambda _: None
        self._on_commit: Callable[[MailboxLease], None] = lambda _: None

    def set_failover_callbacks(
        self,
        check_put: Callable[[str], None],
        on_commit: Callable[[MailboxLease], None],
    ) -> None:
        """Set the callbacks of a failover, which keeps updates in memory.

        Args:
            check_put: called with the ordering key before a delivery is stored; raises
                StoreUnavailable if it must not be stored now.
            on_commit: called with the lease that a commit extended.
        """
        self._check_put, self._on_commit = check_put, on_commit

    async def put_delivery(
        self, delivery: Delivery, *, acquire: bool = True
    ) -> MailboxLease | DeliveryPutResult:
        """Store a delivery. See `DeliveryStore.put_delivery`."""
        self._check_put(delivery.ordering_key)
        if not await self._claim_key(delivery):
            return DeliveryPutResult.REPEATED
        token = (
            next(self._tokens) if acquire and not self._replay_buffer.is_paused else ""
        )
        replaced_id = ""
        while True:
            command = self._commands.put_delivery(
                delivery, token, self._clock.now(), replaced_id=replaced_id
            )
            reply = await self._executor.execute(
                command, delivery.ordering_key, token, has_timeout=True
            )
            if not isinstance(reply, bytes):
                break
            replaced_id = reply.decode()
        if isinstance(reply, int):
            result = _PUT_RESULTS[reply]
            # A repeated put may find the delivery that it stored itself.
            if result in _STORED_RESULTS or command.send_count > 1:
                self._remember_put(delivery, replaced_id)
            return result
        self._remember_put(delivery, replaced_id)
        envelope = wrap_delivery(delivery)
        head: Envelope | None = envelope
        if len(reply) > 1:
            head = await self._leases.read_put_head(token, envelope, reply[1])
        if head is None:
            return DeliveryPutResult.STORED
        lease = self._leases.make_lease(command, token, head, reply[0])
        return lease or DeliveryPutResult.STORED

    async def get_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return the record of a delivery. See `DeliveryStore.get_delivery`."""
        entry = await self._read_key(delivery_id)
        if entry is None:
            return None
        return await self._read_record(entry.ordering_key, delivery_id)

    async def cancel_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Cancel a delivery. See `DeliveryStore.cancel_delivery`."""
        entry = await self._read_key(delivery_id)
        if entry is None:
            return None
        command = self._commands.cancel_delivery(entry.ordering_key, delivery_id)
        reply = await self._executor.execute(command, has_timeout=True)
        record = self._decode_record(reply or None, entry.ordering_key, delivery_id)
        if record is None:
            return None
        if record.record.state is DeliveryState.CANCELLED:
            self._replays.remember_end(
                entry.ordering_key,
                delivery_id,
                CANCELLED,
                RecordOrigin(record.facts, record.report),
            )
            self._expire_key(delivery_id)
        return record.record

    async def begin_part(
        self,
        lease: MailboxLease,
        delivery_id: str,
        part: int,
        sent_parts: Sequence[SentPart],
        *,
        resolves_doubt: bool = False,
    ) -> DeliveryRecord:
        """Record that a Bot API call begins. See `DeliveryStore.begin_part`."""
        missing: Delivery | None = None
        now = self._clock.now()
        while True:
            command = self._commands.begin_part(
                lease,
                delivery_id,
                part,
                sent_parts,
                resolves_doubt=resolves_doubt,
                missing=missing,
            )
            reply = await self._executor.execute(command)
            if reply == 0:
                raise LeaseLost("the lease's token is not the mailbox's current one")
            if isinstance(reply, bytes):
                break
            missing = await self._read_head(lease.ordering_key)
            if missing is None or missing.delivery_id != delivery_id:
                return make_lost_record(lease.ordering_key, delivery_id, now)
        stored = self._decode_record(reply, lease.ordering_key, delivery_id)
        if stored is None:
            return make_lost_record(lease.ordering_key, delivery_id, now)
        record = stored.record
        if stored.owner == lease.token:  # we began this part, or the one before it
            record.is_part_begun = False
        is_later_part_next = stored.owner == NO_OWNER and record.next_part > part
        is_refused = record.state.is_final or is_later_part_next
        if not is_refused and (resolves_doubt or not record.is_part_begun):
            self._replays.remember_begin(
                lease,
                delivery_id,
                part,
                sent_parts,
                RecordOrigin(stored.facts, stored.report),
            )
        return record

    async def retract_part(self, lease: MailboxLease, delivery_id: str) -> None:
        """Record that a call took no effect. See `DeliveryStore.retract_part`."""
        command = self._commands.retract_part(lease, delivery_id)
        if await self._executor.execute(command) == 0:
            raise LeaseLost("the lease's token is not the mailbox's current one")

    async def commit_delivery(
        self,
        lease: MailboxLease,
        delivery_id: str,
        state: bytes,
        result: DeliveryResult,
        *,
        dead_letter_reason: str | None = None,
        release: bool = False,
    ) -> Envelope | None:
        """Remove a delivery that ended. See `DeliveryStore.commit_delivery`."""
        command = self._commands.commit_delivery(
            lease,
            delivery_id,
            state,
            result,
            release=release,
            dead_letter_reason=dead_letter_reason,
            now=self._clock.now() if dead_letter_reason else 0.0,
        )
        reply = await self._executor.execute(command)
        origin = self._replays.find_origin(lease, delivery_id)
        if reply == 0:
            if dead_letter_reason is None and self._replays.may_have_lost_begin(
                lease, delivery_id
            ):
                await self._end_uncommitted(lease, delivery_id, result, origin)
            raise LeaseLost("the lease's token is not the mailbox's current one")
        self._replays.remember_end(lease.ordering_key, delivery_id, result, origin)
        self._expire_key(delivery_id)
        if not isinstance(reply, bytes):
            return None
        if self._replay_buffer.is_paused:  # an update with a lower id may be replayed
            self._executor.release_orphaned_lease(lease.ordering_key, lease.token)
            return None
        lease.expires_at = self._leases.compute_lease_end(command)
        self._on_commit(lease)
        return await self._leases.read_genuine_mail(
            lease.ordering_key, lease.token, reply
        )

    async def enter_due_deliveries(self, limit: int) -> int:
        """Put due deliveries into mailboxes. See `DeliveryStore.enter_due_deliveries`.

        Only in shards in which the last scan found some.
        """
        if self._replay_buffer.is_paused:
            return 0
        # In random order: full mailboxes of one shard must not always be tried first.
        shards = list(self._scanner.shards_with_due_deliveries)
        random.shuffle(shards)
        listed = await self._list_members(
            [self._commands.list_due(shard, limit) for shard in shards]
        )
        entries = [
            self._commands.enter_delivery(ordering_key, delivery_id)
            for delivery_id, ordering_key in listed[:limit]
        ]
        return sum(reply == 1 for reply in await self._execute_all(entries))

    async def list_bulk_deliveries(self, limit: int) -> Sequence[WaitingDelivery]:
        """List bulk deliveries. See `DeliveryStore.list_bulk_deliveries`."""
        if self._replay_buffer.is_paused:
            return ()
        per_shard = limit // SHARD_COUNT + 1
        commands = [
            self._commands.list_bulk(shard, per_shard) for shard in range(SHARD_COUNT)
        ]
        found: list[tuple[float, WaitingDelivery]] = []
        for reply in await self._execute_all(commands):
            members = reply or ()
            for member, time in zip(members[::2], members[1::2], strict=True):
                found.append((float(time), WaitingDelivery(*_split_member(member))))
        found.sort()
        return [waiting for _, waiting in found[:limit]]

    async def enter_bulk_delivery(self, waiting: WaitingDelivery) -> bool:
        """Put a bulk delivery in. See `DeliveryStore.enter_bulk_delivery`."""
        command = self._commands.enter_delivery(
            waiting.ordering_key, waiting.delivery_id, is_bulk=True
        )
        return await self._execute_all([command]) == [1]

    async def take_reports(self, limit: int) -> Sequence[DeliveryRecord]:
        """Return the oldest reports. See `DeliveryStore.take_reports`.

        Only from shards in which the last scan found some.
        """
        listed = await self._list_members(
            [
                self._commands.list_reports(shard, limit)
                for shard in self._scanner.shards_with_reports
            ]
        )
        reads = [
            self._commands.read_record(ordering_key, delivery_id)
            for delivery_id, ordering_key in listed
        ]
        reports, unreadable = [], []
        for (delivery_id, ordering_key), read, stored in zip(
            listed, reads, await self._execute_all(reads), strict=True
        ):
            if read.reply.cancelled() or read.reply.exception() is not None:
                continue
            found = self._decode_record(stored, ordering_key, delivery_id)
            if found is None:
                unreadable.append(
                    self._commands.remove_report(ordering_key, delivery_id)
                )
            else:
                reports.append(found.record)
        await self._execute_all(unreadable)
        reports.sort(key=lambda report: report.updated_at)
        return reports[:limit]

    async def confirm_reports(self, reports: Sequence[DeliveryRecord]) -> None:
        """Remove reports that a service has received.

        One that could not be removed is taken again.
        """
        await self._execute_all(
            [
                self._commands.remove_report(report.ordering_key, report.delivery_id)
                for report in reports
            ]
        )

    async def _list_members(
        self, commands: Sequence[RedisCommand]
    ) -> list[tuple[str, str]]:
        """Return the delivery ids and ordering keys in the replies."""
        members: list[tuple[str, str]] = []
        for reply in await self._execute_all(commands):
            members += map(_split_member, reply or ())
        return members

    async def _execute_all(self, commands: Sequence[RedisCommand]) -> list[Any]:
        """Send commands; return their replies, None for those that failed."""
        await execute_all(self._client, commands, REPLY_TIMEOUT_SECONDS)
        return [
            None
            if command.reply.cancelled() or command.reply.exception() is not None
            else command.reply.result()
            for command in commands
        ]

    async def _claim_key(self, delivery: Delivery) -> bool:
        """Store the recipient of an idempotency key.

        Returns:
            Whether the delivery may have to be stored; otherwise it was stored for
            another ordering key, to which the recipient belonged then.

        Raises:
            IdempotencyKeyReused: the key was used with another request.
        """
        claim = self._commands.claim_key(delivery, self._clock.now())
        if await self._executor.execute(claim, has_timeout=True) is not None:
            return True
        entry = await self._read_key(delivery.delivery_id)
        if entry is not None and entry.fingerprint != delivery.fingerprint:
            raise IdempotencyKeyReused("the key was used with another request")
        if entry is not None and entry.ordering_key == delivery.ordering_key:
            return True
        if entry is not None and await self._read_record(
            entry.ordering_key, delivery.delivery_id
        ):
            return False
        replace = self._commands.replace_key(delivery, self._clock.now())
        await self._executor.execute(replace, has_timeout=True)
        return True

    async def _read_key(self, delivery_id: str) -> IdempotencyEntry | None:
        command = self._commands.read_key(delivery_id)
        stored = await self._executor.execute(command, has_timeout=True)
        if stored is None:
            return None
        try:
            return decode_idempotency_entry(stored)
        except DecodeError:
            self._signatures.record_forgery(Purpose.DELIVERY_RECORD, b"")
            return None

    async def _read_record(
        self, ordering_key: str, delivery_id: str
    ) -> DeliveryRecord | None:
        command = self._commands.read_record(ordering_key, delivery_id)
        stored = await self._executor.execute(command, has_timeout=True)
        record = self._decode_record(stored, ordering_key, delivery_id)
        return None if record is None else record.record

    async def _read_head(self, ordering_key: str) -> Delivery | None:
        """Return the delivery at the head of a mailbox, or None if there is none."""
        reply = await self._executor.execute(self._commands.read_head(ordering_key))
        try:
            return decode_delivery(reply[0], ordering_key, self._signatures).delivery
        except (IndexError, ForgedEntry):
            return None

    def _decode_record(
        self, stored: bytes | None, ordering_key: str, delivery_id: str
    ) -> StoredRecord | None:
        """Decode a record. A forged one is counted; for the caller it is missing."""
        if stored is None:
            return None
        try:
            return decode_record(stored, delivery_id, ordering_key, self._signatures)
        except ForgedEntry:
            self._signatures.record_forgery(
                Purpose.DELIVERY_RECORD, ordering_key.encode()
            )
            return None

    async def _end_uncommitted(
        self,
        lease: MailboxLease,
        delivery_id: str,
        result: DeliveryResult,
        origin: RecordOrigin,
    ) -> None:
        """End a delivery whose lease is lost, unless another owner has begun a call.

        A Redis that lost its last second may have lost the lease.
        """
        arguments = lease.ordering_key, delivery_id, result, origin, lease.token
        self._replays.remember_end(*arguments)
        await self._executor.execute(self._commands.end_delivery(*arguments))

    def _remember_put(self, delivery: Delivery, replaced_id: str) -> None:
        """Remember a delivery for a replay, and the end of the one that it replaced."""
        self._replays.remember_put(delivery, replaced_id)
        if replaced_id:
            self._expire_key_of_ended(delivery.ordering_key, replaced_id)

    def _expire_key_of_ended(self, ordering_key: str, delivery_id: str) -> None:
        """Let the key of a delivery expire with its record, if it has ended."""
        read = self._commands.read_record(ordering_key, delivery_id)

        def expire(reply: asyncio.Future[Any]) -> None:
            if reply.cancelled() or reply.exception() is not None:
                return
            stored = self._decode_record(reply.result(), ordering_key, delivery_id)
            if stored is not None and stored.record.state.is_final:
                self._expire_key(delivery_id)

        read.reply.add_done_callback(expire)
        self._submit_unawaited(read)

    def _expire_key(self, delivery_id: str) -> None:
        """Let the idempotency entry of an ended delivery expire with its record.

        Nobody waits for that, because otherwise the entry expires later.
        """
        command = self._commands.expire_key(delivery_id)
        command.reply.add_done_callback(consume_exception)
        self._submit_unawaited(command)

    def _submit_unawaited(self, command: RedisCommand) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(KEY_REFRESH_SECONDS, command.reply.cancel)
        self._client.submit(command)


def _split_member(member: bytes) -> tuple[str, str]:
    """Return the delivery id and the ordering key in a member of a sorted set."""
    delivery_id, _, ordering_key = member.decode(errors="replace").partition(" ")
    return delivery_id, ordering_key
