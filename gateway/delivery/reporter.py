"""Reports how deliveries ended to the service that has a route for such reports.

One worker at a time has the lease for reports, and sends the oldest ones in batches.
A report is removed only after the service has received it, so it may arrive twice: the
worker may be lost in between, or another one may get the lease. A failing service gets
the same reports again, with growing pauses.

Concurrency: one background task per worker, `run`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from botgateway.delivery.v1.delivery_pb2 import DeliveryStatus

from gateway.delivery.records import build_status
from gateway.domain.delivery import DeliveryRecord
from gateway.domain.errors import ServiceError, StoreError
from gateway.domain.message_handles import MessageHandles

logger = logging.getLogger(__name__)

MAX_REPORTS = 100
"""The maximum number of reports in a batch: see `botgateway.route.v1.Route.report`."""

INTERVAL_SECONDS = 1.0
"""The interval at which this worker acquires or renews the lease for reports, and looks
for reports. It is shorter than the lease lasts."""

MAX_PAUSE_SECONDS = 60.0
"""The maximum pause after failures of the service; the pause doubles with each."""

REPORT_LEASE_ID = 0
"""The id of the lease for reports among the leases for polling: no bot has it."""


class ReportStore(Protocol):
    """The part of `DeliveryStore` with the reports that were not received yet."""

    async def take_reports(self, limit: int) -> Sequence[DeliveryRecord]:
        """Return the oldest reports, at most `limit`, without removing them."""

    async def confirm_reports(self, reports: Sequence[DeliveryRecord]) -> None:
        """Remove reports that a service has received."""


class ReportLease(Protocol):
    """The lease that lets one worker at a time send reports."""

    async def hold(self) -> bool:
        """Acquire or renew the lease. Return whether this worker has it."""


class DeliveryReporter:
    """Sends reports while this worker has the lease for reports.

    Args:
        store: the reports of all workers.
        send: sends a batch to the service; raises ServiceError.
        handles: makes the signed handles of sent messages.
        lease: decides which worker sends.
        has_receiver: returns whether any service has a route for reports now. If none
            has, the reports stay in the store.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        store: ReportStore,
        send: Callable[[Sequence[DeliveryStatus]], Awaitable[None]],
        handles: MessageHandles,
        lease: ReportLease,
        *,
        has_receiver: Callable[[], bool] = lambda: True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._send = send
        self._handles = handles
        self._lease = lease
        self._has_receiver = has_receiver
        self._sleep = sleep

    async def run(self) -> None:
        """Send reports until this is cancelled.

        A batch that the service does not receive is sent again after a pause. While the
        store does not answer, it is asked again after INTERVAL_SECONDS.
        """
        pause = INTERVAL_SECONDS
        while True:
            try:
                has_more = await self._send_batch()
            except ServiceError as error:
                logger.warning(
                    "reports_not_received",
                    extra={"outcome": error.outcome, "pause_seconds": pause},
                )
                await self._sleep(pause)
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
                continue
            except StoreError:
                has_more = False  # the store has logged it
            pause = INTERVAL_SECONDS
            if not has_more:
                await self._sleep(INTERVAL_SECONDS)

    async def _send_batch(self) -> bool:
        """Send the oldest reports, and return whether there may be more."""
        if not self._has_receiver() or not await self._lease.hold():
            return False
        reports = await self._store.take_reports(MAX_REPORTS)
        if not reports:
            return False
        await self._send([build_status(it, self._handles) for it in reports])
        await self._store.confirm_reports(reports)
        return len(reports) == MAX_REPORTS
