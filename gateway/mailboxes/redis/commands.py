"""What is asked of Redis: the port's methods as calls of the scripts."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Protocol

from gateway.domain.ports import MailboxLease
from gateway.domain.suspicion import MAX_UNSUSPECTED_LOSSES, SUSPECT_PAUSES
from gateway.domain.update import DeadLetter, Envelope
from gateway.domain.user_state import STATE_TTL
from gateway.mailboxes.redis.keys import Shard, shard_of
from gateway.mailboxes.redis.lua.scripts import Scripts
from gateway.mailboxes.serialization import (
    FORGED,
    REJECTED_REASONS,
    DeadLetterLimits,
    encode_envelope,
    encode_letter,
)
from gateway.mailboxes.signatures import StoreSignatures

_KEPT_SECONDS = b"%d" % STATE_TTL

_PAUSES = tuple(round(seconds * 1000) for seconds in SUSPECT_PAUSES)

PROBE_MS = 1000
"""How long a probe's key lives. Nobody reads it."""

Argument = bytes | str | int


class Command:
    """Something that is asked of Redis, and its answer.

    Made inside the running event loop.
    """

    __slots__ = ("arguments", "reply", "sends", "sent", "shard")

    def __init__(self, shard: int, arguments: tuple[Argument, ...]) -> None:
        self.shard = shard
        self.arguments = arguments
        self.sends = 0
        """How often it was sent: beyond 1 an earlier one may have taken effect."""
        self.sent = 0.0
        """When it was sent last, by `Clock.uptime`."""
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Submits(Protocol):
    """The way to Redis: one connection, or one to each node of a Cluster."""

    def listen(
        self, on_restart: Callable[[float], None], on_return: Callable[[float], None]
    ) -> None:
        """Ask to be told how servers are doing.

        Args:
            on_restart: called when one came back as another process than before, with
                the time of that one's last answer, by `Clock.uptime`.
            on_return: called when one does not fail any more, with the seconds for
                which it did.
        """

    def submit(self, command: Command, *, first: bool = False) -> None:
        """Send a command with the next batch, and repeat it until it is answered.

        Args:
            command: the command.
            first: send it before all that waits to be sent.
        """

    def answered(self, shard: int) -> float:
        """Tell when the server of a shard answered last, by `Clock.uptime`."""

    def failing_at(self, shard: int) -> bool:
        """Tell whether the server of a shard fails."""


def look_at(reply: asyncio.Future[Any]) -> None:
    """Take note of an answer that nobody waits for: an error in it is no news."""
    if not reply.cancelled():
        reply.exception()


async def ask_all(
    transport: Submits, commands: Sequence[Command], within: float
) -> None:
    """Send commands, and wait until all are answered, but not longer than `within`.

    One node of a Cluster that fails must not keep the answers of the others back. What
    was not answered is cancelled.
    """
    for command in commands:
        transport.submit(command)
    replies = [command.reply for command in commands]
    if replies:
        await asyncio.wait(replies, timeout=within)
    for reply in replies:
        reply.cancel()


class Commands:
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
        self._limit = b"%d" % limit
        self._lease = b"%d" % int(lease_seconds * 1000)
        self._most_updates = b"%d" % dead_letters.updates
        self._most_rejected = b"%d" % dead_letters.rejected
        self._retention = b"%d" % dead_letters.milliseconds

    def put(self, envelope: Envelope, token: str, *, enforce_limit: bool) -> Command:
        """Append an update; claim the lane if there is a token."""
        return self._on_lane(
            self._scripts.put.sha,
            envelope.ordering_key,
            *(envelope.update_id, encode_envelope(envelope, self._signatures), token),
            *(self._lease, self._limit if enforce_limit else b"0"),
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
    ) -> Command:
        """Remove a finished update and save the state."""
        ordering_key = lease.ordering_key.encode()
        shard = shard_of(ordering_key)
        stream, most = self._stream_of(shard, dead_letter_reason)
        return Command(
            shard.number,
            (
                *(b"EVALSHA", self._scripts.commit.sha, b"5"),
                *(shard.mail(ordering_key), shard.state(ordering_key)),
                *(shard.pending, shard.claims, stream),
                *(ordering_key, update_id, lease.token),
                *(self._signatures.seal_state(ordering_key, state), _KEPT_SECONDS),
                b"0" if release else self._lease,
                *(dead_letter_reason, repr(now) if dead_letter_reason else b"", most),
                self._retention,
            ),
        )

    def claim(self, ordering_key: str, token: str) -> Command:
        """Claim a waiting lane."""
        sha = self._scripts.claim.sha
        return self._on_lane(
            sha, ordering_key, token, self._lease, MAX_UNSUSPECTED_LOSSES, *_PAUSES
        )

    def step(self, lease: MailboxLease, *, running: bool) -> Command:
        """Note that a step of a suspected update begins or ends."""
        shard = shard_of(lease.ordering_key.encode())
        call = (b"EVALSHA", self._scripts.step.sha, 2, shard.pending, shard.claims)
        stage = b"+" if running else b""
        arguments = (lease.ordering_key, lease.token, stage, MAX_UNSUSPECTED_LOSSES)
        return Command(shard.number, (*call, *arguments))

    def renew(self, shard: Shard, leases: Sequence[MailboxLease]) -> Command:
        """Extend the leases of claims of one shard."""
        pairs = ((lease.ordering_key, lease.token) for lease in leases)
        return self._renew(shard, self._lease, *chain.from_iterable(pairs))

    def release(self, ordering_key: str, token: str) -> Command:
        """Give a lane back."""
        return self._renew(shard_of(ordering_key.encode()), 0, ordering_key, token)

    def waiting(self, shard: Shard, limit: int, marker: str, *, trim: bool) -> Command:
        """List the waiting lanes of a shard.

        Args:
            shard: the shard.
            limit: how many at most.
            marker: a new marker, for a shard that has none.
            trim: remove the dead letters that have been kept for long enough.
        """
        keys = (shard.pending, shard.marker, shard.dead, shard.rejected)
        call = (b"EVALSHA", self._scripts.waiting.sha, len(keys), *keys)
        age = self._retention if trim else b"0"
        return Command(shard.number, (*call, limit, marker, age))

    def add_dead_letter(self, dead_letter: DeadLetter) -> Command:
        """Keep a dead letter."""
        shard = shard_of(dead_letter.ordering_key.encode())
        stream, most = self._stream_of(shard, dead_letter.reason)
        call = (
            b"EVALSHA",
            self._scripts.add_dead_letter.sha,
            b"1",
            stream,
            most,
            self._retention,
        )
        fields = encode_letter(dead_letter, self._signatures)
        return Command(shard.number, (*call, *fields))

    def reject(
        self, ordering_key: str, token: str, stored: bytes, now: float
    ) -> Command:
        """Move a forged update to the rejected letters, and ask for the next one."""
        key = ordering_key.encode()
        shard = shard_of(key)
        keys = (shard.mail(key), shard.pending, shard.claims, shard.rejected)
        return Command(
            shard.number,
            (
                *(b"EVALSHA", self._scripts.reject.sha, b"4", *keys),
                *(key, token, stored, FORGED, repr(now)),
                *(self._most_rejected, self._retention, self._lease),
            ),
        )

    def probe(self, shard: Shard) -> Command:
        """Find out whether a shard takes what needs memory."""
        return Command(shard.number, (b"SET", shard.probe, b"", b"PX", PROBE_MS))

    def count(self, ordering_key: str) -> Command:
        """Count the updates of a lane."""
        key = ordering_key.encode()
        shard = shard_of(key)
        return Command(shard.number, (b"ZCARD", shard.mail(key)))

    def withdraw(self, ordering_key: str, update_id: int) -> Command:
        """Remove an update that was done elsewhere.

        An empty mailbox is left to the next claim of the lane.
        """
        key = ordering_key.encode()
        shard = shard_of(key)
        call = (b"ZREMRANGEBYSCORE", shard.mail(key))
        return Command(shard.number, (*call, update_id, update_id))

    def _stream_of(self, shard: Shard, reason: str) -> tuple[bytes, bytes]:
        """Return the stream for dead letters with a reason, and how many it keeps."""
        if reason in REJECTED_REASONS:
            return shard.rejected, self._most_rejected
        return shard.dead, self._most_updates

    def _on_lane(self, sha: bytes, ordering_key: str, *arguments: Argument) -> Command:
        key = ordering_key.encode()
        shard = shard_of(key)
        keys = (shard.mail(key), shard.state(key), shard.pending, shard.claims)
        return Command(shard.number, (b"EVALSHA", sha, b"4", *keys, key, *arguments))

    def _renew(self, shard: Shard, lease: bytes | int, *leases: str) -> Command:
        call = (b"EVALSHA", self._scripts.renew.sha, 2, shard.pending, shard.claims)
        return Command(shard.number, (*call, lease, *leases))
