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

from gateway.domain.broadcast import BroadcastRecipient
from gateway.domain.delivery import (
    Delivery,
    DeliveryRecord,
    DeliveryResult,
    DeliveryState,
    SentPart,
)
from gateway.domain.delivery_store import DeliveryPutResult, WaitingDelivery
from gateway.domain.errors import ForgedEntry, LeaseLost, StoreUnavailable
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import Clock
from gateway.domain.update import Envelope
from gateway.mailboxes.delivery_serialization import (
    NO_OWNER,
    StoredRecord,
    decode_delivery,
    decode_record,
    make_lost_record,
    wrap_delivery,
)
from gateway.mailboxes.redis.client.command import (
    RedisClient,
    RedisCommand,
    execute_all,
)
from gateway.mailboxes.redis.client.shards import SHARD_COUNT
from gateway.mailboxes.redis.delivery_commands import (
    CANCELLED,
    DeliveryCommandFactory,
    RecordOrigin,
    split_member,
)
from gateway.mailboxes.redis.delivery_replays import DeliveryReplays
from gateway.mailboxes.redis.executor import CommandExecutor
from gateway.mailboxes.redis.idempotency_keys import IdempotencyKeys
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


class RedisDeliveryStore:
    """The `DeliveryStore` of all workers that use the same Redis.

    `begin_part`, `retract_part` and `commit_delivery` are sent again until Redis
    answers. What is said of the other methods in `DeliveryStore` holds.

    Args:
        client: the connections to Redis.
        executor: sends single commands, with a timeout.
        commands: builds the commands.
        leases: turns replies that grant a lease into a `MailboxLease`.
        scanner: knows which shards had due deliveries and reports at the last scan.
        replay_buffer: repeats recent changes if Redis loses its last writes.
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
        self._idempotency_keys = IdempotencyKeys(
            executor, commands.idempotency, clock, signatures
        )
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
        """Set the functions by which the failover to memory takes part.

        Args:
            check_put: called with the ordering key before a delivery is stored; raises
                StoreUnavailable if it must not be stored in Redis now.
            on_commit: called with the lease after a commit has extended it.
        """
        self._check_put, self._on_commit = check_put, on_commit

    async def put_delivery(
        self, delivery: Delivery, *, acquire: bool = True, begins: bool = False
    ) -> MailboxLease | DeliveryPutResult:
        """Store a delivery behind other mail. See `DeliveryStore.put_delivery`.

        During a replay pause no lease is acquired.
        """
        self._check_put(delivery.ordering_key)
        used = await self._idempotency_keys.claim(delivery)
        if used is not None:  # the recipient had another ordering key then
            if await self._read_record(used.ordering_key, delivery.delivery_id):
                return DeliveryPutResult.REPEATED
            await self._idempotency_keys.replace(delivery)
        token = (
            next(self._tokens) if acquire and not self._replay_buffer.is_paused else ""
        )
        command, reply, replaced_id = await self._send_put(delivery, token, begins)
        if isinstance(reply, int):
            result = _PUT_RESULTS[reply]
            if result is DeliveryPutResult.FULL:
                await self._idempotency_keys.release(delivery)
            # A repeated put may find the delivery that it stored itself.
            elif result is not DeliveryPutResult.REPEATED or command.send_count > 1:
                self._remember_put(delivery, replaced_id)
            return result
        self._remember_put(delivery, replaced_id)
        return await self._read_lease(delivery, command, token, *reply)

    async def _send_put(
        self, delivery: Delivery, token: str, begins: bool
    ) -> tuple[RedisCommand, Any, str]:
        """Return the put that succeeded, its reply, and the id that it replaced."""
        replaced_id = ""
        while True:
            command = self._commands.put_delivery(
                delivery,
                token,
                self._clock.now(),
                replaced_id=replaced_id,
                begins=begins,
            )
            try:
                reply = await self._executor.execute(command, has_timeout=True)
            except (asyncio.CancelledError, StoreUnavailable):
                if token:
                    self._abandon_put(delivery, token)
                raise
            if not isinstance(reply, bytes):
                return command, reply, replaced_id
            replaced_id = reply.decode()

    async def _read_lease(
        self,
        delivery: Delivery,
        command: RedisCommand,
        token: str,
        state: bytes | None,
        stored_head: bytes | int = b"",
    ) -> MailboxLease | DeliveryPutResult:
        """Return the lease that a put acquired; see `put_delivery.lua`."""
        envelope = wrap_delivery(delivery)
        head: Envelope | None = envelope
        is_begun = stored_head == 1
        if is_begun and self._replay_buffer.is_paused:
            self._abandon_put(delivery, token)
            return DeliveryPutResult.STORED
        if isinstance(stored_head, bytes) and stored_head:
            head = await self._leases.read_put_head(token, envelope, stored_head)
        if head is None:
            return DeliveryPutResult.STORED
        lease = self._leases.make_lease(command, token, head, state)
        if lease is not None and is_begun:
            lease.begun_delivery_id = delivery.delivery_id
            origin = self._commands.make_origin(delivery)
            self._replays.remember_begin(lease, delivery.delivery_id, 0, (), origin)
        return lease or DeliveryPutResult.STORED

    def _abandon_put(self, delivery: Delivery, token: str) -> None:
        """Give up the lease that a put may have acquired, and the call it may begin."""
        self._executor.submit(
            self._commands.retract_part(
                delivery.ordering_key, token, delivery.delivery_id
            )
        )
        self._executor.release_orphaned_lease(delivery.ordering_key, token)

    async def get_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return the record of a delivery. See `DeliveryStore.get_delivery`.

        A forged record is counted, logged and treated as missing.
        """
        entry = await self._idempotency_keys.read(delivery_id)
        if entry is None:
            return None
        record = await self._read_record(entry.ordering_key, delivery_id)
        if record is not None:
            record.fingerprint = entry.fingerprint
        return record

    async def cancel_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Cancel a delivery that is not begun. See `DeliveryStore`."""
        entry = await self._idempotency_keys.read(delivery_id)
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
            self._idempotency_keys.expire(delivery_id)
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
        """Record that a Bot API call begins. See `DeliveryStore.begin_part`.

        If Redis has lost the record, a new one is made from the mail; without mail the
        result is a failed record, so that nothing is sent.
        """
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
        """Record that the begun call had no effect.

        See `DeliveryStore.retract_part`.
        """
        self._replays.forget_begin(lease, delivery_id)
        command = self._commands.retract_part(
            lease.ordering_key, lease.token, delivery_id
        )
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
        recipient: BroadcastRecipient | None = None,
    ) -> Envelope | None:
        """Remove an ended delivery, and return the next mail.

        See `DeliveryStore.commit_delivery`. The end is saved even if LeaseLost is
        raised because Redis lost the lease, unless another owner has begun a call.
        """
        command = self._commands.commit_delivery(
            lease,
            delivery_id,
            state,
            result,
            release=release,
            dead_letter_reason=dead_letter_reason,
            now=self._clock.now() if dead_letter_reason else 0.0,
            recipient=recipient,
        )
        reply = await self._executor.execute(command)
        origin = self._replays.find_origin(lease, delivery_id)
        if reply == 0:
            if dead_letter_reason is None and self._replays.may_have_lost_begin(
                lease, delivery_id
            ):
                await self._end_uncommitted(
                    lease, delivery_id, result, origin, recipient
                )
            raise LeaseLost("the lease's token is not the mailbox's current one")
        if result.state.is_final:
            self._replays.remember_end(
                lease.ordering_key, delivery_id, result, origin, "", recipient
            )
        if recipient is None:
            self._idempotency_keys.expire(delivery_id)
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
        """Put scheduled deliveries whose time has come into their mailboxes.

        See `DeliveryStore.enter_due_deliveries`. Looks only at shards in which the last
        scan of this worker found such deliveries. Returns 0 during a replay pause.
        """
        if self._replay_buffer.is_paused:
            return 0
        # In random order: full mailboxes of one shard must not always be tried first.
        shards = list(self._scanner.shards_with_due_deliveries)
        random.shuffle(shards)
        lists = [self._commands.list_due(shard, limit) for shard in shards]
        replies = await self._execute_all(lists)
        listed = [split_member(it) for reply in replies for it in reply or ()]
        entries = [
            self._commands.enter_delivery(ordering_key, delivery_id)
            for delivery_id, ordering_key in listed[:limit]
        ]
        return sum(reply == 1 for reply in await self._execute_all(entries))

    async def list_bulk_deliveries(self, limit: int) -> Sequence[WaitingDelivery]:
        """Return bulk deliveries that wait, oldest first.

        See `DeliveryStore.list_bulk_deliveries`. Returns none during a replay pause.
        """
        if self._replay_buffer.is_paused:
            return ()
        per_shard = limit // SHARD_COUNT + 1
        commands = [
            self._commands.list_bulk(shard, per_shard) for shard in range(SHARD_COUNT)
        ]
        return [WaitingDelivery(*it) for it in await self._list_oldest(commands, limit)]

    async def enter_bulk_delivery(self, waiting: WaitingDelivery) -> bool:
        """Put a bulk delivery into its mailbox.

        See `DeliveryStore.enter_bulk_delivery`.
        """
        command = self._commands.enter_delivery(
            waiting.ordering_key, waiting.delivery_id, is_bulk=True
        )
        return await self._execute_all([command]) == [1]

    async def take_reports(self, limit: int) -> Sequence[DeliveryRecord]:
        """Return the oldest reports. See `DeliveryStore.take_reports`.

        Reads only shards in which the last scan of this worker found some. Reports
        whose record is missing or forged are removed.
        """
        lists = [
            self._commands.list_reports(shard, limit)
            for shard in self._scanner.shards_with_reports
        ]
        listed = await self._list_oldest(lists, limit)
        reads = [
            self._commands.read_record(ordering_key, delivery_id)
            for delivery_id, ordering_key in listed
        ]
        reports, unreadable = [], []
        replies = await self._execute_all(reads)
        for member, read, stored in zip(listed, reads, replies, strict=True):
            if read.reply.cancelled() or read.reply.exception() is not None:
                continue
            delivery_id, ordering_key = member
            if found := self._decode_record(stored, ordering_key, delivery_id):
                # One that an operator replays is reported when it ends again.
                if found.record.state.is_final:
                    reports.append(found.record)
            else:
                remove = self._commands.remove_report(ordering_key, delivery_id)
                unreadable.append(remove)
        await self._execute_all(unreadable)
        reports.sort(key=lambda report: report.updated_at)
        return reports

    async def confirm_reports(self, reports: Sequence[DeliveryRecord]) -> None:
        """Remove reports that a service has received.

        If Redis does not answer, they stay, and `take_reports` returns them again.
        """
        await self._execute_all(
            [
                self._commands.remove_report(report.ordering_key, report.delivery_id)
                for report in reports
            ]
        )

    async def _list_oldest(
        self, commands: Sequence[RedisCommand], limit: int
    ) -> list[tuple[str, str]]:
        """Return the oldest of the delivery ids and ordering keys in the replies."""
        found: list[tuple[float, tuple[str, str]]] = []
        for reply in await self._execute_all(commands):
            members = reply or ()
            for member, time in zip(members[::2], members[1::2], strict=True):
                found.append((float(time), split_member(member)))
        found.sort()
        return [it for _, it in found[:limit]]

    async def _execute_all(self, commands: Sequence[RedisCommand]) -> list[Any]:
        """Send commands; return their replies, None for those that failed."""
        await execute_all(self._client, commands, REPLY_TIMEOUT_SECONDS)
        return [
            None
            if command.reply.cancelled() or command.reply.exception() is not None
            else command.reply.result()
            for command in commands
        ]

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
        recipient: BroadcastRecipient | None,
    ) -> None:
        """End a delivery whose lease is lost, unless another owner has begun a call.

        A Redis that lost its last second may have lost the lease.
        """
        if not result.state.is_final:
            return
        key, token = lease.ordering_key, lease.token
        arguments = key, delivery_id, result, origin, token, recipient
        self._replays.remember_end(*arguments)
        await self._executor.execute(self._commands.end_delivery(*arguments))

    def _remember_put(self, delivery: Delivery, replaced_id: str) -> None:
        """Remember a delivery for a replay, and the end of the one that it replaced."""
        self._replays.remember_put(delivery, replaced_id)
        if not replaced_id:
            return
        key = delivery.ordering_key

        def has_ended(stored: bytes | None) -> bool:
            found = self._decode_record(stored, key, replaced_id)
            return found is not None and found.record.state.is_final

        read = self._commands.read_record(key, replaced_id)
        self._idempotency_keys.expire_if(has_ended, read, replaced_id)
