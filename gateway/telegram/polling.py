"""Long polling: fetches updates with getUpdates instead of receiving them at a webhook.

Telegram keeps an update until a later call confirms it, which is a call whose `offset`
is higher than the update's id. The poller confirms an update only when a crash cannot
lose it any more: with Redis, when Redis has stored it; while it is only in memory, when
it is finished. A crash therefore loses no update from memory: Telegram sends the
unfinished ones again. Each call returns at most 100 updates from the offset on, so few
unfinished updates are in memory.

Concurrency: two background tasks, started by the server and cancelled at shutdown. The
first acquires and renews the polling lease, so that only one worker polls. The second
makes the calls, one at a time, and each only after all updates of the previous one are
stored. If two workers poll nevertheless, for example after a pause of one of them, no
update is lost: each confirms only what it has stored, and the mailbox store recognizes
updates that it has already. A failure of either task is logged and counted, and the
task is started again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from gateway.domain.errors import (
    BotApiError,
    CallRejected,
    ConfigurationError,
    StoreUnavailable,
)
from gateway.telegram.bot_api.bot_settings import delete_webhook, get_webhook_info
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.bot_api.updates import MAX_UPDATES, FetchedUpdate

logger = logging.getLogger(__name__)

POLL_SECONDS = 25
"""How long Telegram waits for an update before it answers. Less than the timeout of a
request, so that an answer without updates is not taken for a failure."""

FIRST_UNFINISHED_PAUSE_SECONDS = 0.05
MAX_UNFINISHED_PAUSE_SECONDS = 0.4
"""Limits of the pause before the next call if Telegram returned only unfinished
updates, as it does at once. It doubles each time."""

LEASE_INTERVAL_SECONDS = 1.0
"""The interval at which the lease is renewed, or acquired if another worker has it."""

_FIRST_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 30.0
"""Limits of the pause after a failed call, which doubles each time."""

WEBHOOK_CHECK_SECONDS = 10.0
"""How long the start waits for the Bot API to say whether the bot has a webhook."""

_CONFLICT_STATUS = 409
"""There is a webhook, or another program polls (telegram-bot-api, Client.cpp)."""


class PollingLease(Protocol):
    """The right to poll for a bot, which one of all workers has at a time."""

    async def hold(self) -> bool:
        """Acquire or extend the right to poll; return whether this worker has it.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    async def release(self) -> None:
        """Give up the right to poll if this worker has it, so that another may poll.

        The task that extends it has to be cancelled first.
        """


class Fetch(Protocol):
    """A function that calls getUpdates; see `get_updates`."""

    async def __call__(
        self, *, offset: int | None, limit: int, timeout_seconds: int
    ) -> Sequence[FetchedUpdate]:
        """Confirm the updates before an offset, and return those from there on."""


class UpdatePoller:
    """Fetches the updates of a bot with getUpdates, while this worker may poll.

    Args:
        fetch: calls getUpdates.
        receive: called with the body of each update; the update is stored when it
            returns.
        find_oldest_unfinished: returns the lowest id of the updates that are only in
            memory; None if there are none.
        lease: the right to poll.
        pause: waits for a number of seconds.
        bot_name: the bot's name for logs, or an empty string.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        receive: Callable[[bytes], Awaitable[None]],
        find_oldest_unfinished: Callable[[], int | None],
        lease: PollingLease,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        bot_name: str = "",
    ) -> None:
        self._log_fields = {"bot": bot_name} if bot_name else {}
        self._fetch = fetch
        self._receive = receive
        self._find_oldest_unfinished = find_oldest_unfinished
        self._lease = lease
        self._pause = pause
        self._lease_held = asyncio.Event()
        self._limit = MAX_UPDATES
        """The number of updates to ask for: fewer after a failure, because the link may
        be too slow for so many, or the answer too large."""
        self._next_id: int | None = None
        """The id after the latest received update, or None if no update was received
        since this worker has the lease."""
        self._fetched_ids: frozenset[int] = frozenset()
        """The ids of the received updates that are not confirmed. The next call may
        return them again, but no other update that was received."""
        self._unfinished_pause = FIRST_UNFINISHED_PAUSE_SECONDS
        self.problem: str | None = None
        """The problem that an operator has to fix, or None."""

    def deliver_to(self, receive: Callable[[bytes], Awaitable[None]]) -> None:
        """Pass the updates to another function from now on, instead of `receive`."""
        self._receive = receive

    @property
    def is_active(self) -> bool:
        """Whether this worker has the right to poll, as far as it knows."""
        return self._lease_held.is_set()

    @property
    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """The functions that the caller has to run as background tasks, by name."""
        return {"hold polling lease": self._hold_lease, "poll updates": self._poll}

    async def _hold_lease(self) -> None:
        """Acquire the lease as soon as it is free, and renew it."""
        while True:
            try:
                is_held = await self._lease.hold()
            except StoreUnavailable:
                # Nobody else can acquire it now: the worker that has it goes on.
                is_held = self._lease_held.is_set()
            if is_held and not self._lease_held.is_set():
                logger.info("polling_started", extra=self._log_fields)
                self._next_id = None
                self._lease_held.set()
            elif not is_held and self._lease_held.is_set():
                logger.warning("polling_lease_lost", extra=self._log_fields)
                self.problem = None
                self._lease_held.clear()
            await self._pause(LEASE_INTERVAL_SECONDS)

    async def _poll(self) -> None:
        """Fetch updates while this worker has the lease."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            await self._lease_held.wait()
            try:
                await self._poll_once()
            except BotApiError as error:
                self._report_failure(error)
                self._limit = max(1, self._limit // 2)
                retry_after = getattr(error, "retry_after", None) or 0.0
                await self._pause(max(pause, retry_after))
                pause = min(2 * pause, _MAX_PAUSE_SECONDS)
                continue
            except StoreUnavailable as error:
                # Nothing of this call was confirmed, so that it is fetched again.
                logger.warning(
                    "polled_updates_not_stored",
                    extra={"reason": str(error), **self._log_fields},
                )
                await self._pause(pause)
                pause = min(2 * pause, _MAX_PAUSE_SECONDS)
                continue
            pause = _FIRST_PAUSE_SECONDS
            self._limit = min(2 * self._limit, MAX_UPDATES)
            if self.problem is not None:
                logger.info("polling_recovered", extra=self._log_fields)
                self.problem = None

    async def close(self) -> None:
        """Confirm the finished updates at Telegram, and give up the right to poll.

        Call this after polling has stopped and all actors have ended. Otherwise the
        updates of the last call would be fetched and answered again. A failure of
        Telegram is logged; if the store does not answer, the right to poll expires by
        itself.
        """
        if self._fetched_ids and self.is_active:
            try:
                await self._fetch(
                    offset=self._find_offset(), limit=1, timeout_seconds=0
                )
            except BotApiError as error:
                logger.warning(
                    "polling_not_confirmed",
                    extra={"error": str(error), **self._log_fields},
                )
        with contextlib.suppress(StoreUnavailable):
            await self._lease.release()

    async def _poll_once(self) -> None:
        """Make a call, and store its updates.

        Raises:
            BotApiError: the call failed.
            StoreUnavailable: not all updates were stored.
        """
        offset = self._find_offset()
        fetched = await self._fetch(
            offset=offset, limit=self._limit, timeout_seconds=POLL_SECONDS
        )
        new = [it for it in fetched if it.update_id not in self._fetched_ids]
        # The calls start in this order, so that the store gets the updates in order.
        receiving = (self._receive(it.body) for it in new)
        results = await asyncio.gather(*receiving, return_exceptions=True)
        for error in results:
            if error is not None:
                raise error
        known = [it for it in self._fetched_ids if offset is not None and it >= offset]
        self._fetched_ids = frozenset([*known, *(it.update_id for it in fetched)])
        if fetched:
            self._next_id = max(self._fetched_ids) + 1
        if fetched and not new and self._find_oldest_unfinished() is not None:
            # The next call would return the same updates at once.
            await self._pause(self._unfinished_pause)
            self._unfinished_pause = min(
                2 * self._unfinished_pause, MAX_UNFINISHED_PAUSE_SECONDS
            )
        else:
            self._unfinished_pause = FIRST_UNFINISHED_PAUSE_SECONDS

    def _find_offset(self) -> int | None:
        """Return the lowest id that must not be confirmed yet.

        None is Telegram's own: the oldest update that is not confirmed.
        """
        oldest = self._find_oldest_unfinished()
        return self._next_id if oldest is None else oldest

    def _report_failure(self, error: BotApiError) -> None:
        """Log a failure, once for as long as it lasts if an operator has to act."""
        problem = None
        if isinstance(error, CallRejected) and error.status == _CONFLICT_STATUS:
            problem = (
                "getUpdates conflicts with a webhook or with another program that polls"
                " for this bot: see `telegram-gateway webhook info`"
            )
        if problem is None:
            logger.warning(
                "polling_failed", extra={"error": str(error), **self._log_fields}
            )
        elif problem != self.problem:
            logger.warning(
                "polling_conflict", extra={"reason": problem, **self._log_fields}
            )
        self.problem = problem or self.problem


async def free_from_webhook(api: BotApiClient, *, take_over: bool) -> None:
    """Make sure that the bot has no webhook, because a bot with a webhook cannot poll.

    If the Bot API fails or does not answer within `WEBHOOK_CHECK_SECONDS`, nothing
    happens: the poller will report a webhook later.

    Args:
        api: the bot's client.
        take_over: True to delete a webhook; its pending updates are kept for the
            poller. False to raise an error instead.

    Raises:
        ConfigurationError: there is a webhook, and `take_over` is false.
    """
    try:
        async with asyncio.timeout(WEBHOOK_CHECK_SECONDS):
            url = (await get_webhook_info(api)).url
            if url and take_over:
                await delete_webhook(api)
                logger.info("webhook_deleted")
                return
    except (BotApiError, TimeoutError):
        return
    if url:
        problem = f"UPDATES: is poll, but the webhook {url} is set"
        raise ConfigurationError([f"{problem}; --take-over deletes it"])
