"""Puts bulk deliveries into the mailboxes of their recipients, at a limited rate.

Bulk deliveries wait outside of the mailboxes, so that replies and other deliveries
never wait behind them. One worker at a time has the lease of the pacer, so one budget
per bot is enough for all workers. Telegram allows a bot about 30 messages per second to
different chats, one per second to the same chat, and 20 per minute to the same group
(Bot API, FAQ, "My bot is hitting limits").

Concurrency: one background task per worker, `run`. A worker that loses the pacer's
lease stops within a second. For that time two may put deliveries into mailboxes, but
none is put there twice.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from gateway.domain.delivery_store import WaitingDelivery
from gateway.domain.errors import StoreError

MIN_TICK_SECONDS = 0.02
"""The minimum interval at which deliveries are put into mailboxes. At a higher rate,
several are put there at once."""

IDLE_SECONDS = 1.0
"""The interval at which this worker acquires or renews the pacer's lease, and looks for
bulk deliveries if there were none."""

MAX_LISTED = 1000
"""The maximum number of waiting deliveries that one request to the store lists."""

PRIVATE_CHAT_SECONDS = 1.0
GROUP_SECONDS = 3.0
"""The minimum seconds between two bulk deliveries to the same private chat, and to the
same group or channel."""

PACER_LEASE_ID = -1
"""The id of the pacer's lease among the leases for polling: no bot has it."""


class BulkStore(Protocol):
    """The part of `DeliveryStore` that the pacer needs; `BulkSource` has it too."""

    async def list_bulk_deliveries(self, limit: int) -> Sequence[WaitingDelivery]:
        """Return at most `limit` bulk deliveries that wait outside of the mailboxes."""

    async def enter_bulk_delivery(self, waiting: WaitingDelivery) -> bool:
        """Put a bulk delivery into its mailbox; return whether it was put there."""


class PacerLease(Protocol):
    """The lease that lets one worker at a time put bulk deliveries into mailboxes."""

    async def hold(self) -> bool:
        """Acquire or renew the lease. Return whether this worker has it."""


class BulkPacer:
    """Puts bulk deliveries into mailboxes while this worker has the pacer's lease.

    Args:
        store: the waiting bulk deliveries.
        lease: decides which worker puts them into mailboxes.
        rate: the maximum number of deliveries per second and bot.
        uptime: returns the seconds of a monotonic clock.
        sleep: waits for a number of seconds.

    Attributes:
        entered: the number of deliveries that this worker has put into mailboxes.
    """

    def __init__(
        self,
        store: BulkStore,
        lease: PacerLease,
        *,
        rate: float,
        uptime: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.entered = 0
        self._store = store
        self._lease = lease
        self._rate = rate
        self._tick = min(max(1 / rate, MIN_TICK_SECONDS), IDLE_SECONDS)
        self._uptime = uptime
        self._sleep = sleep
        self._checks_lease_at = uptime()
        self._queues: dict[str, deque[WaitingDelivery]] = {}
        """The deliveries that were read ahead, by bot."""
        self._budgets: dict[str, _Budget] = {}
        self._blocked_until: dict[str, float] = {}
        """When the next bulk delivery may enter a mailbox, by ordering key."""

    async def run(self) -> None:
        """Put bulk deliveries into mailboxes until this is cancelled.

        While the store does not answer, it is asked again after IDLE_SECONDS.
        """
        while True:
            is_active = False
            try:
                if await self._has_lease():
                    is_active = await self._let_some_in()
                else:
                    self._queues.clear()
            except StoreError:
                pass  # the store has logged it
            await self._sleep(self._tick if is_active else IDLE_SECONDS)

    async def _has_lease(self) -> bool:
        """Return whether this worker has the lease, as of the last second."""
        if self._uptime() >= self._checks_lease_at:
            if not await self._lease.hold():
                return False
            self._checks_lease_at = self._uptime() + IDLE_SECONDS
        return True

    async def _let_some_in(self) -> bool:
        """Let in what the budgets allow. Return whether any deliveries wait."""
        if not self._queues:
            for waiting in await self._store.list_bulk_deliveries(MAX_LISTED):
                bot, _, _ = waiting.ordering_key.partition("/")
                self._queues.setdefault(bot, deque()).append(waiting)
        chosen = [it for bot in tuple(self._queues) for it in self._choose(bot)]
        results = await asyncio.gather(*map(self._store.enter_bulk_delivery, chosen))
        self.entered += sum(results)
        return bool(chosen or self._queues)

    def _choose(self, bot: str) -> list[WaitingDelivery]:
        """Take the deliveries of a bot that may enter now from its queue."""
        now = self._uptime()
        self._blocked_until = {
            key: end for key, end in self._blocked_until.items() if end > now
        }
        budget = self._budgets.get(bot)
        if budget is None:
            budget = self._budgets[bot] = _Budget(self._rate, self._tick, now)
        allowed = budget.count_allowed(now)
        queue = self._queues[bot]
        chosen: list[WaitingDelivery] = []
        postponed: list[WaitingDelivery] = []
        while queue and len(chosen) < allowed:
            waiting = queue.popleft()
            key = waiting.ordering_key
            if key in self._blocked_until:
                postponed.append(waiting)
                continue
            is_group = "/-" in key  # ids of groups and channels are negative
            pause = GROUP_SECONDS if is_group else PRIVATE_CHAT_SECONDS
            self._blocked_until[key] = now + pause
            chosen.append(waiting)
        # Those left are listed again, together with newer ones for other chats.
        queue.extendleft(reversed(postponed if queue else ()))
        if not queue:
            del self._queues[bot]
        budget.spend(len(chosen))
        return chosen


class _Budget:
    """How many deliveries of a bot may enter: a token bucket of two ticks.

    A new bucket is empty, because the pacer that had the lease before has just used its
    own.
    """

    def __init__(self, rate: float, tick: float, now: float) -> None:
        self._rate = rate
        # Ticks are late on a busy machine: what they missed is made up in the next one.
        self._capacity = max(2.0, 2 * tick * rate)
        self._tokens = 0.0
        self._updated_at = now

    def count_allowed(self, now: float) -> int:
        self._tokens += (now - self._updated_at) * self._rate
        self._tokens = min(self._tokens, self._capacity)
        self._updated_at = now
        return int(self._tokens)

    def spend(self, count: int) -> None:
        self._tokens -= count
