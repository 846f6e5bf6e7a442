"""Turns replies of Redis that grant or extend a lease into leases and mail.

Mail whose signature is wrong is removed from the mailbox on the way.
"""

import asyncio

from gateway.domain.errors import ForgedEntry
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import Clock
from gateway.domain.update import Envelope
from gateway.mailboxes.delivery_serialization import DELIVERY_MARK
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.commands import CommandFactory
from gateway.mailboxes.redis.executor import CommandExecutor
from gateway.mailboxes.redis.replay_buffer import ReplayBuffer
from gateway.mailboxes.serialization import decode_envelope
from gateway.mailboxes.signatures import Purpose, StoreSignatures


class LeaseReader:
    """Turns replies of Redis that grant or extend a lease into leases and mail.

    Args:
        executor: sends the commands that remove forged mail, or release a lease.
        commands: builds these commands.
        replay_buffer: says whether a replay pause is running, in which no lease may be
            used.
        clock: tells when mail was rejected.
        signatures: verifies mail and user states.
        lease_seconds: how many seconds a lease lasts.
    """

    def __init__(
        self,
        executor: CommandExecutor,
        commands: CommandFactory,
        replay_buffer: ReplayBuffer,
        clock: Clock,
        signatures: StoreSignatures,
        lease_seconds: float,
    ) -> None:
        self._executor = executor
        self._commands = commands
        self._replay_buffer = replay_buffer
        self._clock = clock
        self._signatures = signatures
        self._lease_seconds = lease_seconds

    def make_lease(
        self, command: RedisCommand, token: str, head: Envelope, state: bytes | None
    ) -> MailboxLease | None:
        """Return the lease that a put acquired.

        Returns None if a replay pause has begun since the put was sent; the lease is
        then released.

        Args:
            command: the put; the time at which it was sent determines the end of the
                lease.
            token: the token of the lease.
            head: the first mail of the mailbox.
            state: the stored user state with its signature; None if there is none. A
                forged one is counted and treated as missing.
        """
        ordering_key = head.ordering_key
        if self._replay_buffer.is_paused:  # it began after the command was sent
            self._executor.release_orphaned_lease(ordering_key, token)
            return None
        state = self._signatures.verify_state(ordering_key.encode(), state)
        return MailboxLease(
            ordering_key, token, state, head, self.compute_lease_end(command)
        )

    async def read_put_head(
        self, token: str, envelope: Envelope, stored: bytes
    ) -> Envelope | None:
        """Return the first genuine mail of a mailbox whose lease a put acquired.

        Forged mail before it is moved to the rejected letters. None if there is no
        genuine mail or the lease was lost.

        Args:
            token: the token of the lease.
            envelope: the mail that was put. This object is returned if it is the first.
            stored: the first mail as it is stored in Redis.
        """
        first = await self.read_genuine_mail(envelope.ordering_key, token, stored)
        if first is None:
            return None
        return envelope if is_same_mail(first, envelope) else first

    async def read_genuine_mail(
        self,
        ordering_key: str,
        token: str,
        stored: bytes,
        removed_id: int | None = None,
    ) -> Envelope | None:
        """Return the first genuine mail of a leased mailbox.

        Forged mail before it is counted, logged and moved to the rejected letters.

        Args:
            ordering_key: the ordering key of the mailbox.
            token: the token of our lease.
            stored: the first mail as it is stored in Redis.
            removed_id: the id of the update that was just removed; None if there is
                none. A first mail with the same id is forged: it has another score, so
                that no commit would remove it.

        Returns:
            The first genuine mail. None if there is none, if the lease was lost, or if
            Redis does not answer for as long as a lease lasts.
        """
        while True:
            try:
                envelope = decode_envelope(stored, ordering_key, self._signatures)
            except ForgedEntry:
                pass
            else:
                if envelope.update_id != removed_id:
                    return envelope
            purpose = Purpose.UPDATE
            if stored.startswith(DELIVERY_MARK):
                purpose = Purpose.DELIVERY
            self._signatures.record_forgery(purpose, ordering_key.encode())
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

    def compute_lease_end(self, command: RedisCommand) -> float:
        """Return the end, by `Clock.uptime`, of a lease that a command has started.

        It is counted from before the command was sent. During a replay pause the result
        is 0, so that the owner takes the lease for expired and waits.
        """
        if self._replay_buffer.is_paused:
            return 0.0
        return command.sent_at + self._lease_seconds


def is_same_mail(first: Envelope, second: Envelope) -> bool:
    """Return whether two envelopes carry the same update or the same delivery."""
    if first.delivery is not None and second.delivery is not None:
        return first.delivery.delivery_id == second.delivery.delivery_id
    return first.update_id == second.update_id
