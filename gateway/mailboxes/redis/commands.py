"""Builds the commands for Redis that concern mailboxes, leases and dead letters.

Most of them call one of the Lua scripts, whose first lines describe the reply.
"""

from collections.abc import Collection, Sequence
from itertools import chain

from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.poison import MAX_UNSUSPECTED_LOSSES, SUSPECT_PAUSES
from gateway.domain.update import DeadLetter, Envelope
from gateway.domain.user_state import STATE_TTL
from gateway.mailboxes.redis.client.command import Argument, RedisCommand
from gateway.mailboxes.redis.keys import RedisKeys, ShardKeys, compute_shard_number
from gateway.mailboxes.redis.lua.scripts import Script, Scripts
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

# Encoded once, because encoding a number costs half a microsecond.
_KEY_COUNTS = tuple(b"%d" % count for count in range(70))

PROBE_TTL_MS = 1000
"""How long the key of a write probe exists. Nothing reads it."""


class CommandFactory:
    """Builds the commands for mailboxes. The caller sends them and reads the replies.

    Args:
        keys: the keys in Redis.
        scripts: the Lua scripts.
        limit: the maximum number of updates in a mailbox.
        lease_seconds: how many seconds a lease lasts without renewal.
        signatures: signs stored entries.
        dead_letters: limits on the number and age of dead letters.
    """

    def __init__(
        self,
        keys: RedisKeys,
        scripts: Scripts,
        limit: int,
        lease_seconds: float,
        signatures: StoreSignatures,
        dead_letters: DeadLetterLimits,
    ) -> None:
        self._keys = keys
        self._scripts = scripts
        self._signatures = signatures
        # Encoded once, as above.
        self._mailbox_limit = b"%d" % limit
        self._lease_ms = b"%d" % int(lease_seconds * 1000)
        self._max_updates = b"%d" % dead_letters.max_updates
        self._max_rejected = b"%d" % dead_letters.max_rejected
        self._retention_ms = b"%d" % dead_letters.retention_ms

    def put(
        self, envelope: Envelope, token: str, *, enforce_limit: bool
    ) -> RedisCommand:
        """Build the command that stores an update in its mailbox: see `put.lua`.

        Args:
            envelope: the update.
            token: the token of the lease to acquire if the mailbox is free; an empty
                string to acquire none.
            enforce_limit: whether to refuse the update if the mailbox is full.
        """
        key = envelope.ordering_key.encode()
        shard, keys = self._find_mailbox(key)
        return call_script(
            self._scripts.put,
            shard,
            keys,
            key,
            envelope.update_id,
            encode_envelope(envelope, self._signatures),
            token,
            self._lease_ms,
            self._mailbox_limit if enforce_limit else b"0",
        )

    def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        release: bool,
        dead_letter_reason: str | None,
        now: float,
    ) -> RedisCommand:
        """Build the command that ends the processing of an update: see `commit.lua`.

        Args:
            lease: see `MailboxStore.commit`, as for the next arguments.
            update_id: see there.
            state: see there.
            release: see there.
            dead_letter_reason: see there.
            now: the time of a dead letter, in seconds since the epoch; otherwise
                unused.
        """
        key = lease.ordering_key.encode()
        shard, keys = self._find_mailbox(key)
        stream, max_entries = shard.dead_letters, self._max_updates
        if dead_letter_reason in REJECTED_REASONS:
            stream, max_entries = shard.rejected_letters, self._max_rejected
        return call_script(
            self._scripts.commit,
            shard,
            (*keys, stream),
            key,
            update_id,
            lease.token,
            self._signatures.sign_state(key, state),
            _STATE_TTL,
            b"0" if release else self._lease_ms,
            b"" if dead_letter_reason is None else dead_letter_reason,
            b"" if dead_letter_reason is None else repr(now),
            max_entries,
            self._retention_ms,
        )

    def acquire(self, ordering_key: str, token: str) -> RedisCommand:
        """Build the command that acquires the lease of a claimable mailbox.

        It also counts lost owners: see `acquire.lua`.

        Args:
            ordering_key: the key of the mailbox.
            token: the token of the lease.
        """
        key = ordering_key.encode()
        shard, keys = self._find_mailbox(key)
        return call_script(
            self._scripts.acquire,
            shard,
            keys,
            key,
            token,
            self._lease_ms,
            MAX_UNSUSPECTED_LOSSES,
            *_SUSPECT_PAUSES_MS,
        )

    def record_step(self, lease: MailboxLease, *, running: bool) -> RedisCommand:
        """Build the command that records a step of a suspected update.

        Args:
            lease: the lease of the mailbox.
            running: True if a step begins; False if it has ended.
        """
        key = lease.ordering_key.encode()
        shard = self._keys.get_shard(key)
        return call_script(
            self._scripts.record_step,
            shard,
            (shard.pending, shard.leases),
            key,
            lease.token,
            b"+" if running else b"",
            MAX_UNSUSPECTED_LOSSES,
        )

    def renew(self, number: int, leases: Sequence[MailboxLease]) -> RedisCommand:
        """Build the command that extends leases: see `renew.lua`.

        The reply has the indexes of those that were lost.

        Args:
            number: the number of the shard to which all these leases belong.
            leases: the leases.
        """
        shard = self._keys.shards[number]
        pairs = ((lease.ordering_key, lease.token) for lease in leases)
        return call_script(
            self._scripts.renew,
            shard,
            (shard.pending, shard.leases),
            self._lease_ms,
            *chain.from_iterable(pairs),
        )

    def release(self, ordering_key: str, token: str) -> RedisCommand:
        """Build the command that ends a lease, if the token is the current one."""
        shard = self._keys.get_shard(ordering_key.encode())
        return call_script(
            self._scripts.renew,
            shard,
            (shard.pending, shard.leases),
            0,
            ordering_key,
            token,
        )

    def list_claimable(
        self,
        number: int,
        limit: int,
        new_generation: str,
        *,
        trim: bool,
        skipped_bots: Collection[str] = (),
    ) -> RedisCommand:
        """Build the command that scans a shard: see `list_claimable.lua`.

        Besides claimable mailboxes the reply has the shard's counts and the time.

        Args:
            number: the number of the shard.
            limit: the maximum number of mailboxes.
            new_generation: a random value to store in the key "generation" if that is
                missing. If this value of a shard changes, Redis was emptied.
            trim: True to remove the dead letters whose retention time is over as well.
            skipped_bots: the ids of bots whose mailboxes are left out.
        """
        shard = self._keys.shards[number]
        return call_script(
            self._scripts.list_claimable,
            shard,
            (
                shard.pending,
                shard.generation,
                shard.dead_letters,
                shard.rejected_letters,
                shard.scheduled,
                shard.reports,
            ),
            limit,
            new_generation,
            self._retention_ms if trim else b"0",
            *skipped_bots,
        )

    def add_dead_letter(self, dead_letter: DeadLetter) -> RedisCommand:
        """Build the command that stores a dead letter that was never in a mailbox."""
        shard = self._keys.get_shard((dead_letter.ordering_key or "").encode())
        stream, max_entries = shard.dead_letters, self._max_updates
        if dead_letter.reason in REJECTED_REASONS:
            stream, max_entries = shard.rejected_letters, self._max_rejected
        return call_script(
            self._scripts.add_dead_letter,
            shard,
            (stream,),
            max_entries,
            self._retention_ms,
            *encode_dead_letter(dead_letter, self._signatures),
        )

    def reject_forged(
        self, ordering_key: str, token: str, stored: bytes, now: float
    ) -> RedisCommand:
        """Build the command that moves forged mail of a leased mailbox elsewhere.

        It goes to the rejected letters, and the reply has the next mail: see
        `reject_forged.lua`.

        Args:
            ordering_key: the key of the mailbox.
            token: the token of the lease.
            stored: the forged bytes, as the mailbox contains them.
            now: the time of the rejection, in seconds since the epoch.
        """
        key = ordering_key.encode()
        shard = self._keys.get_shard(key)
        return call_script(
            self._scripts.reject_forged,
            shard,
            (
                shard.mailbox_key(key),
                shard.pending,
                shard.leases,
                shard.rejected_letters,
            ),
            key,
            token,
            stored,
            FORGED_REASON,
            repr(now),
            self._max_rejected,
            self._retention_ms,
            self._lease_ms,
        )

    def probe_shard(self, number: int) -> RedisCommand:
        """Build the command that tests whether a shard accepts a write.

        It writes a short-lived key, which a full Redis refuses.
        """
        key = self._keys.shards[number].write_probe
        return RedisCommand(number, (b"SET", key, b"", b"PX", PROBE_TTL_MS))

    def count_updates(self, ordering_key: str) -> RedisCommand:
        """Build the command that counts the mail in a mailbox."""
        key = ordering_key.encode()
        shard = self._keys.get_shard(key)
        return RedisCommand(shard.number, (b"ZCARD", shard.mailbox_key(key)))

    def remove_update(self, ordering_key: str, update_id: int) -> RedisCommand:
        """Build the command that removes an update that was finished from memory.

        It needs no lease, because no owner of the mailbox may process the update again.
        If the mailbox is empty after that, the next `acquire` removes its entry among
        the pending ones.
        """
        key = ordering_key.encode()
        shard = self._keys.get_shard(key)
        return RedisCommand(
            shard.number,
            (b"ZREMRANGEBYSCORE", shard.mailbox_key(key), update_id, update_id),
        )

    def _find_mailbox(
        self, ordering_key: bytes
    ) -> tuple[ShardKeys, tuple[bytes, bytes, bytes, bytes]]:
        """Return the shard of a mailbox, and the keys that its scripts expect first."""
        shard = self._keys.shards[compute_shard_number(ordering_key)]
        return shard, (
            shard.mailbox_prefix + ordering_key,
            shard.state_prefix + ordering_key,
            shard.pending,
            shard.leases,
        )


def call_script(
    script: Script, shard: ShardKeys, keys: tuple[bytes, ...], *arguments: Argument
) -> RedisCommand:
    """Return the command that calls a Lua script.

    Args:
        script: the script, which has to be loaded into Redis.
        shard: the shard to which all keys belong.
        keys: the script's KEYS.
        arguments: the script's ARGV.
    """
    call = (b"EVALSHA", script.sha, _KEY_COUNTS[len(keys)], *keys, *arguments)
    return RedisCommand(shard.number, call)
