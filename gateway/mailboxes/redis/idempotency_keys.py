"""The idempotency keys of deliveries in Redis."""

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
    """The idempotency keys that all workers with the same Redis share.

    Args:
        executor: sends the commands.
        commands: builds the commands.
        clock: the clock that all gateways share.
        signatures: counts what no gateway wrote.
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
        """Store the recipient of a key.

        Returns:
            None if it was stored, before or now; the entry of the key if it has another
            recipient, to whose ordering key the delivery may belong.

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
        """Store the recipient of a key in place of another one."""
        command = self._commands.replace(delivery, self._clock.now())
        await self._executor.execute(command, has_timeout=True)

    async def release(self, delivery: Delivery) -> None:
        """Release a key, because nothing was stored: it may be used with any request.

        Has no effect if the key has another entry meanwhile.
        """
        command = self._commands.release(delivery)
        await self._executor.execute(command, has_timeout=True)

    async def read(self, delivery_id: str) -> IdempotencyEntry | None:
        """Return the entry of a key, or None if it was not used."""
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

        Nobody waits for that, because otherwise the entry expires later.
        """
        self._executor.submit(self._commands.expire(delivery_id))

    def expire_if(
        self,
        has_ended: Callable[[bytes | None], bool],
        read: RedisCommand,
        delivery_id: str,
    ) -> None:
        """Let the entry of a delivery expire with its record, if it has ended.

        Args:
            has_ended: returns whether a record is that of an ended delivery.
            read: reads the record.
            delivery_id: the id of the delivery.
        """

        def expire(reply: asyncio.Future[Any]) -> None:
            if reply.cancelled() or reply.exception() is not None:
                return
            if has_ended(reply.result()):
                self.expire(delivery_id)

        read.reply.add_done_callback(expire)
        self._executor.submit(read)
