"""Tells all workers that a user stopped an answer: through a channel of Redis.

A stop waits for nobody's turn: it goes past the mailboxes, which keep it too, for the
order of the user's updates. Redis keeps nothing of a channel, so a worker that does not
listen in that moment writes its answer to the end.

Concurrency: one task listens on a connection of its own, as a connection that listens
can do nothing else, and one asks now and then whether it still lives. Both end with the
block. A stop is sent with the next batch of the mailboxes' own connection.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Self

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoPermissionError

from gateway.background import BackgroundTasks
from gateway.mailboxes.redis.client.connection_factory import ConnectionFactory
from gateway.mailboxes.redis.commands import (
    RedisClient,
    RedisCommand,
    consume_exception,
)
from gateway.mailboxes.redis.keys import get_shard_number
from gateway.mailboxes.signatures import SIGNATURE_BYTES, Purpose, StoreSignatures
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

CHANNEL = b"telegram-gateway:stops"
"""Of all workers that use the same Redis. In a Cluster any node passes it on, and the
number of a database makes no difference."""

TIMEOUT_SECONDS = 1.0
"""How long Redis has for the connection, and a stop to get to Redis."""

RECONNECT_SECONDS = 1.0
"""Before the next attempt to connect; may be cut by half, so that workers spread."""

PING_SECONDS = 10.0
"""How often the connection is tried out. A connection may die without a word."""

CancellationListener = Callable[[str, int], None]


class LocalCancellationBus:
    """Stops of a gateway that has one worker."""

    def __init__(self) -> None:
        self._listeners: list[CancellationListener] = []

    def subscribe(self, listener: CancellationListener) -> None:
        """Ask to be told of every stop."""
        self._listeners.append(listener)

    def publish(self, ordering_key: str, draft_id: int) -> None:
        """Tell everybody."""
        for listener in self._listeners:
            listener(ordering_key, draft_id)


class RedisCancellationBus(LocalCancellationBus):
    """Stops of all workers that use the same Redis, inside of an `async with` block.

    Args:
        connect: makes a connection to a server that answers, not yet connected.
        transport: takes the stops.
        signatures: signs stops, and verifies those of other workers.
        background: runs the task that listens.
    """

    def __init__(
        self,
        make_connection: ConnectionFactory,
        client: RedisClient,
        signatures: StoreSignatures,
        background: BackgroundTasks | None = None,
    ) -> None:
        super().__init__()
        self._signatures = signatures
        self._background = background or BackgroundTasks()
        self._make_connection = make_connection
        self._client = client
        self._task: asyncio.Task[None] | None = None
        self.subscribed = asyncio.Event()
        """Set while stops of other workers get here."""
        self._is_permitted: bool | None = None
        """Redis lets this worker use the channel. None: it has not said yet."""

    async def __aenter__(self) -> Self:
        """Start to listen."""
        self._task = self._background.start("listen for stops", self._keep_listening)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def publish(self, ordering_key: str, draft_id: int) -> None:
        """Tell everybody: those of this worker at once."""
        super().publish(ordering_key, draft_id)
        if not self._is_permitted:
            # What Redis refuses would be repeated, and hold up the mailboxes.
            return
        key, number = ordering_key.encode(), b"%d" % draft_id
        signature = self._signatures.sign(Purpose.STOP, key, number)
        message = b"%b%b %b" % (signature, number, key)
        command = RedisCommand(
            get_shard_number(ordering_key), (b"PUBLISH", CHANNEL, message)
        )
        self._client.submit(command)
        # Nobody waits for it; later it would be of no use.
        command.reply.add_done_callback(consume_exception)
        loop = asyncio.get_running_loop()
        loop.call_later(TIMEOUT_SECONDS, command.reply.cancel)

    async def _keep_listening(self) -> None:
        while True:
            connection = self._make_connection()
            try:
                await self._subscribe_and_receive(connection)
            except NoPermissionError:
                if self._is_permitted is not False:
                    logger.warning("stops reach one worker: redis refuses the channel")
                self._is_permitted = False
            except Exception as error:  # noqa: BLE001 - the next connection may work
                logger.debug("stops not heard", extra={"error": summarize_error(error)})
            finally:
                self.subscribed.clear()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(RECONNECT_SECONDS * random.uniform(0.5, 1))  # noqa: S311 - jitter

    async def _subscribe_and_receive(self, connection: AbstractConnection) -> None:
        """Listen until something fails."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
            await connection.send_command("SUBSCRIBE", CHANNEL)
            await connection.read_response()
        self._is_permitted = True
        self.subscribed.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(_keep_pinging(connection))
            await self._receive_messages(connection)

    async def _receive_messages(self, connection: AbstractConnection) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as silence:
            while True:
                silence.reschedule(loop.time() + PING_SECONDS + TIMEOUT_SECONDS)
                kind, *_, message = await connection.read_response()
                if kind == b"message":
                    self._publish_received(message)

    def _publish_received(self, message: bytes) -> None:
        """Pass on a stop of another worker, unless it is forged."""
        signature, stop = message[:SIGNATURE_BYTES], message[SIGNATURE_BYTES:]
        draft_id, _, ordering_key = stop.partition(b" ")
        if self._signatures.verify(Purpose.STOP, ordering_key, signature, draft_id):
            super().publish(ordering_key.decode(), int(draft_id))
        else:
            self._signatures.record_forgery(Purpose.STOP, ordering_key)


async def _keep_pinging(connection: AbstractConnection) -> None:
    while True:
        await asyncio.sleep(PING_SECONDS)
        await connection.send_command("PING")
