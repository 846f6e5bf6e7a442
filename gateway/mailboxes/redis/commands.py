"""What is asked of Redis: the port's methods as calls of the scripts."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Protocol

from gateway.domain.ports import MailboxLease
from gateway.domain.suspicion import MAX_UNSUSPECTED_LOSSES, SUSPECT_PAUSES
from gateway.domain.update import DeadLetter, Envelope
from gateway.domain.user_state import STATE_TTL
from gateway.mailboxes.redis.keys import ShardKeys, get_shard
from gateway.mailboxes.redis.lua.scripts import Scripts
from gateway.mailboxes.serialization import (
    FORGED_REASON,
    REJECTED_REASONS,
    DeadLetterLimits,
    encode_dead_letter,
    encode_envelope,
)
from gateway.mailboxes.signatures import StoreSignatures

_STATE_TTL = b"%d" % STATE_TTL

_SUSPECT_PAUSES_MS = tuple(round(seconds * 1000) for seconds in SUSPECT_PAUSES)

PROBE_TTL_MS = 1000
"""How long a probe's key lives. Nobody reads it."""

Argument = bytes | str | int


class RedisCommand:
    """Something that is asked of Redis, and its answer.

    Made inside the running event loop.
    """

    __slots__ = ("arguments", "reply", "send_count", "sent_at", "shard")

    def __init__(self, shard: int, arguments: tuple[Argument, ...]) -> None:
        self.shard = shard
        self.arguments = arguments
        self.send_count = 0
        """How often it was sent: beyond 1 an earlier one may have taken effect."""
        self.sent_at = 0.0
        """When it was sent last, by `Clock.uptime`."""
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class RedisClient(Protocol):
    """The way to Redis: one connection, or one to each node of a Cluster."""

    def set_health_callbacks(
        self, on_restart: Callable[[float], None], on_recovery: Callable[[float], None]
    ) -> None:
        """Ask to be told how servers are doing.

        Args:
            on_restart: called when one came back as another process than before, with
                the time of that one's last answer, by `Clock.uptime`.
            on_recovery: called when one does not fail any more, with the seconds for
                which it did.
        """

    def submit(self, command: RedisCommand, *, first: bool = False) -> None:
        """Send a command with the next batch, and repeat it until it is answered.

        Args:
            command: the command.
            first: send it before all that waits to be sent.
        """

    def get_last_answer_time(self, shard: int) -> float:
        """Tell when the server of a shard answered last, by `Clock.uptime`."""

    def is_shard_failing(self, shard: int) -> bool:
        """Tell whether the server of a shard fails."""


def consume_exception(reply: asyncio.Future[Any]) -> None:
    """Take note of an answer that nobody waits for: an error in it is no news."""
    if not reply.cancelled():
        reply.exception()


async def execute_all(
    client: RedisClient, commands: Sequence[RedisCommand], max_seconds: float
) -> None:
    """Send commands and wait for all replies, at most `max_seconds`.

    One node of a Cluster that fails must not keep the answers of the others back. What
    was not answered is cancelled.
    """
    for command in commands:
        client.submit(command)
    replies = [command.reply for command in commands]
    if replies:
        await asyncio.wait(replies, timeout=max_seconds)
    for reply in replies:
        reply.cancel()


class CommandFactory:
    """Builds commands.

    Args:
        scripts: the scripts that are called.
        limit: how many updates a mailbox may hold.
        lease_seconds: how long a claim lasts without being renewed.
        signatures: signs what is stored.
        letters: how many dead letters are kept, and for how long.
    """

    def __init__(
        self,
        scripts: Scripts,
        limit: int,
        lease_seconds: float,
        signatures: StoreSignatures,
        dead_letters: DeadLetterLimits,
    ) -> None:
        self._scripts = scripts
        self._signatures = signatures
        # As bytes, once: to pack a number costs half a microsecond.
        self._mailbox_limit = b"%d" % limit
        self._lease_ms = b"%d" % int(lease_seconds * 1000)
        self._max_updates = b"%d" % dead_letters.max_updates
        self._max_rejected = b"%d" % dead_letters.max_rejected
        self._retention_ms = b"%d" % dead_letters.retention_ms

    def put(
        self, envelope: Envelope, token: str, *, enforce_limit: bool
    ) -> RedisCommand:
        """Append an update; claim the lane if there is a token."""
        return self._call_mailbox_script(
            self._scripts.put.sha,
            envelope.ordering_key,
            *(envelope.update_id, encode_envelope(envelope, self._signatures), token),
            *(self._lease_ms, self._mailbox_limit if enforce_limit else b"0"),
        )

    def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        release: bool,
        dead_letter_reason: str,
        now: float,
    ) -> RedisCommand:
        """Remove a finished update and save the state."""
        ordering_key = lease.ordering_key.encode()
        shard = get_shard(ordering_key)
        stream, max_entries = self._get_dead_letter_stream(shard, dead_letter_reason)
        return RedisCommand(
            shard.number,
            (
                *(b"EVALSHA", self._scripts.commit.sha, b"5"),
                *(shard.mailbox_key(ordering_key), shard.state_key(ordering_key)),
                *(shard.pending, shard.leases, stream),
                *(ordering_key, update_id, lease.token),
                *(self._signatures.sign_state(ordering_key, state), _STATE_TTL),
                b"0" if release else self._lease_ms,
                *(
                    dead_letter_reason,
                    repr(now) if dead_letter_reason else b"",
                    max_entries,
                ),
                self._retention_ms,
            ),
        )

    def acquire(self, ordering_key: str, token: str) -> RedisCommand:
        """Claim a waiting lane."""
        sha = self._scripts.acquire.sha
        return self._call_mailbox_script(
            sha,
            ordering_key,
            token,
            self._lease_ms,
            MAX_UNSUSPECTED_LOSSES,
            *_SUSPECT_PAUSES_MS,
        )

    def record_step(self, lease: MailboxLease, *, running: bool) -> RedisCommand:
        """Note that a step of a suspected update begins or ends."""
        shard = get_shard(lease.ordering_key.encode())
        call = (
            b"EVALSHA",
            self._scripts.record_step.sha,
            2,
            shard.pending,
            shard.leases,
        )
        stage = b"+" if running else b""
        arguments = (lease.ordering_key, lease.token, stage, MAX_UNSUSPECTED_LOSSES)
        return RedisCommand(shard.number, (*call, *arguments))

    def renew(self, shard: ShardKeys, leases: Sequence[MailboxLease]) -> RedisCommand:
        """Extend the leases of claims of one shard."""
        pairs = ((lease.ordering_key, lease.token) for lease in leases)
        return self._call_renew_script(
            shard, self._lease_ms, *chain.from_iterable(pairs)
        )

    def release(self, ordering_key: str, token: str) -> RedisCommand:
        """Give a lane back."""
        return self._call_renew_script(
            get_shard(ordering_key.encode()), 0, ordering_key, token
        )

    def list_claimable(
        self, shard: ShardKeys, limit: int, new_generation: str, *, trim: bool
    ) -> RedisCommand:
        """List the waiting lanes of a shard.

        Args:
            shard: the shard.
            limit: how many at most.
            new_generation: a new marker, for a shard that has none.
            trim: remove the dead letters that have been kept for long enough.
        """
        keys = (
            shard.pending,
            shard.generation,
            shard.dead_letters,
            shard.rejected_letters,
        )
        call = (b"EVALSHA", self._scripts.list_claimable.sha, len(keys), *keys)
        age = self._retention_ms if trim else b"0"
        return RedisCommand(shard.number, (*call, limit, new_generation, age))

    def add_dead_letter(self, dead_letter: DeadLetter) -> RedisCommand:
        """Keep a dead letter."""
        shard = get_shard(dead_letter.ordering_key.encode())
        stream, max_entries = self._get_dead_letter_stream(shard, dead_letter.reason)
        call = (
            b"EVALSHA",
            self._scripts.add_dead_letter.sha,
            b"1",
            stream,
            max_entries,
            self._retention_ms,
        )
        fields = encode_dead_letter(dead_letter, self._signatures)
        return RedisCommand(shard.number, (*call, *fields))

    def reject_forged(
        self, ordering_key: str, token: str, stored: bytes, now: float
    ) -> RedisCommand:
        """Move a forged update to the rejected letters, and ask for the next one."""
        key = ordering_key.encode()
        shard = get_shard(key)
        keys = (
            shard.mailbox_key(key),
            shard.pending,
            shard.leases,
            shard.rejected_letters,
        )
        return RedisCommand(
            shard.number,
            (
                *(b"EVALSHA", self._scripts.reject_forged.sha, b"4", *keys),
                *(key, token, stored, FORGED_REASON, repr(now)),
                *(self._max_rejected, self._retention_ms, self._lease_ms),
            ),
        )

    def probe_shard(self, shard: ShardKeys) -> RedisCommand:
        """Find out whether a shard takes what needs memory."""
        return RedisCommand(
            shard.number, (b"SET", shard.write_probe, b"", b"PX", PROBE_TTL_MS)
        )

    def count_updates(self, ordering_key: str) -> RedisCommand:
        """Count the updates of a lane."""
        key = ordering_key.encode()
        shard = get_shard(key)
        return RedisCommand(shard.number, (b"ZCARD", shard.mailbox_key(key)))

    def remove_update(self, ordering_key: str, update_id: int) -> RedisCommand:
        """Remove an update that was done elsewhere.

        An empty mailbox is left to the next claim of the lane.
        """
        key = ordering_key.encode()
        shard = get_shard(key)
        call = (b"ZREMRANGEBYSCORE", shard.mailbox_key(key))
        return RedisCommand(shard.number, (*call, update_id, update_id))

    def _get_dead_letter_stream(
        self, shard: ShardKeys, reason: str
    ) -> tuple[bytes, bytes]:
        """Return the stream for dead letters with a reason, and how many it keeps."""
        if reason in REJECTED_REASONS:
            return shard.rejected_letters, self._max_rejected
        return shard.dead_letters, self._max_updates

    def _call_mailbox_script(
        self, sha: bytes, ordering_key: str, *arguments: Argument
    ) -> RedisCommand:
        key = ordering_key.encode()
        shard = get_shard(key)
        keys = (
            shard.mailbox_key(key),
            shard.state_key(key),
            shard.pending,
            shard.leases,
        )
        return RedisCommand(
            shard.number, (b"EVALSHA", sha, b"4", *keys, key, *arguments)
        )

    def _call_renew_script(
        self, shard: ShardKeys, lease: bytes | int, *leases: str
    ) -> RedisCommand:
        call = (b"EVALSHA", self._scripts.renew.sha, 2, shard.pending, shard.leases)
        return RedisCommand(shard.number, (*call, lease, *leases))
