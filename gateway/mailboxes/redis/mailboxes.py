"""Mailboxes in Redis: what was put survives the end of any process.

Each method is one command, nearly all of them scripts; the changes of a lane are atomic
in Redis, under the token of its claim. What a lane consists of is told in `keys.py`.

Concurrency: any number of workers, and in each any number of tasks. Nothing is kept
here but the connection; two calls never depend on each other's order, save those of one
owner for its own lane, which waits for each.

- A command whose answer was lost is sent again under its token until its caller gives
  up. There is no unknown outcome for anybody else.
- A cancelled caller can leave no claim behind: a release of its token follows its
  command on the same connection.
"""

import asyncio
import contextlib
from collections.abc import Collection, Sequence

from gateway.domain.errors import ForgedEntry, LeaseLost, StoreError
from gateway.domain.ports import LEASE_SECONDS, Clock, MailboxLease, PutResult
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.fencing_tokens import FencingTokenFactory
from gateway.mailboxes.redis.commands import (
    CommandFactory,
    RedisClient,
    RedisCommand,
    consume_exception,
    execute_all,
)
from gateway.mailboxes.redis.executor import CommandExecutor
from gateway.mailboxes.redis.keys import ALL_SHARDS, ShardKeys, get_shard
from gateway.mailboxes.redis.lua.scripts import Scripts
from gateway.mailboxes.redis.mailbox_scanner import MailboxScanner
from gateway.mailboxes.redis.replay_buffer import ReplayBuffer
from gateway.mailboxes.redis.store_clock import ServerTimeCallback, ignore_server_time
from gateway.mailboxes.serialization import (
    DEFAULT_SHARD_LIMITS,
    DeadLetterLimits,
    decode_envelope,
)
from gateway.mailboxes.signatures import Purpose, StoreSignatures

_PUT_RESULTS = (PutResult.DUPLICATE, PutResult.STORED, PutResult.FULL)


class RedisMailboxStore:
    """The `MailboxStore` of all workers that use the same Redis.

    Args:
        transport: the way to Redis.
        scripts: the scripts that the transport loads.
        clock: measures leases.
        signatures: signs what is stored, and verifies what comes back.
        limit: how many updates a mailbox may hold; at least 1.
        patience: for how many seconds a put or a bury is tried. None: until the caller
            gives up.
        lease_seconds: how long a claim lasts without being renewed.
        learn_time: is told the time of Redis at every sweep.
        letters: how many dead letters are kept, and for how long.
    """

    def __init__(  # noqa: PLR0913 - by name, and most have a default
        self,
        client: RedisClient,
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
            scripts, limit, lease_seconds, signatures, dead_letters
        )
        self._executor = CommandExecutor(
            client, self._commands, clock, put_timeout, lease_seconds
        )
        self._replay_buffer = ReplayBuffer(client, self._commands, clock, put_timeout)
        self._scanner = MailboxScanner(
            client, self._commands, self._replay_buffer, clock, on_server_time
        )
        self._tokens = FencingTokenFactory()

    @property
    def in_memory(self) -> int:
        """None: all of them survive the end of this process."""
        return 0

    @property
    def longest_wait(self) -> float:
        """For how many seconds the lane that waits longest waited at the last sweep."""
        return self._scanner.longest_wait

    @property
    def mailbox_count(self) -> int:
        """How many lanes of all workers had mail at the last sweep."""
        return self._scanner.mailbox_count

    @property
    def dead_letter_count(self) -> int:
        """How many dead letters were kept at the last sweep."""
        return self._scanner.dead_letter_count

    @property
    def rejected_count(self) -> int:
        """How many rejected letters were kept at the last sweep."""
        return self._scanner.rejected_count

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Append an update to its mailbox. See `MailboxStore.put`."""
        token = (
            self._tokens.issue()
            if acquire and not self._replay_buffer.is_paused
            else ""
        )
        command = self._commands.put(envelope, token, enforce_limit=enforce_limit)
        reply = await self._executor.execute_with_timeout(
            command, envelope.ordering_key, token
        )
        if isinstance(reply, int):
            result = _PUT_RESULTS[reply]
            # A repeated put may find what it stored itself.
            if result is PutResult.STORED or (
                result is PutResult.DUPLICATE and command.send_count > 1
            ):
                self._replay_buffer.add(envelope, command.shard)
            return result
        self._replay_buffer.add(envelope, command.shard)
        if self._replay_buffer.is_paused:  # it was asked for before
            self._executor.release_orphaned_lease(envelope.ordering_key, token)
            return PutResult.STORED
        head = envelope
        if len(reply) > 1:
            lowest = await self._read_genuine_update(
                envelope.ordering_key, token, reply[1]
            )
            if lowest is None:
                return PutResult.STORED
            head = envelope if lowest.update_id == envelope.update_id else lowest
        state = self._signatures.verify_state(envelope.ordering_key.encode(), reply[0])
        return MailboxLease(
            envelope.ordering_key, token, state, head, self._compute_lease_end(command)
        )

    async def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        dead_letter_reason: str = "",
        release: bool = False,
    ) -> Envelope | None:
        """Remove an update, save the state, go on. See `MailboxStore.commit`.

        The lease may have run out, as long as nobody else claimed the lane.
        """
        command = self._commands.commit(
            lease,
            update_id,
            state,
            release=release,
            dead_letter_reason=dead_letter_reason,
            now=self._clock.now(),
        )
        reply = await self._executor.execute(command)
        # 2: this commit took effect before, which only a repeated one can have done.
        if reply == 0 or (reply == 2 and command.send_count == 1):
            raise LeaseLost("the claim's token is not the lane's current one")
        self._replay_buffer.remove(lease.ordering_key, update_id, command.shard)
        if not isinstance(reply, bytes):
            return None
        if self._replay_buffer.is_paused:  # a lower one may be on its way
            self._executor.release_orphaned_lease(lease.ordering_key, lease.token)
            return None
        lease.expires_at = self._compute_lease_end(command)
        return await self._read_genuine_update(
            lease.ordering_key, lease.token, reply, update_id
        )

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Extend the leases of these claims. Returns those that were lost."""
        by_shard: dict[ShardKeys, list[MailboxLease]] = {}
        for lease in leases:
            by_shard.setdefault(get_shard(lease.ordering_key.encode()), []).append(
                lease
            )
        requests = [
            (self._commands.renew(shard, of_shard), of_shard)
            for shard, of_shard in by_shard.items()
        ]
        # A third of the lease: it is renewed three times before it runs out.
        max_seconds = self._lease_seconds / 3
        await execute_all(
            self._client, [command for command, _ in requests], max_seconds
        )
        lost: list[MailboxLease] = []
        for command, of_shard in requests:
            if command.reply.cancelled():  # not renewed, but not lost either
                continue
            lost_indexes = set(command.reply.result())
            expires_at = self._compute_lease_end(command)
            for index, lease in enumerate(of_shard):
                if index in lost_indexes:
                    lost.append(lease)
                else:
                    lease.expires_at = expires_at
        return lost

    async def release(self, lease: MailboxLease) -> None:
        """Give a lane back with its mail. Without effect if the claim was lost.

        Nothing is raised if Redis does not answer: the lease runs out then.
        """
        command = self._commands.release(lease.ordering_key, lease.token)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._lease_seconds):
                await self._executor.execute(command)

    async def claimable(self, limit: int) -> Sequence[str]:
        """List lanes with mail that anybody may claim. See `MailboxStore.claimable`."""
        ordering_keys = await self._scanner.find_claimable(limit)
        return [] if self._replay_buffer.is_paused else ordering_keys

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Claim a waiting lane. See `MailboxStore.acquire`."""
        if self._replay_buffer.is_paused:
            return None
        token = self._tokens.issue()
        command = self._commands.acquire(ordering_key, token)
        try:
            async with asyncio.timeout(self._lease_seconds):
                reply = await self._executor.execute(command, ordering_key, token)
        except TimeoutError:
            return None
        if isinstance(reply, int):
            return None
        if self._replay_buffer.is_paused:  # it was asked for before
            self._executor.release_orphaned_lease(ordering_key, token)
            return None
        state, stored, losses, crashes = reply
        head = await self._read_genuine_update(ordering_key, token, stored)
        if head is None:
            return None
        if not stored.startswith(b"%d " % head.update_id):
            losses = crashes = 0  # they were counted for one that was rejected
        expires_at = self._compute_lease_end(command)
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
        """Record a step of a suspected update. See `MailboxStore.record_step`."""
        command = self._commands.record_step(lease, running=running)
        with contextlib.suppress(TimeoutError, StoreError):
            async with asyncio.timeout(self._lease_seconds / 3):
                await self._executor.execute(command)

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Keep a dead letter that never was in a mailbox.

        After a lost answer it may be kept twice.
        """
        command = self._commands.add_dead_letter(dead_letter)
        await self._executor.execute_with_timeout(command)

    def has_granted(self, lease: MailboxLease) -> bool:
        """Tell whether a claim was made here."""
        return self._tokens.has_issued(lease.token)

    async def find_writable_shards(self, shards: Collection[int]) -> Collection[int]:
        """Tell which of these shards take updates."""
        commands = [self._commands.probe_shard(ALL_SHARDS[number]) for number in shards]
        await execute_all(self._client, commands, self._lease_seconds / 3)
        for command in commands:
            consume_exception(command.reply)
        return [
            command.shard
            for command in commands
            if not command.reply.cancelled() and command.reply.exception() is None
        ]

    async def has_updates(self, ordering_key: str) -> bool:
        """Tell whether a lane has mail."""
        return bool(
            await self._executor.execute_with_timeout(
                self._commands.count_updates(ordering_key)
            )
        )

    async def remove_update(self, ordering_key: str, update_id: int) -> None:
        """Remove an update that was done elsewhere."""
        await self._executor.execute_with_timeout(
            self._commands.remove_update(ordering_key, update_id)
        )

    def fail_pending_puts(self, shards: Collection[int]) -> None:
        """Let the puts into these shards fail that still wait for their answer."""
        self._executor.fail_pending(shards)

    async def _read_genuine_update(
        self,
        ordering_key: str,
        token: str,
        stored: bytes,
        removed_id: int | None = None,
    ) -> Envelope | None:
        """Read the head of a mailbox that we claimed; forged ones are rejected first.

        Args:
            ordering_key: the ordering key.
            token: the token of our claim.
            stored: the head as Redis has it.
            removed_id: the id of an update that was removed just now. A head with that
                id lies under a false score, from which no commit would remove it.

        Returns:
            The first genuine update. None: there is none, or the claim was lost.
        """
        while True:
            try:
                envelope = decode_envelope(stored, ordering_key, self._signatures)
            except ForgedEntry:
                pass
            else:
                if envelope.update_id != removed_id:
                    return envelope
            self._signatures.record_forgery(Purpose.MAIL, ordering_key.encode())
            command = self._commands.reject_forged(
                ordering_key, token, stored, self._clock.now()
            )
            try:
                async with asyncio.timeout(self._lease_seconds):
                    reply = await self._executor.execute(command, ordering_key, token)
            except TimeoutError:
                return None
            if not isinstance(reply, bytes):
                return None
            stored = reply

    def _compute_lease_end(self, command: RedisCommand) -> float:
        """Give the end of the lease: counted from before the request was sent.

        While Redis settles it has run out, though it has not: the actor waits then.
        """
        if self._replay_buffer.is_paused:
            return 0.0
        return command.sent_at + self._lease_seconds
