"""Delivers the updates of a bot, to its webhook or by getUpdates.

Concurrency: one event loop. Adding an update and changing the webhook never wait. The
senders' tasks run from `start` to `stop`; see `webhook_sender.py` for their rules. When
a webhook is replaced, its tasks may still be ending, but they send nothing more.
"""

import asyncio
import json
import random
import time
from itertools import count

import aiohttp
import msgspec

from gateway.sandbox.simulator.delivery import update_types
from gateway.sandbox.simulator.delivery.long_polling import LongPolling
from gateway.sandbox.simulator.delivery.update_queue import PendingUpdate, UpdateQueue
from gateway.sandbox.simulator.delivery.webhook_sender import (
    DeliveryTiming,
    ExecuteReply,
    WebhookSender,
)
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.update_log import UpdateLog, UpdateRow
from gateway.sandbox.simulator.state.webhook import Webhook, drops_pending
from gateway.sandbox.simulator.validation.rules import Parameters

_PUBLISH_SECONDS = 0.2
"""Minimum interval between two events with the webhook's state."""
_IDLE_SECONDS = 60.0
"""How long Telegram keeps a connection open without use."""


def open_session() -> aiohttp.ClientSession:
    """Return an HTTP client that sends requests to webhooks as Telegram does.

    The caller has to close it.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
        headers={"Accept-Encoding": "gzip, deflate"},
        skip_auto_headers=("User-Agent", "Accept"),
    )


class UpdateDelivery:
    """Creates the updates of a bot and delivers them until they are confirmed.

    Args:
        webhook: the settings of the bot's webhook.
        update_log: records each update and its delivery.
        events: where changes of the webhook's state are published.
        timing: the timing of webhook deliveries.
        carry_out: executes the method call in a response of the webhook; gets its
            content type and body.
        bot_id: the id of the bot, for the log.
    """

    def __init__(
        self,
        webhook: Webhook,
        update_log: UpdateLog,
        events: EventStream,
        timing: DeliveryTiming,
        carry_out: ExecuteReply = lambda _, __: None,
        bot_id: int = 0,
    ) -> None:
        self._carry_out = carry_out
        self._bot_id = bot_id
        self._webhook = webhook
        self._update_log = update_log
        self._events = events
        self._timing = timing
        self._queue = UpdateQueue(self._schedule_publish)
        self._polling = LongPolling(webhook, update_log, self._queue)
        # Random, as at Telegram: a developer's service that outlives this process must
        # not mistake a new update for one that it has processed.
        first = random.randrange(10**8, 9 * 10**8)  # noqa: S311 - no secret
        self._update_ids = count(first)
        self._session: aiohttp.ClientSession | None = None
        self._sender: WebhookSender | None = None
        self._ends: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, kind: str, content: Parameters) -> int | None:
        """Create an update, and queue it for delivery.

        Args:
            kind: the update type, such as message.
            content: Telegram's object for this type.

        Returns:
            The update's id; None if there is no update because the bot does not allow
            this type (`allowed_updates`), or because the queue is full, as at Telegram.
        """
        if not self._webhook.wants(kind):
            return None
        update_id, now = next(self._update_ids), time.time()
        pending = PendingUpdate(
            update_id,
            update_types.queue_key(kind, content),
            # ASCII only, as Telegram encodes it.
            json.dumps({"update_id": update_id, kind: content}).encode(),
            now + update_types.lifetime(kind),
            self._bot_id,
        )
        row = UpdateRow(
            update_id=update_id,
            bot_id=self._bot_id,
            kind=kind,
            user_id=update_types.user_id(content),
            chat_id=update_types.chat_id(content),
            title=update_types.title(kind, content),
            sent_at=now,
        )
        if not self._queue.append(pending):
            return None
        self._update_log.record(row, pending.body)
        if self._sender:
            self._sender.load()
        self._polling.wake()
        return update_id

    def set_webhook(self, parameters: Parameters) -> None:
        """Execute setWebhook, and deliver the queued updates to the new URL.

        Raises:
            ApiError: the parameters are invalid.
        """
        self._restart(parameters, changed=self._webhook.set(parameters))

    def delete_webhook(self, parameters: Parameters) -> None:
        """Execute deleteWebhook: stop sending; drop queued updates if that is asked."""
        self._restart(parameters, changed=self._webhook.delete())

    async def get_updates(self, parameters: Parameters) -> list[msgspec.Raw]:
        """Execute getUpdates, which may wait for an update.

        Raises:
            ApiError: there is a webhook, another getUpdates call came meanwhile, or the
                token was revoked.
        """
        return await self._polling.get_updates(parameters)

    def revoke_token(self) -> None:
        """Remove the webhook, end waiting getUpdates calls, keep the queued updates."""
        self._stop()
        self._webhook.reset()
        self._polling.revoke()
        self._schedule_publish()

    def start(self, session: aiohttp.ClientSession) -> None:
        """Deliver updates whenever there is a webhook, until `stop` is called.

        Args:
            session: the HTTP client, from `open_session`.
        """
        self._session = session
        self._start()

    async def stop(self) -> None:
        """Cancel the requests to the webhook; updates not yet accepted stay queued."""
        self._stop()
        self._session = None
        if self._timer:
            self._timer.cancel()
            self._timer = None
        await asyncio.gather(*self._ends)
        self._ends.clear()

    def _restart(self, parameters: Parameters, *, changed: bool) -> None:
        dropped = drops_pending(parameters)
        if changed or dropped:
            self._stop()
        if dropped:
            for pending in self._queue.clear():
                self._update_log.drop(pending.update_id, pending.bot_id)
        if changed or dropped:
            self._start()
        self._polling.wake()
        self._publish_status()

    def _start(self) -> None:
        if self._session and self._webhook.url:
            self._sender = WebhookSender(
                self._webhook,
                self._queue,
                self._update_log,
                failed=self._failed,
                carry_out=self._carry_out,
                session=self._session,
                timing=self._timing,
            )
            self._sender.load()

    def _stop(self) -> None:
        if self._sender:
            end = asyncio.create_task(self._sender.stop(), name="end of a sender")
            self._ends.add(end)
            end.add_done_callback(self._ended)
            self._sender = None

    def _ended(self, end: asyncio.Task[None]) -> None:
        # Keep a task that failed, so that `stop` raises its exception.
        if end.cancelled() or not end.exception():
            self._ends.discard(end)

    def _failed(self, words: str) -> None:
        self._webhook.fail(words)
        self._schedule_publish()

    def _schedule_publish(self) -> None:
        self._webhook.info["pending_update_count"] = len(self._queue)
        if self._events.has_listeners and not self._timer:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_PUBLISH_SECONDS, self._publish_status)

    def _publish_status(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._events.publish("webhook", webhook=self._webhook.info)
