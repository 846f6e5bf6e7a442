"""What deliveries cost in the store: commands, time, and bytes in Redis.

    python -m benchmarks.deliveries
    python -m benchmarks.deliveries --repeats 1000000

One process puts deliveries into a Redis of its own (append-only file, every second),
without gRPC and without the Bot API. The repeats use the keys of deliveries that ended;
every tenth has another request, which has to be refused. Exits with 1 if a used key
stored anything, or if there were fewer puts than `ALLOWED_PUTS` per second.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.children import cpu_seconds
from benchmarks.tables import print_machine, print_table
from gateway.background import BackgroundTasks
from gateway.clock import SystemClock
from gateway.domain.delivery import (
    Delivery,
    DeliveryKind,
    DeliveryResult,
    DeliveryState,
    SentPart,
    compute_delivery_id,
)
from gateway.domain.delivery_store import DeliveryPutResult
from gateway.domain.errors import IdempotencyKeyReused
from gateway.domain.mailbox_lease import MailboxLease
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.deliveries import RedisDeliveryStore
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from gateway.mailboxes.signatures import StoreSignatures
from tests.support.redis_servers import RedisServer
from tests.support.stores import KEYS

ALLOWED_PUTS = 2000
"""The least number of puts per second of one worker."""

DELIVERIES = 20_000
TASKS = 500
"""The number of requests that a worker serves at the same time."""

REQUEST_BYTES = 200
"""The size of a SendRequest with a short text and two buttons."""

_SENT = DeliveryResult(state=DeliveryState.SENT, sent_parts=[SentPart(7, 70)])


class CountingClient(ClusterClient):
    """Connections to Redis that count commands."""

    submitted = 0

    def submit(self, command: RedisCommand, *, first: bool = False) -> None:
        """Count a command and send it."""
        self.submitted += 1
        super().submit(command, first=first)


class Cost(NamedTuple):
    """What a number of equal operations took."""

    commands: float
    per_second: float
    own_us: float
    redis_us: float
    redis_bytes: float

    def describe(self, name: str) -> list[object]:
        """Return a row of the table."""
        return [
            name,
            f"{self.commands:.1f}",
            f"{self.per_second:,.0f}",
            f"{self.own_us:.0f}",
            f"{self.redis_us:.0f}",
            f"{self.redis_bytes:.0f}",
        ]


class DeliveryBenchmark:
    """Deliveries in a Redis of its own."""

    def __init__(
        self,
        server: RedisServer,
        client: CountingClient,
        deliveries: RedisDeliveryStore,
    ) -> None:
        self._server = server
        self._client = client
        self._deliveries = deliveries

    async def measure(
        self, count: int, operate: Callable[[int], Awaitable[None]]
    ) -> Cost:
        """Do an operation with each number from 0, many at the same time."""
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await operate(number)

        commands, used = self._client.submitted, self._read_used_bytes()
        pid = int(self._read_info("server", "process_id"))
        own, redis, start = time.process_time(), cpu_seconds(pid), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(TASKS):
                group.create_task(work())
        took = time.perf_counter() - start
        own, redis = time.process_time() - own, cpu_seconds(pid) - redis
        return Cost(
            (self._client.submitted - commands) / count,
            count / took,
            own / count * 1e6,
            redis / count * 1e6,
            (self._read_used_bytes() - used) / count,
        )

    async def put(self, number: int) -> None:
        """Store a delivery for a worker to send."""
        await self._deliveries.put_delivery(make_delivery(number), acquire=False)

    async def schedule(self, number: int) -> None:
        """Store a delivery for tomorrow."""
        delivery = make_delivery(DELIVERIES + number, not_before=time.time() + 86400)
        answer = await self._deliveries.put_delivery(delivery)
        assert answer is DeliveryPutResult.SCHEDULED

    async def send(self, number: int) -> None:
        """Store a delivery, send its one message and commit it."""
        delivery = make_delivery(2 * DELIVERIES + number)
        lease = await self._deliveries.put_delivery(delivery)
        assert isinstance(lease, MailboxLease)
        await self._deliveries.begin_part(lease, delivery.delivery_id, 0, ())
        await self._deliveries.commit_delivery(
            lease, delivery.delivery_id, bytes(150), _SENT
        )

    async def send_at_once(self, number: int) -> None:
        """Store a delivery and begin its one message, as a gateway does; commit it."""
        delivery = make_delivery(4 * DELIVERIES + number)
        lease = await self._deliveries.put_delivery(delivery, begins=True)
        assert isinstance(lease, MailboxLease)
        assert lease.begun_delivery_id == delivery.delivery_id
        await self._deliveries.commit_delivery(
            lease, delivery.delivery_id, bytes(150), _SENT
        )

    async def repeat(self, number: int) -> None:
        """Use the key of a delivery again; every tenth time with another request."""
        is_other = number % 10 == 0
        delivery = make_delivery(2 * DELIVERIES + number % DELIVERIES)
        if is_other:
            delivery = make_delivery(
                2 * DELIVERIES + number % DELIVERIES, fingerprint=b"another request"
            )
        try:
            answer = await self._deliveries.put_delivery(delivery)
        except IdempotencyKeyReused:
            assert is_other
        else:
            assert answer is DeliveryPutResult.REPEATED
            assert not is_other

    def _read_used_bytes(self) -> int:
        return int(self._read_info("memory", "used_memory"))

    def _read_info(self, section: str, field: str) -> bytes:
        info = self._server.ask(f"INFO {section}")
        return info.partition(b"\n%b:" % field.encode())[2].split()[0]


def make_delivery(
    number: int, fingerprint: bytes = b"", not_before: float | None = None
) -> Delivery:
    """Return a delivery to a user of its own."""
    now = time.time()
    key = f"order-{number}-is-shipped"
    return Delivery(
        delivery_id=compute_delivery_id(7, "orders", key),
        ordering_key=f"7/{1_000_000_000 + number}",
        bot_id=7,
        caller="orders",
        idempotency_key=key,
        fingerprint=fingerprint or number.to_bytes(16, "big"),
        kind=DeliveryKind.SEND,
        request=bytes(REQUEST_BYTES),
        chat_id=1_000_000_000 + number,
        accepted_at=now,
        not_before=not_before,
        expires_at=(not_before or now) + 86400,
    )


async def benchmark(server: RedisServer, repeats: int) -> list[str]:
    """Measure and print. Returns what exceeds its limit."""
    clock, scripts = SystemClock(), load_scripts()
    signatures = StoreSignatures(["the secret of this benchmark"])
    async with (
        BackgroundTasks() as background,
        CountingClient(
            server.url, scripts.sources, clock, background=background
        ) as client,
    ):
        mailboxes = RedisMailboxStore(
            client, KEYS, scripts, clock, signatures, limit=64
        )
        bench = DeliveryBenchmark(server, client, mailboxes.deliveries)
        await bench.measure(TASKS, lambda number: bench.put(9 * DELIVERIES + number))
        put = await bench.measure(DELIVERIES, bench.put)
        scheduled = await bench.measure(DELIVERIES, bench.schedule)
        sent = await bench.measure(DELIVERIES, bench.send)
        sent_at_once = await bench.measure(DELIVERIES, bench.send_at_once)
        repeated = await bench.measure(repeats, bench.repeat)
    print(f"\n{DELIVERIES:,} deliveries of each kind, {TASKS} requests at a time\n")
    print_table(
        [
            *("operation", "commands", "per second", "own CPU in us"),
            *("CPU of Redis in us", "bytes left in Redis"),
        ],
        [
            put.describe("put, waiting"),
            scheduled.describe("put, scheduled"),
            sent.describe("put, begin, commit: ended, with state"),
            sent_at_once.describe("put that begins, commit: the same"),
            repeated.describe(f"{repeats:,} repeats of used keys"),
        ],
    )
    print("\nNo repeat stored anything; every other request was refused.")
    if put.per_second < ALLOWED_PUTS:
        return [f"{put.per_second:.0f} puts per second, of {ALLOWED_PUTS} expected"]
    return []


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=100_000)
    given = parser.parse_args()
    with TemporaryDirectory() as directory:
        server = RedisServer(Path(directory), "--appendonly yes --appendfsync everysec")
        server.start()
        try:
            exceeded = asyncio.run(benchmark(server, given.repeats))
        finally:
            server.kill()
    print_machine()
    print(*exceeded, sep="\n")
    sys.exit(bool(exceeded))


if __name__ == "__main__":
    main()
