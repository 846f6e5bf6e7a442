"""Tells all workers that a user cancelled a streamed reply, via Redis Pub/Sub.

The update that cancels is also put into the user's mailbox, so that the user's updates
stay in order. The cancellation itself must not wait until that update is processed.
Redis stores nothing of a channel: a worker that is not subscribed at that moment
finishes its stream.

Concurrency: one task receives on a connection of its own, because a subscribed
connection cannot do anything else; another task pings it. Both end with the block, and
after a failure the channel is subscribed to again. A cancellation is sent with the next
batch of the mailboxes' connection.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Self

from anyio import CancelScope, create_task_group
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoPermissionError

from gateway.background import BackgroundTask, BackgroundTasks, cancel_and_wait
from gateway.mailboxes.redis.client.command import (
    RedisClient,
    RedisCommand,
    consume_exception,
)
from gateway.mailboxes.redis.client.connection_factory import ConnectionFactory
from gateway.mailboxes.redis.keys import get_shard_number
from gateway.mailboxes.signatures import SIGNATURE_BYTES, Purpose, StoreSignatures
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 1.0
"""The timeout of a connection attempt, and of a cancellation on its way to Redis."""

RECONNECT_SECONDS = 1.0
"""The delay before the next connection attempt. Jitter shortens it by up to a half, so
that workers do not reconnect at the same moment."""

PING_SECONDS = 10.0
"""The interval between pings: a connection may break without any notice."""

CancellationListener = Callable[[str, int], None]


class LocalCancellationBus:
    """A `CancellationBus` that tells only the listeners of this worker."""

    def __init__(self) -> None:
        self._listeners: list[CancellationListener] = []

    def subscribe(self, listener: CancellationListener) -> None:
        """Register a function to call at all cancellations; it cannot be unregistered.

        Args:
            listener: called with the ordering key of the user and the id of the draft.
        """
        self._listeners.append(listener)

    def publish(self, ordering_key: str, draft_id: int) -> None:
        """Call all listeners at once, with these arguments."""
        for listener in self._listeners:
            listener(ordering_key, draft_id)


class RedisCancellationBus(LocalCancellationBus):
    """The `CancellationBus` of all workers with the same Redis channel.

    It receives from other workers within an `async with`. While it cannot, because
    Redis fails or does not permit the channel, cancellations reach only this worker.

    Args:
        channel: the name of the channel. All numbered databases of a server share their
            channels.
        make_connection: makes a connection, not yet connected, to a server that
            answers.
        client: sends the cancellations.
        signatures: signs our cancellations and verifies those of other workers.
        background: runs the task that receives cancellations.
    """

    def __init__(
        self,
        channel: bytes,
        make_connection: ConnectionFactory,
        client: RedisClient,
        signatures: StoreSignatures,
        background: BackgroundTasks,
    ) -> None:
        super().__init__()
        self._channel = channel
        self._signatures = signatures
        self._background = background
        self._make_connection = make_connection
        self._client = client
        self._task: BackgroundTask
        self.subscribed = asyncio.Event()
        """Set while this worker receives the cancellations of other workers."""
        self._is_permitted: bool | None = None
        """Whether Redis permits this worker to use the channel; None if unknown."""

    async def __aenter__(self) -> Self:
        """Start to receive in the background, without waiting for the subscription."""
        self._task = self._background.start(
            "listen for cancellations", self._keep_listening
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop receiving from other workers, and close the connection."""
        await cancel_and_wait(self._task)

    def publish(self, ordering_key: str, draft_id: int) -> None:
        """Call the listeners of this worker at once, and tell the other workers.

        Nothing is sent if this worker has not been able to subscribe to the channel,
        because Redis would refuse it. Does not wait for Redis; its failures are
        ignored.
        """
        super().publish(ordering_key, draft_id)
        if not self._is_permitted:
            # The client would repeat a refused command and so delay the mailboxes.
            return
        key, number = ordering_key.encode(), b"%d" % draft_id
        signature = self._signatures.sign(Purpose.CANCELLATION, key, number)
        message = b"%b%b %b" % (signature, number, key)
        command = RedisCommand(
            get_shard_number(ordering_key), (b"PUBLISH", self._channel, message)
        )
        self._client.submit(command)
        # Nothing awaits the reply, and a late cancellation is of no use.
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
                    logger.warning("cancellation_channel_refused")
                self._is_permitted = False
            except Exception as error:  # noqa: BLE001 - the next connection may work
                logger.debug(
                    "cancellation_channel_failed",
                    extra={"error": summarize_error(error)},
                )
            finally:
                self.subscribed.clear()
                with CancelScope(shield=True):
                    await connection.disconnect(nowait=True)
            await asyncio.sleep(RECONNECT_SECONDS * random.uniform(0.5, 1))  # noqa: S311 - jitter

    async def _subscribe_and_receive(self, connection: AbstractConnection) -> None:
        """Subscribe to the channel and receive messages until something fails."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
            await connection.send_command("SUBSCRIBE", self._channel)
            await connection.read_response()
        self._is_permitted = True
        self.subscribed.set()
        async with create_task_group() as group:
            group.start_soon(_keep_pinging, connection)
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
        """Notify the listeners of this worker, unless the message is forged."""
        signature, content = message[:SIGNATURE_BYTES], message[SIGNATURE_BYTES:]
        draft_id, _, ordering_key = content.partition(b" ")
        if self._signatures.verify(
            Purpose.CANCELLATION, ordering_key, signature, draft_id
        ):
            super().publish(ordering_key.decode(), int(draft_id))
        else:
            self._signatures.record_forgery(Purpose.CANCELLATION, ordering_key)


async def _keep_pinging(connection: AbstractConnection) -> None:
    while True:
        await asyncio.sleep(PING_SECONDS)
        await connection.send_command("PING")
