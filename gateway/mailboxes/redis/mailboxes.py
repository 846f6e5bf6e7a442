"""Mailboxes in Redis: accepted updates survive the end of any process.

Nearly every method sends one command, mostly a Lua script. A script changes a mailbox
atomically, and only if the caller's token is the token of the current lease. The keys
of a mailbox are described in `keys.py`.

Concurrency: any number of workers, each with any number of tasks. The order of two
calls matters only for the owner of one mailbox, which waits for each call.

- A command whose reply was lost is sent again with the same token until its caller
  gives up. The scripts make the repetition harmless.
- A cancelled caller leaves no lease behind: a release of its token follows its command
  on the same connection.
"""

import asyncio
import contextlib
from collections.abc import Collection, Sequence

from gateway.domain.errors import LeaseLost, StoreError
from gateway.domain.mailbox_lease import LEASE_SECONDS, MailboxLease
from gateway.domain.ports import Clock, PutResult
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.fencing_tokens import make_fencing_tokens
from gateway.mailboxes.redis.broadcast_commands import BroadcastCommandFactory
from gateway.mailboxes.redis.broadcasts import RedisBroadcastStore
from gateway.mailboxes.redis.client.command import (
    RedisClient,
    consume_exception,
    execute_all,
)
from gateway.mailboxes.redis.client.connection import (
    ServerTimeCallback,
    ignore_server_time,
)
from gateway.mailboxes.redis.commands import CommandFactory
from gateway.mailboxes.redis.deliveries import RedisDeliveryStore
from gateway.mailboxes.redis.delivery_commands import DeliveryCommandFactory
from gateway.mailboxes.redis.executor import CommandExecutor
from gateway.mailboxes.redis.keys import RedisKeys, get_shard_number
from gateway.mailboxes.redis.lease_reader import LeaseReader
from gateway.mailboxes.redis.lua.scripts import Scripts
from gateway.mailboxes.redis.mailbox_scanner import MailboxScanner
from gateway.mailboxes.redis.recipients import RedisRecipientIndex
from gateway.mailboxes.redis.replay_buffer import ReplayBuffer
from gateway.mailboxes.serialization import (
    DEFAULT_SHARD_LIMITS,
    DeadLetterLimits,
)
from gateway.mailboxes.signatures import StoreSignatures

_PUT_RESULTS = (PutResult.DUPLICATE, PutResult.STORED, PutResult.FULL)

REDIS_LEASE_PREFIX = "redis-"
"""The prefix of the fencing tokens of leases in Redis. No other token has it."""


class RedisMailboxStore:
    """The `MailboxStore` of all workers that use the same Redis.

    Args:
        client: the connections to Redis.
        keys: the keys in Redis.
        scripts: the scripts, which the client has loaded into Redis.
        clock: measures leases.
        signatures: signs stored entries and verifies them when they are read.
        limit: the maximum number of updates in a mailbox; at least 1.
        put_timeout: after how many seconds without an answer of Redis a put raises
            StoreUnavailable, and so do the other commands that need no lease; None to
            try until the caller gives up.
        lease_seconds: how many seconds a lease lasts without renewal.
        on_server_time: called with the time of Redis at every scan: see
            `ServerTimeCallback`.
        dead_letters: limits on the number and age of dead letters.
    """

    def __init__(  # noqa: PLR0913 - by name, and most have a default
        self,
        client: RedisClient,
        keys: RedisKeys,
        scripts: Scripts,
        clock: Clock,
        signatures: StoreSignatures,
        *,
        limit: int,
        put_timeout: float | None = None,
        lease_seconds: float = LEASE_SECONDS,
        on_server_time: ServerTimeCallback = ignore_server_time,
        dead_letters: DeadLetterLimits = DEFAULT_SHARD_LIMITS,
    ) -> None:
        self._client = client
        self._signatures = signatures
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._commands = CommandFactory(
            keys, scripts, limit, lease_seconds, signatures, dead_letters
        )
        self._executor = CommandExecutor(
            client, self._commands, clock, put_timeout, lease_seconds
        )
        self._replay_buffer = ReplayBuffer(client, self._commands, clock, put_timeout)
        self._scanner = MailboxScanner(
            client, self._commands, self._replay_buffer, clock, on_server_time
        )
        self._leases = LeaseReader(
            self._executor,
            self._commands,
            self._replay_buffer,
            clock,
            signatures,
            lease_seconds,
        )
        self._tokens = make_fencing_tokens(REDIS_LEASE_PREFIX)
        self.deliveries = RedisDeliveryStore(
            client,
            self._executor,
            DeliveryCommandFactory(
                keys, scripts, limit, lease_seconds, signatures, dead_letters
            ),
            self._leases,
            scanner=self._scanner,
            replay_buffer=self._replay_buffer,
            clock=clock,
            signatures=signatures,
            tokens=self._tokens,
        )
        """The deliveries in these mailboxes."""
        self.broadcasts = RedisBroadcastStore(
            client,
            self._executor,
            BroadcastCommandFactory(keys, scripts, limit, lease_seconds, signatures),
            self._leases,
            replay_buffer=self._replay_buffer,
            clock=clock,
            signatures=signatures,
            tokens=self._tokens,
        )
        """The broadcasts whose deliveries go into these mailboxes."""
        self.recipients = RedisRecipientIndex(client, self._executor, keys, signatures)
        """The users to whom deliveries may go."""

    @property
    def in_memory(self) -> int:
        """Always 0: every accepted update survives the end of this process."""
        return 0

    @property
    def longest_wait(self) -> float:
        """For how many seconds the mailbox that waited longest had been claimable.

        The value is that of this worker's last scan; 0 if no mailbox was claimable.
        """
        return self._scanner.longest_wait

    @property
    def mailbox_count(self) -> int:
        """The number of mailboxes with updates, of all workers, at the last scan."""
        return self._scanner.mailbox_count

    @property
    def dead_letter_count(self) -> int:
        """The number of dead letters at the last scan, without rejected bodies."""
        return self._scanner.dead_letter_count

    @property
    def rejected_count(self) -> int:
        """The number of malformed or forged bodies at the last scan."""
        return self._scanner.rejected_count

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Store an update in its mailbox. See `MailboxStore.put`.

        During a replay pause no lease is acquired.
        """
        token = (
            next(self._tokens) if acquire and not self._replay_buffer.is_paused else ""
        )
        command = self._commands.put(envelope, token, enforce_limit=enforce_limit)
        reply = await self._executor.execute(
            command, envelope.ordering_key, token, has_timeout=True
        )
        if isinstance(reply, int):
            result = _PUT_RESULTS[reply]
            # A repeated put may find the update that it stored itself.
            if result is PutResult.STORED or (
                result is PutResult.DUPLICATE and command.send_count > 1
            ):
                self._replay_buffer.add(
                    (envelope.ordering_key, envelope.update_id), envelope, command.shard
                )
            return result
        self._replay_buffer.add(
            (envelope.ordering_key, envelope.update_id), envelope, command.shard
        )
        head: Envelope | None = envelope
        if len(reply) > 1:
            head = await self._leases.read_put_head(token, envelope, reply[1])
        if head is None:
            return PutResult.STORED
        lease = self._leases.make_lease(command, token, head, reply[0])
        return lease or PutResult.STORED

    async def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        dead_letter_reason: str | None = None,
        release: bool = False,
    ) -> Envelope | None:
        """Remove a finished update and save the state. See `MailboxStore.commit`.

        While Redis does not answer, the commit is sent again. During a replay pause the
        lease is released, and the result is None.
        """
        command = self._commands.commit(
            lease,
            update_id,
            state,
            release=release,
            dead_letter_reason=dead_letter_reason,
            now=self._clock.now() if dead_letter_reason else 0.0,
        )
        reply = await self._executor.execute(command)
        # 2 means that this commit has already taken effect. That is possible only if
        # it was sent more than once.
        if reply == 0 or (reply == 2 and command.send_count == 1):
            raise LeaseLost("the lease's token is not the mailbox's current one")
        self._replay_buffer.remove((lease.ordering_key, update_id), command.shard)
        if not isinstance(reply, bytes):
            return None
        if self._replay_buffer.is_paused:  # an update with a lower id may be replayed
            self._executor.release_orphaned_lease(lease.ordering_key, lease.token)
            return None
        lease.expires_at = self._leases.compute_lease_end(command)
        return await self._leases.read_genuine_mail(
            lease.ordering_key, lease.token, reply, update_id
        )

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Extend leases, and return those that were lost. See `MailboxStore.renew`."""
        by_shard: dict[int, list[MailboxLease]] = {}
        for lease in leases:
            by_shard.setdefault(get_shard_number(lease.ordering_key), []).append(lease)
        requests = [
            (self._commands.renew(shard, of_shard), of_shard)
            for shard, of_shard in by_shard.items()
        ]
        # A third of the lease, so that renewal is tried three times before it expires.
        max_seconds = self._lease_seconds / 3
        await execute_all(
            self._client, [command for command, _ in requests], max_seconds
        )
        lost: list[MailboxLease] = []
        for command, of_shard in requests:
            if command.reply.cancelled():  # unanswered: neither renewed nor lost
                continue
            lost_indexes = set(command.reply.result())
            expires_at = self._leases.compute_lease_end(command)
            for index, lease in enumerate(of_shard):
                if index in lost_indexes:
                    lost.append(lease)
                else:
                    lease.expires_at = expires_at
        return lost

    async def release(self, lease: MailboxLease) -> None:
        """End a lease and keep the updates. See `MailboxStore.release`."""
        command = self._commands.release(lease.ordering_key, lease.token)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._lease_seconds):
                await self._executor.execute(command)

    async def claimable(
        self, limit: int, skipped_bots: Collection[str] = ()
    ) -> Sequence[str]:
        """Scan Redis, and list claimable mailboxes. See `MailboxStore.claimable`.

        Returns none during a replay pause.
        """
        ordering_keys = await self._scanner.find_claimable(limit, skipped_bots)
        return [] if self._replay_buffer.is_paused else ordering_keys

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Acquire the lease of a claimable mailbox. See `MailboxStore.acquire`.

        Returns None during a replay pause. Forged mail at the head is rejected first.
        """
        if self._replay_buffer.is_paused:
            return None
        token = next(self._tokens)
        command = self._commands.acquire(ordering_key, token)
        try:
            async with asyncio.timeout(self._lease_seconds):
                reply = await self._executor.execute(command, ordering_key, token)
        except TimeoutError:
            return None
        if isinstance(reply, int):
            return None
        if self._replay_buffer.is_paused:  # it began after the command was sent
            self._executor.release_orphaned_lease(ordering_key, token)
            return None
        state, stored, losses, crashes = reply
        head = await self._leases.read_genuine_mail(ordering_key, token, stored)
        if head is None:
            return None
        if not _is_stored_form(stored, head):
            losses = crashes = 0  # they belong to an update that was rejected
        expires_at = self._leases.compute_lease_end(command)
        state = self._signatures.verify_state(ordering_key.encode(), state)
        return MailboxLease(
            ordering_key,
            token,
            state,
            head,
            expires_at,
            owner_losses=losses,
            owner_crashes=crashes,
        )

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Record a step of a suspected update. See `MailboxStore.record_step`.

        Waits at most a third of a lease for Redis, and ignores its failures.
        """
        command = self._commands.record_step(lease, running=running)
        with contextlib.suppress(TimeoutError, StoreError):
            async with asyncio.timeout(self._lease_seconds / 3):
                await self._executor.execute(command)

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Store a dead letter that was never in a mailbox.

        If a reply is lost, the dead letter may be stored twice.

        Raises:
            StoreUnavailable: Redis does not answer or is full.
        """
        command = self._commands.add_dead_letter(dead_letter)
        await self._executor.execute(command, has_timeout=True)

    async def find_writable_shards(self, shards: Collection[int]) -> Collection[int]:
        """Write to each of these shards, and return those that accepted the write.

        A shard that is full, or does not answer in time, is left out.
        """
        commands = [self._commands.probe_shard(shard) for shard in shards]
        await execute_all(self._client, commands, self._lease_seconds / 3)
        for command in commands:
            consume_exception(command.reply)
        return [
            command.shard
            for command in commands
            if not command.reply.cancelled() and command.reply.exception() is None
        ]

    async def has_updates(self, ordering_key: str) -> bool:
        """Return whether a mailbox in Redis has any mail.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        command = self._commands.count_updates(ordering_key)
        return bool(await self._executor.execute(command, has_timeout=True))

    async def remove_update(self, ordering_key: str, update_id: int) -> None:
        """Remove an update that was finished from memory while Redis failed.

        It needs no lease, because no owner of the mailbox may process the update again.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        command = self._commands.remove_update(ordering_key, update_id)
        await self._executor.execute(command, has_timeout=True)

    def fail_pending_puts(self, shards: Collection[int]) -> None:
        """Let unanswered puts into these shards raise StoreUnavailable now.

        The same holds for other commands with a timeout.
        """
        self._executor.fail_pending(shards)


def _is_stored_form(stored: bytes, envelope: Envelope) -> bool:
    """Return whether these bytes begin with the id of an update or delivery."""
    if envelope.delivery is None:
        return stored.startswith(b"%d " % envelope.update_id)
    return stored.startswith(b"d%b " % envelope.delivery.delivery_id.encode())
