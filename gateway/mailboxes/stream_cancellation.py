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
from gateway.logs import describe
from gateway.mailboxes.redis.client.connection_factory import Connect
from gateway.mailboxes.redis.commands import Command, Submits, look_at
from gateway.mailboxes.redis.keys import shard_number
from gateway.mailboxes.signatures import SIGNATURE_BYTES, Purpose, StoreSignatures

logger = logging.getLogger(__name__)

CHANNEL = b"telegram-gateway:stops"
"""Of all workers that use the same Redis. In a Cluster any node passes it on, and the
number of a database makes no difference."""

ANSWER_SECONDS = 1.0
"""How long Redis has for the connection, and a stop to get to Redis."""

AGAIN_SECONDS = 1.0
"""Before the next attempt to connect; may be cut by half, so that workers spread."""

PING_SECONDS = 10.0
"""How often the connection is tried out. A connection may die without a word."""

Stop = Callable[[str, int], None]


class LocalStops:
    """Stops of a gateway that has one worker."""

    def __init__(self) -> None:
        self._listeners: list[Stop] = []

    def subscribe(self, stop: Stop) -> None:
        """Ask to be told of every stop."""
        self._listeners.append(stop)

    def publish(self, ordering_key: str, draft_id: int) -> None:
        """Tell everybody."""
        for stop in self._listeners:
            stop(ordering_key, draft_id)


class RedisStops(LocalStops):
    """Stops of all workers that use the same Redis, inside of an `async with` block.

    Args:
        connect: makes a connection to a server that answers, not yet connected.
        transport: takes the stops.
        signatures: signs stops, and verifies those of other workers.
        background: runs the task that listens.
    """

    def __init__(
        self,
        connect: Connect,
        transport: Submits,
        signatures: StoreSignatures,
        background: BackgroundTasks | None = None,
    ) -> None:
        super().__init__()
        self._signatures = signatures
        self._background = background or BackgroundTasks()
        self._connect = connect
        self._transport = transport
        self._task: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()
        """Set while stops of other workers get here."""
        self._permitted: bool | None = None
        """Redis lets this worker use the channel. None: it has not said yet."""

    async def __aenter__(self) -> Self:
        """Start to listen."""
        self._task = self._background.start("listen for stops", self._run)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def publish(self, ordering_key: str, draft_id: int) -> None:
        """Tell everybody: those of this worker at once."""
        super().publish(ordering_key, draft_id)
        if not self._permitted:
            # What Redis refuses would be repeated, and hold up the mailboxes.
            return
        key, number = ordering_key.encode(), b"%d" % draft_id
        signature = self._signatures.sign(Purpose.STOP, key, number)
        message = b"%b%b %b" % (signature, number, key)
        command = Command(shard_number(ordering_key), (b"PUBLISH", CHANNEL, message))
        self._transport.submit(command)
        # Nobody waits for it; later it would be of no use.
        command.reply.add_done_callback(look_at)
        loop = asyncio.get_running_loop()
        loop.call_later(ANSWER_SECONDS, command.reply.cancel)

    async def _run(self) -> None:
        while True:
            connection = self._connect()
            try:
                await self._serve(connection)
            except NoPermissionError:
                if self._permitted is not False:
                    logger.warning("stops reach one worker: redis refuses the channel")
                self._permitted = False
            except Exception as error:  # noqa: BLE001 - the next connection may work
                logger.debug("stops not heard", extra={"error": describe(error)})
            finally:
                self.listening.clear()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(AGAIN_SECONDS * random.uniform(0.5, 1))  # noqa: S311 - jitter

    async def _serve(self, connection: AbstractConnection) -> None:
        """Listen until something fails."""
        async with asyncio.timeout(ANSWER_SECONDS):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
            await connection.send_command("SUBSCRIBE", CHANNEL)
            await connection.read_response()
        self._permitted = True
        self.listening.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(_ping(connection))
            await self._listen(connection)

    async def _listen(self, connection: AbstractConnection) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as silence:
            while True:
                silence.reschedule(loop.time() + PING_SECONDS + ANSWER_SECONDS)
                kind, *_, message = await connection.read_response()
                if kind == b"message":
                    self._hear(message)

    def _hear(self, message: bytes) -> None:
        """Pass on a stop of another worker, unless it is forged."""
        signature, stop = message[:SIGNATURE_BYTES], message[SIGNATURE_BYTES:]
        draft_id, _, ordering_key = stop.partition(b" ")
        if self._signatures.verify(Purpose.STOP, ordering_key, signature, draft_id):
            super().publish(ordering_key.decode(), int(draft_id))
        else:
            self._signatures.note_forged(Purpose.STOP, ordering_key)


async def _ping(connection: AbstractConnection) -> None:
    while True:
        await asyncio.sleep(PING_SECONDS)
        await connection.send_command("PING")
