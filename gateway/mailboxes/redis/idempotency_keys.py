"""The idempotency keys of deliveries in Redis, by which repeated requests are found."""

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import DecodeError

from gateway.domain.delivery import Delivery
from gateway.domain.errors import IdempotencyKeyReused
from gateway.domain.ports import Clock
from gateway.mailboxes.delivery_serialization import (
    IdempotencyEntry,
    decode_idempotency_entry,
)
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.executor import CommandExecutor
from gateway.mailboxes.redis.idempotency_commands import IdempotencyCommandFactory
from gateway.mailboxes.signatures import Purpose, StoreSignatures


class IdempotencyKeys:
    """Records which request used an idempotency key, for all workers with a Redis.

    Every method that waits raises StoreUnavailable if Redis does not answer.

    Args:
        executor: sends the commands.
        commands: builds the commands.
        clock: the clock that all gateways share.
        signatures: counts entries that no gateway wrote.
    """

    def __init__(
        self,
        executor: CommandExecutor,
        commands: IdempotencyCommandFactory,
        clock: Clock,
        signatures: StoreSignatures,
    ) -> None:
        self._executor = executor
        self._commands = commands
        self._clock = clock
        self._signatures = signatures

    async def claim(self, delivery: Delivery) -> IdempotencyEntry | None:
        """Record that a delivery uses its idempotency key, unless the key is used.

        Returns:
            None if the delivery may be stored, or was stored before, in the mailbox of
            its ordering key. Otherwise the earlier entry of the key: the same request
            was made before, for another ordering key, in whose mailbox the delivery may
            be.

        Raises:
            IdempotencyKeyReused: the key was used with another request.
        """
        claim = self._commands.claim(delivery, self._clock.now())
        if await self._executor.execute(claim, has_timeout=True) is not None:
            return None
        entry = await self.read(delivery.delivery_id)
        if entry is None:
            await self.replace(delivery)
            return None
        if entry.fingerprint != delivery.fingerprint:
            raise IdempotencyKeyReused("the key was used with another request")
        return None if entry.ordering_key == delivery.ordering_key else entry

    async def replace(self, delivery: Delivery) -> None:
        """Record that a delivery uses its key, in place of the earlier entry."""
        command = self._commands.replace(delivery, self._clock.now())
        await self._executor.execute(command, has_timeout=True)

    async def release(self, delivery: Delivery) -> None:
        """Free a key, because the delivery was not stored: any request may use it.

        Has no effect if the key has another entry meanwhile.
        """
        command = self._commands.release(delivery)
        await self._executor.execute(command, has_timeout=True)

    async def read(self, delivery_id: str) -> IdempotencyEntry | None:
        """Return the entry of the key of a delivery; None if there is none.

        An unreadable entry is counted as forged, and treated as missing.
        """
        command = self._commands.read(delivery_id)
        stored = await self._executor.execute(command, has_timeout=True)
        if stored is None:
            return None
        try:
            return decode_idempotency_entry(stored)
        except DecodeError:
            self._signatures.record_forgery(Purpose.DELIVERY_RECORD, b"")
            return None

    def expire(self, delivery_id: str) -> None:
        """Let the entry of an ended delivery expire with its record.

        Does not wait. If it fails, the entry expires later.
        """
        self._executor.submit(self._commands.expire(delivery_id))

    def expire_if(
        self,
        has_ended: Callable[[bytes | None], bool],
        read: RedisCommand,
        delivery_id: str,
    ) -> None:
        """Read a record, and let the entry expire with it if the delivery has ended.

        Does not wait.

        Args:
            has_ended: returns whether the stored bytes are the record of an ended
                delivery.
            read: the command that reads the record.
            delivery_id: the id of the delivery.
        """

        def expire(reply: asyncio.Future[Any]) -> None:
            if reply.cancelled() or reply.exception() is not None:
                return
            if has_ended(reply.result()):
                self.expire(delivery_id)

        read.reply.add_done_callback(expire)
        self._executor.submit(read)
