"""Reports: at least once, by one worker, until the service has them."""

import asyncio
from collections.abc import Sequence
from itertools import chain

import pytest
from botgateway.delivery.v1.delivery_pb2 import DeliveryStatus

from gateway.delivery.reporter import (
    INTERVAL_SECONDS,
    MAX_PAUSE_SECONDS,
    MAX_REPORTS,
    DeliveryReporter,
)
from gateway.domain.delivery import DeliveryResult, DeliveryState, ReportPolicy
from gateway.domain.errors import ServiceTimeout, StoreUnavailable
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.message_handles import MessageHandles
from gateway.mailboxes.memory.deliveries import MemoryDeliveryStore
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from tests.factories import build_delivery
from tests.support.fakes import FakeClock


class Finished(BaseException):
    """The test has seen enough."""


class Harness:
    """A worker that sends reports, and the service that gets them."""

    def __init__(self) -> None:
        clock = FakeClock()
        mailboxes = MemoryMailboxStore(clock, limit=10**6, max_sessions=10)
        self.store = MemoryDeliveryStore(mailboxes, clock, limit=10**6)
        self.received: list[list[str]] = []
        self.failures: list[Exception] = []
        self.leases: list[bool | Exception] = []
        self.pauses: list[float] = []
        self.max_pauses = 1
        self.reporter = DeliveryReporter(
            self.store,
            self.receive,
            MessageHandles(["secret"]),
            self,
            sleep=self.sleep,
        )

    async def receive(self, statuses: Sequence[DeliveryStatus]) -> None:
        """Receive reports, or fail as told."""
        if self.failures:
            raise self.failures.pop(0)
        self.received.append([status.delivery_id for status in statuses])

    async def hold(self) -> bool:
        """Grant the lease, unless the test says otherwise."""
        granted = self.leases.pop(0) if self.leases else True
        if isinstance(granted, Exception):
            raise granted
        return granted

    async def sleep(self, seconds: float) -> None:
        """Note the pause, and end the worker after the last one."""
        self.pauses.append(seconds)
        await asyncio.sleep(0)
        if len(self.pauses) >= self.max_pauses:
            raise Finished

    async def run(self, max_pauses: int = 1) -> None:
        """Run until the worker has paused so often."""
        self.max_pauses = len(self.pauses) + max_pauses
        with pytest.raises(Finished):
            await self.reporter.run()

    async def end(self, *numbers: int) -> list[str]:
        """End deliveries that want a report, and return their ids."""
        ids = []
        for number in numbers:
            delivery = build_delivery(number, str(number), report=ReportPolicy.ALL)
            lease = await self.store.put_delivery(delivery)
            assert isinstance(lease, MailboxLease)
            await self.store.commit_delivery(
                lease,
                delivery.delivery_id,
                b"",
                DeliveryResult(state=DeliveryState.SENT),
            )
            ids.append(delivery.delivery_id)
        return ids


@pytest.fixture
def harness() -> Harness:
    """Return a worker without reports."""
    return Harness()


async def test_what_the_service_received_is_not_sent_again(harness: Harness) -> None:
    ids = await harness.end(1, 2)
    await harness.run()
    assert harness.received == [ids]
    await harness.run()
    assert harness.received == [ids]
    assert harness.pauses == [INTERVAL_SECONDS] * 2


async def test_many_reports_go_in_batches_without_a_pause(harness: Harness) -> None:
    ids = await harness.end(*range(1, 2 * MAX_REPORTS + 2))
    await harness.run()
    assert [len(batch) for batch in harness.received] == [MAX_REPORTS, MAX_REPORTS, 1]
    assert sorted(chain.from_iterable(harness.received)) == sorted(ids)


async def test_a_failing_service_gets_the_same_reports_later(harness: Harness) -> None:
    """With growing pauses, which start again after a success."""
    ids = await harness.end(1)
    harness.failures = [ServiceTimeout("late") for _ in range(8)]
    await harness.run(max_pauses=9)
    assert harness.received == [ids]
    assert harness.pauses == [
        *(1.0, 2.0, 4.0, 8.0, 16.0, 32.0, MAX_PAUSE_SECONDS, MAX_PAUSE_SECONDS),
        INTERVAL_SECONDS,
    ]


async def test_only_the_worker_with_the_lease_sends(harness: Harness) -> None:
    ids = await harness.end(1)
    harness.leases = [False, StoreUnavailable("Redis"), False]
    await harness.run(max_pauses=3)
    assert harness.received == []
    await harness.run()
    assert harness.received == [ids]
