"""Executes getUpdates, for a bot without a webhook.

Concurrency: a new call ends the previous one with an error, as at Telegram.
"""

import asyncio
import contextlib
import time

import msgspec

from gateway.sandbox.simulator.delivery.update_queue import PendingUpdate, UpdateQueue
from gateway.sandbox.simulator.state.update_log import UpdateLog
from gateway.sandbox.simulator.state.webhook import Webhook
from gateway.sandbox.simulator.validation.rules import ApiError, Parameters, number

MAX_POLL_SECONDS = 50
"""Maximum wait of a call (telegram-bot-api: Client.h)."""


class LongPolling:
    """Returns the oldest updates of a bot, and removes them when they are confirmed."""

    def __init__(
        self, webhook: Webhook, update_log: UpdateLog, queue: UpdateQueue
    ) -> None:
        self._webhook = webhook
        self._update_log = update_log
        self._queue = queue
        self._calls = 0
        self._revoked = 0
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Let the waiting calls look again, after a change of updates or webhook."""
        self._news.set()
        self._news = asyncio.Event()

    def revoke(self) -> None:
        """End the waiting calls with 401, because their token was revoked."""
        self._revoked = self._calls
        self.wake()

    async def get_updates(self, parameters: Parameters) -> list[msgspec.Raw]:
        """Confirm the updates below `offset`, and return the oldest of the others.

        If there are none, wait for one, up to `timeout` seconds.

        Args:
            parameters: the parameters of the call.

        Raises:
            ApiError: there is a webhook, another call replaced this one, or the token
                was revoked.
        """
        if self._webhook.url:
            raise _conflict(
                "can't use getUpdates method while webhook is active; "
                "use deleteWebhook to delete the webhook first"
            )
        self._webhook.allow(parameters)
        self._confirm(number(parameters.get("offset")))
        self._calls += 1
        this_call = self._calls
        self.wake()
        limit = min(max(number(parameters.get("limit", 100)), 1), 100)
        seconds = min(number(parameters.get("timeout")), MAX_POLL_SECONDS)
        end = time.monotonic() + seconds
        while not (oldest := self._oldest(limit)):
            left = end - time.monotonic()
            if left <= 0:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()
            self._check(this_call)
        for pending in oldest:
            self._update_log.start_attempt(pending.update_id, pending.bot_id)
        return [msgspec.Raw(pending.body) for pending in oldest]

    def _oldest(self, limit: int) -> list[PendingUpdate]:
        """Return the oldest updates, after dropping expired ones."""
        now = time.time()
        oldest = self._queue.oldest(limit)
        while expired := [each for each in oldest if each.expires_at < now]:
            for pending in expired:
                self._queue.remove(pending)
                self._update_log.drop(pending.update_id, pending.bot_id)
            oldest = self._queue.oldest(limit)
        return oldest

    def _check(self, this_call: int) -> None:
        if this_call <= self._revoked:
            raise ApiError("Unauthorized", 401)
        if self._webhook.url:
            raise _conflict("terminated by setWebhook request")
        if this_call != self._calls:
            raise _conflict(
                "terminated by other getUpdates request; "
                "make sure that only one bot instance is running"
            )

    def _confirm(self, offset: int) -> None:
        """Remove updates before an offset; a negative one counts from the end."""
        confirmed: list[PendingUpdate] = []
        if offset > 0:
            confirmed = self._queue.older_than(offset)
        elif offset < 0:
            confirmed = self._queue.oldest(max(len(self._queue) + offset, 0))
        for pending in confirmed:
            self._queue.remove(pending)
            self._update_log.end_attempt(
                pending.update_id, 200, accepted=True, bot_id=pending.bot_id
            )


def _conflict(reason: str) -> ApiError:
    return ApiError(f"Conflict: {reason}", 409)
