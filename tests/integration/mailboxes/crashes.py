"""A small day of three workers, in which one call of the store goes wrong.

The first worker accepts three updates of each of two mailboxes, serves some, renews its
leases, and is cut short in the middle of an update of each mailbox. The second serves
what is left. The third is there for what a worker leaves that ended.

Concurrency: the workers work one after the other. When one ends, all the tasks that it
started are cancelled, and its connection is closed before, so nothing gets out.
"""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Awaitable
from typing import NamedTuple

from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from msgspec import structs

from gateway.actors.rate_limit import RateLimiter
from gateway.actors.replies.full_mailbox_notices import FullMailboxNotifier
from gateway.actors.replies.reply_sender import ReplySender
from gateway.actors.scheduler import ActorScheduler
from gateway.actors.update_processor import UpdateProcessor
from gateway.actors.user_actor import UserActor
from gateway.background import cancel_and_wait
from gateway.domain.processing_record import ProcessingRecord
from gateway.domain.update import Envelope, Update
from gateway.domain.user_state import decode_user_state
from gateway.mailboxes.redis.client.shards import SHARD_COUNT
from gateway.mailboxes.redis.lua.scripts import Scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from gateway.mailboxes.stream_cancellation import LocalCancellationBus
from gateway.telegram.inbound.parser import UpdateParser
from tests.factories import build_envelope, build_message_json
from tests.integration.mailboxes.moments import Call, WatchedTransport
from tests.integration.mailboxes.redis_store import RedisStore
from tests.support.deliveries import build_delivery_processor
from tests.support.fakes import FakeMessenger, FakeServices, an_answering
from tests.support.stores import KEYS, LEASE, SIGNATURES
from tests.support.tasks import UnownedTasks
from tests.support.waiting import wait_until

CUTS = ("cut before", "cut after")
"""The connection breaks before the call is sent, or after Redis did it."""

ENDS = ("ends before", "ends after")
"""So does the worker."""

SOON = LEASE / 2
"""Seconds within which a worker is through. No lease runs out in them."""

ORDERING_KEYS = {"7/1": [11, 12, 13], "7/2": [21, 22, 23]}
IN_FLIGHT = {13, 22}
"""What the first worker is in the middle of when it is cut short."""

_ALL = [number for row in zip(*ORDERING_KEYS.values(), strict=True) for number in row]

_read = UpdateParser(bot_id=7).parse


class Fault(NamedTuple):
    """What goes wrong."""

    worker: int
    call: Call
    way: str
    """One of `CUTS` and `ENDS`."""


class Effect(NamedTuple):
    """A call of a service."""

    worker: int
    update_id: int
    request_id: str


class Worker:
    """A whole actor system in front of Redis, with fakes on its other sides."""

    def __init__(
        self,
        number: int,
        url: str,
        scripts: Scripts,
        harness: "CrashHarness",
        fault: Fault | None,
    ) -> None:
        self.number = number
        self.struck = False
        self.died = asyncio.Event()
        self.held: dict[int, asyncio.Event] = {}
        self.turns: list[ProcessingRecord] = []
        self.started: list[int] = []
        self._harness = harness
        self._way = fault.way if fault else ""
        clock = harness.store.clock
        self.transport = WatchedTransport(
            url, scripts, clock, fault.call if fault else None, self._strike
        )
        mailboxes = RedisMailboxStore(
            self.transport,
            KEYS,
            scripts,
            clock,
            SIGNATURES,
            limit=64,
            lease_seconds=LEASE,
        )
        services = FakeServices()
        services.answer = self._serve
        delivery = ReplySender(harness.messenger, services, clock, patience=120)
        self.system = ActorScheduler(
            mailboxes,
            mailboxes.deliveries,
            UserActor(
                mailboxes,
                UpdateProcessor(
                    services,
                    an_answering(
                        services, harness.messenger, clock, LocalCancellationBus()
                    ),
                    delivery,
                    RateLimiter(1000, 1),
                    clock=clock,
                    parse_update=_read,
                ),
                build_delivery_processor(
                    harness.messenger, services, mailboxes.deliveries, clock
                ),
                clock=clock,
                observe_update=self.turns.append,
            ),
            FullMailboxNotifier(
                delivery, clock=clock, observe_update=self.turns.append
            ),
            publish_cancellation=LocalCancellationBus().publish,
            clock=clock,
            max_active=100,
            background=UnownedTasks(),
        )

    @property
    def in_flight(self) -> set[int]:
        """The updates that it began with and did not see the end of."""
        return set(self.started) - {record.update_id for record in self.turns}

    async def _serve(self, update: Update) -> Reply:
        harness, number = self._harness, update.update_id
        if update.ordering_key in harness.running:
            harness.faults.append(f"{number} ran beside another update of its mailbox")
        harness.running.add(update.ordering_key)
        self.started.append(number)
        harness.effects.append(Effect(self.number, number, update.context.request_id))
        try:
            if number in self.held:
                await self.held[number].wait()
        finally:
            harness.running.discard(update.ordering_key)
        return Reply(messages=[OutgoingMessage(text=str(number))])

    async def _strike(self, moment: str) -> None:
        end = "sending" if self._way.endswith("before") else "received"
        if self.struck or moment != end:
            return
        self.struck = True
        if self._way in CUTS:
            raise ConnectionError
        self.died.set()
        await asyncio.Event().wait()  # for the end


class CrashHarness:
    """The updates, and what became of them.

    Args:
        store: an empty Redis.
        url: of the same.
        scripts: those of the product, or faulty ones.
        fault: what goes wrong.
    """

    def __init__(
        self, store: RedisStore, url: str, scripts: Scripts, fault: Fault | None = None
    ) -> None:
        self.store = store
        self.messenger = FakeMessenger()
        self.effects: list[Effect] = []
        self.running: set[str] = set()
        self.faults: list[str] = []
        self._left = deque(message(number) for number in _ALL)
        self._audits: list[tuple[int, set[int]]] = []
        """After each worker: how many effects there were, and what was done."""
        self.workers = [
            Worker(
                number,
                url,
                scripts,
                self,
                fault if fault and fault.worker == number else None,
            )
            for number in range(3)
        ]

    async def live(self) -> None:
        """Let the workers work, and check what became of all."""
        for worker, work in zip(
            self.workers, (self._begin, self._go_on, self._go_on), strict=True
        ):
            await self._employ(worker, work(worker))
        await self._check()

    async def _employ(self, worker: Worker, work: Awaitable[None]) -> None:
        """Let a worker work until it is through or ends."""
        others = asyncio.all_tasks()
        async with worker.transport:
            worker.system.start()
            working = asyncio.ensure_future(work)
            dying = asyncio.create_task(worker.died.wait())
            await asyncio.wait(
                [working, dying], timeout=SOON, return_when=asyncio.FIRST_COMPLETED
            )
            through = working.done()
        if through:
            dying.cancel()
            await working
        else:
            assert worker.died.is_set(), "it hangs"
            begun = asyncio.all_tasks() - others
            await cancel_and_wait(*begun)
        await self._audit()
        if not through:
            await self.store.pass_time(LEASE + 1)

    async def _begin(self, worker: Worker) -> None:
        """Serve some of it, and be cut short."""
        worker.held = {number: asyncio.Event() for number in (11, 21, *IN_FLIGHT)}
        await self._post(worker)
        await wait_until(lambda: len(worker.started) == len(ORDERING_KEYS))
        # The next scan begins when the one before has ended.
        await wait_until(
            lambda: Call("list_claimable", SHARD_COUNT) in worker.transport.calls
        )
        until = self.store.clock.uptime() + LEASE
        self.store.clock.move(1)
        leases = worker.system._actor_tasks  # noqa: SLF001 - nobody else need know
        await wait_until(lambda: all(lease.expires_at > until for lease in leases))
        worker.held[11].set()
        worker.held[21].set()
        await wait_until(lambda: set(worker.started) >= IN_FLIGHT)
        assert await worker.system.drain(0) == len(ORDERING_KEYS)

    async def _go_on(self, worker: Worker) -> None:
        """Serve all that is left."""
        await self._post(worker)
        while await self.store.count_mailboxes() or worker.system.active_actors:
            await asyncio.sleep(0.005)
        assert await worker.system.drain(1) == 0

    async def _post(self, worker: Worker) -> None:
        """Post what is left, in order, as Telegram does: until it is accepted."""
        while self._left:
            await worker.system.enqueue(self._left[0])
            self._left.popleft()

    async def _audit(self) -> None:
        """See that state and removal changed together, and that nothing is gone."""
        left = {envelope.update_id for envelope in self._left}
        all_done = set()
        for ordering_key, numbers in ORDERING_KEYS.items():
            mail, done = await self._look(ordering_key)
            assert not mail & set(done), "in the state, and not removed"
            lost = set(numbers) - mail - set(done) - left
            assert not lost, f"removed, and not in the state: {lost}"
            all_done |= set(done)
        self._audits.append((len(self.effects), all_done))

    async def _look(self, ordering_key: str) -> tuple[set[int], list[int]]:
        key = ordering_key.encode()
        shard = KEYS.get_shard(key)
        mail = await self.store.ask("ZRANGE", shard.mailbox_key(key), 0, -1)
        stored = await self.store.ask("GET", shard.state_key(key))
        state = decode_user_state(SIGNATURES.verify_state(key, stored))
        return {int(each.split()[0]) for each in mail}, state.recent_ids

    async def _check(self) -> None:
        """Compare the history with the promises."""
        assert not self.faults
        for ordering_key, numbers in ORDERING_KEYS.items():
            mail, done = await self._look(ordering_key)
            assert (mail, done) == (set(), numbers)
            firsts = dict.fromkeys(effect.update_id for effect in self.effects)
            assert [number for number in firsts if number in numbers] == numbers
        self._check_outcomes()
        self._check_repetitions()
        states = tuple(shard.state_prefix for shard in KEYS.shards)
        left = set(await self.store.ask("KEYS", "*"))
        left -= {shard.generation for shard in KEYS.shards}
        assert all(key.startswith(states) for key in left), f"something is left: {left}"
        assert left

    def _check_outcomes(self) -> None:
        ends = Counter(
            (t.update_id, t.outcome.value) for w in self.workers for t in w.turns
        )
        died = [worker.in_flight for worker in self.workers if worker.died.is_set()]
        for number in _ALL:
            times = ends.pop((number, "done"), 0)
            # Whoever ends between a commit and its answer takes the line to the grave.
            assert times == 1 or (times == 0 and any(number in each for each in died))
        # An update that was accepted, though Telegram did not get to know.
        repeated = sum(ends.values())
        assert not repeated or (died and repeated == 1)
        assert all(outcome == "duplicate" for _, outcome in ends)

    def _check_repetitions(self) -> None:
        for number in _ALL:
            of_this = [each for each in self.effects if each.update_id == number]
            assert len({each.request_id for each in of_this}) == 1
            chances = sum(number in worker.in_flight for worker in self.workers)
            assert 1 <= len(of_this) <= 1 + chances, f"{number}: {of_this}"
            sent = self.messenger.texts.count(str(number))
            assert 1 <= sent <= len(of_this)
        for before, done in self._audits:
            assert not done & {each.update_id for each in self.effects[before:]}


def message(number: int) -> Envelope:
    """Build an update with this id, of the user that its first digit names."""
    message = build_message_json(str(number), user=number // 10)
    body = json.dumps({"update_id": number, "message": message}).encode()
    update = _read(body, 1)
    envelope = build_envelope(number, update.ordering_key, body=body, arrived_at=1)
    return structs.replace(envelope, update=update)
