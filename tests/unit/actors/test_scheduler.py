"""Activation, bounds, leases, drain."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence

import pytest
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from msgspec import structs

from gateway.actors import scheduler
from gateway.actors.admission import MAX_CONSECUTIVE_UPDATES
from gateway.actors.rate_limit import RateLimiter
from gateway.actors.replies.full_mailbox_notices import FullMailboxNotifier
from gateway.actors.replies.reply_sender import ReplySender
from gateway.actors.replies.user_notices import RATE_LIMITED_TEXT
from gateway.actors.scheduler import ActorScheduler
from gateway.actors.suspect_steps import MAX_CONCURRENT_SUSPECTS
from gateway.actors.update_processor import UpdateProcessor
from gateway.actors.user_actor import UserActor
from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.delivery import Delivery
from gateway.domain.delivery_store import DeliveryPutResult
from gateway.domain.mailbox_lease import LEASE_SECONDS, MailboxLease
from gateway.domain.poison import POISON_CRASHES, POISON_LOSSES, SUSPECT_PAUSES
from gateway.domain.ports import RetryPause, await_pause
from gateway.domain.update import Envelope, Update
from gateway.mailboxes.memory.deliveries import MemoryDeliveryStore
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from gateway.mailboxes.stream_cancellation import LocalCancellationBus
from tests.factories import build_accepted
from tests.support.deliveries import (
    build_delivery_processor,
    build_message_delivery,
)
from tests.support.fakes import (
    FakeClock,
    FakeMessenger,
    FakeServices,
    Turns,
    an_answering,
    text_of,
)
from tests.support.tasks import UnownedTasks
from tests.support.waiting import wait_until


class DurableMailboxes(MemoryMailboxStore):
    """Mailboxes that are said to survive this process."""

    @property
    def in_memory(self) -> int:
        return 0

    @in_memory.setter
    def in_memory(self, count: int) -> None:
        """Forget it."""


class AskedMailboxes(MemoryMailboxStore):
    """Mailboxes that count how often they were asked for those that wait."""

    asked = 0

    async def claimable(
        self, limit: int, skipped_bots: Collection[str] = ()
    ) -> Sequence[str]:
        """Count, and list them."""
        self.asked += 1
        return await super().claimable(limit, skipped_bots)


class LosingMailboxes(MemoryMailboxStore):
    """Mailboxes in which every lease that is renewed turns out to be lost."""

    lost = False

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Renew none, and name all of them."""
        self.lost = True
        return leases


class Harness:
    """A whole actor system with fakes around it."""

    def __init__(
        self,
        *,
        max_active: int = 100,
        mailboxes: MemoryMailboxStore | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.mailboxes = mailboxes or MemoryMailboxStore(
            self.clock, limit=64, max_sessions=1000
        )
        self.services = FakeServices()
        self.messenger = FakeMessenger()
        self.turns = Turns()
        delivery = ReplySender(self.messenger, self.services, self.clock, patience=120)
        self.deliveries = MemoryDeliveryStore(self.mailboxes, self.clock, limit=64)
        self.system = ActorScheduler(
            self.mailboxes,
            self.deliveries,
            UserActor(
                self.mailboxes,
                UpdateProcessor(
                    self.services,
                    an_answering(
                        self.services,
                        self.messenger,
                        self.clock,
                        LocalCancellationBus(),
                    ),
                    delivery,
                    RateLimiter(1000, 1),
                    clock=self.clock,
                    parse_update=lambda body, arrived: pytest.fail("read again"),
                ),
                build_delivery_processor(
                    self.messenger, self.services, self.deliveries, self.clock
                ),
                clock=self.clock,
                observe_update=self.turns.append,
            ),
            FullMailboxNotifier(
                delivery, clock=self.clock, observe_update=self.turns.append
            ),
            publish_cancellation=LocalCancellationBus().publish,
            clock=self.clock,
            max_active=max_active,
            background=UnownedTasks(),
        )
        self.gate = asyncio.Event()
        self.running: set[str] = set()
        self.most = 0
        self.order: list[tuple[str, int]] = []
        self.services.answer = self._work

    async def _work(self, update: Update) -> Reply:
        assert update.ordering_key not in self.running, (
            "one user was handled twice at once"
        )
        self.running.add(update.ordering_key)
        self.most = max(self.most, len(self.running))
        self.order.append((update.ordering_key, update.update_id))
        try:
            await self.gate.wait()
        finally:
            self.running.discard(update.ordering_key)
        return Reply()

    async def accept(self, update_id: int, user: int, *, exempt: bool = False) -> None:
        """Accept an update of a user."""
        await self.system.enqueue(
            build_accepted(update_id, user=user, bypasses_limits=exempt)
        )


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    """Yield a started system that is drained in the end."""
    harness = Harness()
    harness.system.start()
    yield harness
    harness.gate.set()
    await harness.system.drain(5)


async def test_one_user_waits_for_itself_only(harness: Harness) -> None:
    """While a user hangs, the user's next update waits and others are served."""
    await harness.accept(1, user=1)
    await harness.accept(2, user=1)
    await harness.accept(3, user=2)
    await wait_until(lambda: len(harness.order) == 2)
    assert harness.order == [("1", 1), ("2", 3)]
    harness.gate.set()
    await wait_until(lambda: len(harness.turns) == 3)
    assert harness.order[-1] == ("1", 2)


async def test_an_idle_user_leaves_no_task_behind(harness: Harness) -> None:
    """After the last update nothing of the actor is left."""
    harness.gate.set()
    for n in range(500):
        await harness.accept(n + 1, user=n)
    await wait_until(lambda: len(harness.turns) == 500)
    await wait_until(lambda: harness.system.active_actors == 0)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert {"renew leases", "scan mailboxes"} <= names
    assert len(names) <= 4
    assert harness.mailboxes.in_memory == harness.mailboxes.mailbox_count == 0


async def test_no_more_actors_run_than_there_are_places() -> None:
    """Mailboxes beyond the bound wait and are served in the order of their waiting."""
    harness = Harness(max_active=3)
    harness.system.start()
    for n in range(10):
        await harness.accept(n + 1, user=n)
    await wait_until(lambda: len(harness.order) == 3)
    harness.gate.set()
    await wait_until(lambda: len(harness.turns) == 10)
    assert harness.most == 3
    assert [ordering_key for ordering_key, _ in harness.order] == [
        str(n) for n in range(10)
    ]
    await harness.system.drain(5)


async def test_a_busy_user_gives_way_to_those_who_wait() -> None:
    """After sixteen updates in a row the next waiting mailbox gets the place."""
    harness = Harness(max_active=1)
    harness.system.start()
    for n in range(MAX_CONSECUTIVE_UPDATES + 4):
        await harness.accept(n + 1, user=1)
    await harness.accept(100, user=2)
    harness.gate.set()
    await wait_until(lambda: len(harness.turns) == MAX_CONSECUTIVE_UPDATES + 5)
    assert [ordering_key for ordering_key, _ in harness.order].index(
        "2"
    ) == MAX_CONSECUTIVE_UPDATES
    await harness.system.drain(5)


async def test_a_full_mailbox_tells_its_user_once(harness: Harness) -> None:
    """Refused updates are counted; payments are taken all the same."""
    for n in range(70):
        await harness.accept(n + 1, user=1)
    await wait_until(lambda: len(harness.messenger.sent) == 1)
    assert harness.messenger.texts == [RATE_LIMITED_TEXT]
    assert harness.turns.outcomes == ["refused"] * 6
    await harness.accept(100, user=1, exempt=True)
    assert harness.mailboxes.in_memory == 65


async def test_a_bot_that_fills_its_mailbox_is_told_nothing(harness: Harness) -> None:
    """It might answer, and so go on for ever; a user beside it is told."""
    for n in range(70):
        envelope = build_accepted(n + 1, user=1)
        assert envelope.update is not None
        update = structs.replace(envelope.update, is_unwanted=True)
        await harness.system.enqueue(structs.replace(envelope, update=update))
    for n in range(70):
        await harness.accept(n + 101, user=2)
    await wait_until(lambda: harness.messenger.sent)
    assert [call.chat_id for call in harness.messenger.sent] == [2]
    assert harness.turns.outcomes.count("refused") == 12


async def test_a_mailbox_without_an_owner_is_picked_up(harness: Harness) -> None:
    """Whatever became of its owner, a scan finds the mailbox when its lease ended."""
    harness.gate.set()
    lease = await harness.mailboxes.put(build_accepted(1, user=5))
    assert isinstance(lease, MailboxLease)
    harness.clock.move(4)
    await wait_until(lambda: harness.turns.outcomes == ["done"])


async def test_leases_are_renewed_while_a_call_lasts(harness: Harness) -> None:
    """A slow service costs nobody the mailbox."""
    await harness.accept(1, user=1)
    await wait_until(lambda: harness.order)
    for _ in range(3):
        harness.clock.move(2)
        before = harness.clock.uptime()
        await wait_until(
            lambda at=before: all(  # type: ignore[misc]  # bound at its definition
                lease.expires_at > at + 2
                for lease in harness.system._actor_tasks  # noqa: SLF001 - the lease itself
            ),
        )
    harness.gate.set()
    await wait_until(lambda: harness.turns.outcomes == ["done"])
    assert harness.order == [("1", 1)]


async def test_an_actor_that_lost_its_mailbox_is_stopped() -> None:
    """Its call is cancelled; the new owner does the update."""
    clock = FakeClock()
    mailboxes = LosingMailboxes(clock, limit=64, max_sessions=10)
    harness = Harness(mailboxes=mailboxes, clock=clock)
    harness.system.start()
    await harness.accept(1, user=1)
    await wait_until(lambda: harness.order)
    clock.move(2.5)
    await wait_until(lambda: mailboxes.lost)
    await wait_until(lambda: harness.system.active_actors == 0)
    assert harness.turns == []
    harness.gate.set()
    clock.move(3)
    await wait_until(lambda: harness.turns.outcomes == ["done"])
    assert harness.order == [("1", 1), ("1", 1)]
    await harness.system.drain(5)


async def test_an_actor_that_is_cancelled_before_it_starts_leaves_its_place() -> None:
    """Its task runs no code at all, and a drain does not wait for it."""
    clock = FakeClock()
    mailboxes = LosingMailboxes(clock, limit=64, max_sessions=10)
    harness = Harness(mailboxes=mailboxes, clock=clock)
    await harness.accept(1, user=1)
    clock.move(LEASE_SECONDS + 1)
    await harness.system._renewer.renew_expired()  # noqa: SLF001 - before the actor's turn
    assert mailboxes.lost
    await wait_until(lambda: harness.system.active_actors == 0)
    harness.gate.set()
    harness.system.start()
    await wait_until(lambda: harness.turns.outcomes == ["done"])
    assert await harness.system.drain(5) == 0


async def test_an_effect_waits_for_a_lease_that_ran_out(harness: Harness) -> None:
    """Past its own lease an actor calls nobody until the lease is renewed."""
    harness.gate.set()
    release = asyncio.Event()

    async def slow_session(update: Update) -> str:
        await release.wait()
        return "u"

    harness.services.resolve_user = slow_session  # type: ignore[method-assign]  # a fake
    await harness.accept(1, user=1)
    await wait_until(lambda: harness.system.active_actors == 1)
    harness.clock.move(3.5)
    release.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert harness.order == []
    await wait_until(lambda: harness.turns.outcomes == ["done"])


async def test_a_drain_serves_all_that_memory_holds() -> None:
    """What would be lost with the process is done first, also what waits."""
    harness = Harness(max_active=2)
    harness.system.start()
    for n in range(12):
        await harness.accept(n + 1, user=n % 6)
    drain = asyncio.create_task(harness.system.drain(5))
    await asyncio.sleep(0)
    harness.gate.set()
    assert await drain == 0
    assert harness.turns.outcomes == ["done"] * 12
    assert harness.mailboxes.in_memory == 0


async def test_a_drain_gives_durable_mailboxes_back() -> None:
    """Running updates are finished, the other updates wait for other workers."""
    clock = FakeClock()
    mailboxes = DurableMailboxes(clock, limit=64, max_sessions=10)
    harness = Harness(mailboxes=mailboxes, clock=clock)
    harness.system.start()
    for n in range(6):
        await harness.accept(n + 1, user=n % 2)
    await wait_until(lambda: len(harness.order) == 2)
    drain = asyncio.create_task(harness.system.drain(5))
    await asyncio.sleep(0)
    await harness.accept(7, user=9)
    harness.gate.set()
    assert await drain == 0
    assert harness.turns.outcomes == ["done", "done"]
    assert sorted(await mailboxes.claimable(5)) == ["0", "1", "9"]


async def test_a_drain_is_bounded() -> None:
    """What does not end in time is cut short, and its mailbox given back."""
    harness = Harness()
    harness.system.start()
    await harness.accept(1, user=1)
    await wait_until(lambda: harness.order)
    assert await harness.system.drain(0.05) == 1
    assert harness.system.active_actors == 0
    assert list(await harness.mailboxes.claimable(5)) == ["1"]


async def test_a_drain_that_is_cut_short_starts_nothing() -> None:
    """The places that the cut frees stay free: what waits is left where it is."""
    harness = Harness(max_active=2)
    harness.system.start()
    for n in range(10):
        await harness.accept(n + 1, user=n)
    await wait_until(lambda: len(harness.order) == 2)
    assert await harness.system.drain(0.05) == 2
    await asyncio.sleep(0)
    assert harness.system.active_actors == 0
    assert len(harness.order) == 2
    assert harness.mailboxes.in_memory == 10


class Outage:
    """A Bot API that takes no message until it works again.

    Args:
        harness: whose messenger meets it, and whose service answers at its gate.
        taken: so many messages are taken before.
    """

    def __init__(self, harness: Harness, taken: int = 0) -> None:
        self.over = asyncio.Event()
        self.waits = 0
        self._harness = harness
        self._taken = taken
        harness.messenger.outage = self._wait
        harness.services.answer = self._answer

    async def _wait(self) -> None:
        if self._taken:
            self._taken -= 1
            return
        self.waits += 1
        await self.over.wait()

    async def _answer(self, update: Update) -> Reply:
        self._harness.order.append((update.ordering_key, update.update_id))
        await self._harness.gate.wait()
        texts = (text_of(update) or "").split()
        return Reply(messages=[OutgoingMessage(text=text) for text in texts])


async def test_replies_that_wait_take_no_places_from_others() -> None:
    """A Bot API that fails for some chats delays nobody else."""
    harness = Harness(max_active=3)
    harness.system.start()
    outage = Outage(harness)
    harness.gate.set()
    for n in range(3):
        await harness.accept(n + 1, user=n)
    await wait_until(lambda: harness.system.waiting_replies == 3)
    harness.messenger.outage = None
    for n in range(10, 20):
        await harness.accept(n + 1, user=n)
    await wait_until(lambda: len(harness.turns) == 10)
    assert harness.messenger.texts == ["hello"] * 10
    assert harness.system.waiting_replies == 3
    outage.over.set()
    await wait_until(lambda: len(harness.turns) == 13)
    assert harness.turns.outcomes == ["done"] * 13
    await harness.system.drain(5)


async def test_replies_that_wait_are_bounded_and_what_comes_meanwhile_is_kept() -> None:
    """As many actors again as there are places; then all is served."""
    harness = Harness(max_active=3)
    harness.system.start()
    outage = Outage(harness)
    harness.gate.set()
    for n in range(20):
        await harness.accept(n + 1, user=n)
    await wait_until(lambda: harness.system.waiting_replies == 6)
    await harness.system._scan_mailboxes()  # noqa: SLF001 - it would start what there is room for
    assert harness.system.active_actors == outage.waits == 6
    assert harness.mailboxes.in_memory == 20
    outage.over.set()
    await wait_until(lambda: len(harness.turns) == 20)
    assert [ordering_key for ordering_key, _ in harness.order] == [
        str(n) for n in range(20)
    ]
    await harness.system.drain(5)


async def test_a_retry_that_frees_no_place_asks_for_no_waiting_mailbox(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else thousands of them would keep the store busy, all in vain."""
    monkeypatch.setattr(scheduler, "SCAN_SECONDS", 10**6)
    clock = FakeClock()
    mailboxes = AskedMailboxes(clock, limit=64, max_sessions=10)
    harness = Harness(max_active=1, mailboxes=mailboxes, clock=clock)
    harness.system.start()
    harness.gate.set()
    Outage(harness)
    over = asyncio.Event()
    tries = 0

    async def try_until_over(
        call: BotApiCall, patience: float = 0, wait: RetryPause = await_pause
    ) -> None:
        nonlocal tries
        while not over.is_set():
            tries += 1
            await wait(asyncio.sleep(0))

    monkeypatch.setattr(harness.messenger, "send", try_until_over)
    for n in range(3):
        await harness.accept(n + 1, user=n)
    await wait_until(lambda: harness.system.active_actors == 2)
    await harness.system._scan_mailboxes()  # noqa: SLF001 - from now on all places are known to be taken

    async def count_asked_in_100_tries() -> int:
        asked, before = mailboxes.asked, tries
        await wait_until(lambda: tries > before + 100)
        return mailboxes.asked - asked

    # A scan that began before may still end.
    assert 0 in [await count_asked_in_100_tries() for _ in range(5)]
    asked = mailboxes.asked
    over.set()
    await wait_until(lambda: len(harness.turns) == 3)
    assert mailboxes.asked > asked
    await harness.system.drain(5)


async def test_a_user_whose_reply_waited_gives_way_to_those_who_have_no_place() -> None:
    """Else twice as many users as there are places would be served for a while."""
    harness = Harness(max_active=1)
    harness.system.start()
    outage = Outage(harness)
    harness.gate.set()
    for update_id, user in ((1, 1), (2, 2), (3, 1), (4, 2), (5, 3)):
        await harness.accept(update_id, user=user)
    await wait_until(lambda: harness.system.waiting_replies == 2)
    outage.over.set()
    await wait_until(lambda: len(harness.turns) == 5)
    assert harness.order.index(("3", 5)) < 4
    await harness.system.drain(5)


@pytest.mark.parametrize("store", [MemoryMailboxStore, DurableMailboxes])
async def test_a_drain_waits_for_replies_that_are_tried_again(
    store: type[MemoryMailboxStore],
) -> None:
    """Whoever did the update again would call its service again."""
    clock = FakeClock()
    harness = Harness(mailboxes=store(clock, limit=64, max_sessions=10), clock=clock)
    harness.system.start()
    outage = Outage(harness)
    harness.gate.set()
    await harness.accept(1, user=1)
    await wait_until(lambda: outage.waits)
    drain = asyncio.create_task(harness.system.drain(3600))
    await asyncio.sleep(0)
    outage.over.set()
    assert await drain == 0
    assert harness.messenger.texts == ["hello"]
    assert harness.turns.outcomes == ["done"]


async def test_a_drain_gives_back_what_still_waits_at_its_end() -> None:
    """Another worker does the update, which counts as no owner loss."""
    clock = FakeClock()
    mailboxes = DurableMailboxes(clock, limit=64, max_sessions=10)
    harness = Harness(mailboxes=mailboxes, clock=clock)
    harness.system.start()
    outage = Outage(harness)
    harness.gate.set()
    await harness.accept(1, user=1)
    await wait_until(lambda: outage.waits)
    assert await harness.system.drain(0.05) == 1
    assert harness.turns == []
    assert list(await mailboxes.claimable(5)) == ["1"]
    lease = await mailboxes.acquire("1")
    assert isinstance(lease, MailboxLease)
    assert (lease.next_update.update_id, lease.owner_losses) == (1, 0)


async def test_a_process_that_stood_still_does_not_rob_itself(harness: Harness) -> None:
    """After a stall longer than a lease the running calls go on, once each."""
    for n in range(20):
        await harness.accept(n + 1, user=n)
    await wait_until(lambda: len(harness.order) == 20)
    harness.clock.move(4)
    await harness.system._scan_mailboxes()  # noqa: SLF001 - before the renewer gets its turn
    harness.gate.set()
    await wait_until(lambda: len(harness.turns) == 20)
    assert len(harness.order) == 20


async def test_a_failed_scan_is_tried_again() -> None:
    """A fault of the store passes; the mailboxes that waited are found afterwards."""
    clock = FakeClock()

    class Failing(MemoryMailboxStore):
        failures = 1

        async def claimable(
            self, limit: int, skipped_bots: Collection[str] = ()
        ) -> list[str]:
            if self.failures:
                self.failures -= 1
                raise OSError("gone")
            return list(await super().claimable(limit, skipped_bots))

    mailboxes = Failing(clock, limit=64, max_sessions=10)
    harness = Harness(mailboxes=mailboxes, clock=clock)
    harness.gate.set()
    harness.system.start()
    lease = await mailboxes.put(build_accepted(1, user=5))
    assert isinstance(lease, MailboxLease)
    clock.move(4)
    await wait_until(lambda: harness.turns.outcomes == ["done"])
    await harness.system.drain(5)


async def test_a_fault_of_the_store_ends_one_actor_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged; the lease runs out and a scan goes on from the last commit."""
    clock = FakeClock()

    class Failing(MemoryMailboxStore):
        failures = 1

        async def commit(
            self,
            lease: MailboxLease,
            update_id: int,
            state: bytes,
            *,
            dead_letter_reason: str | None = None,
            release: bool = False,
        ) -> Envelope | None:
            if self.failures:
                self.failures -= 1
                raise OSError("gone")
            return await super().commit(
                lease,
                update_id,
                state,
                dead_letter_reason=dead_letter_reason,
                release=release,
            )

    mailboxes = Failing(clock, limit=64, max_sessions=10)
    harness = Harness(mailboxes=mailboxes, clock=clock)
    harness.gate.set()
    harness.system.start()
    await harness.accept(1, user=5)
    await wait_until(
        lambda: not mailboxes.failures and not harness.system.active_actors
    )
    assert harness.turns == []
    [record] = caplog.records
    assert (record.message, record.levelname) == ("actor_failed", "ERROR")
    assert record.__dict__["ordering_key"] == "5"
    assert record.__dict__["error"].startswith("OSError < ")
    clock.move(4)
    await wait_until(lambda: harness.turns.outcomes == ["done"])
    await harness.system.drain(5)


async def die(harness: Harness, ordering_keys: Iterable[int], deaths: int) -> None:
    """Let so many workers vanish while they wait for a service of these mailboxes."""
    for _ in range(deaths):
        for ordering_key in map(str, ordering_keys):
            lease = await harness.mailboxes.acquire(ordering_key)
            while lease is None:  # it pauses
                harness.clock.move(1)
                lease = await harness.mailboxes.acquire(ordering_key)
            await harness.mailboxes.record_step(lease, running=False)
        harness.clock.move(4)


async def crash(harness: Harness, ordering_key: int) -> None:
    """Let a worker vanish in the middle of a step of a suspect."""
    lease = await harness.mailboxes.acquire(str(ordering_key))
    while lease is None:
        harness.clock.move(1)
        lease = await harness.mailboxes.acquire(str(ordering_key))
    await MemoryMailboxStore.record_step(harness.mailboxes, lease, running=True)
    harness.clock.move(4)


async def put_without_lease(harness: Harness, ordering_keys: Iterable[int]) -> None:
    """Put one update into each of these mailboxes."""
    for ordering_key in ordering_keys:
        await harness.mailboxes.put(
            build_accepted(ordering_key, user=ordering_key), acquire=False
        )


async def pauses_over(harness: Harness) -> None:
    """Let the owner losses be counted, and the pauses that follow pass."""
    await harness.system._scan_mailboxes()  # noqa: SLF001 - what its task does
    harness.clock.move(SUSPECT_PAUSES[-1])


class SlowNotes(MemoryMailboxStore):
    """Mailboxes that take their time to note that a step begins."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, limit=64, max_sessions=1000)
        self.clock = clock
        self.stepping: set[str] = set()
        self.most = 0
        self.beside: dict[str, set[str]] = {}
        self.go_on = asyncio.Event()

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Note it once the test says so."""
        await super().record_step(lease, running=running)
        if not running:
            self.stepping.discard(lease.ordering_key)
            return
        self.stepping.add(lease.ordering_key)
        self.most = max(self.most, len(self.stepping))
        await self.go_on.wait()
        await asyncio.sleep(0)  # others may begin meanwhile
        self.beside.setdefault(lease.ordering_key, set()).update(
            self.stepping - {lease.ordering_key}
        )


async def test_one_death_is_no_reason_to_wait() -> None:
    """Workers end for any reason, and all their users are served at once."""
    mailboxes = SlowNotes(FakeClock())
    harness = Harness(mailboxes=mailboxes, clock=mailboxes.clock)
    await put_without_lease(harness, range(1, 41))
    await die(harness, range(1, 41), 1)
    harness.system.start()
    await wait_until(lambda: len(harness.running) == 40)
    assert mailboxes.most == 0
    harness.gate.set()
    await harness.system.drain(5)


async def test_suspects_take_steps_in_groups_and_wait_for_services_all_at_once() -> (
    None
):
    """Slow services do not keep a suspect from the next one's turn."""
    mailboxes = SlowNotes(FakeClock())
    harness = Harness(mailboxes=mailboxes, clock=mailboxes.clock)
    await put_without_lease(harness, range(1, 41))
    await die(harness, range(1, 41), 2)
    await pauses_over(harness)
    await put_without_lease(harness, range(101, 111))
    harness.system.start()
    await wait_until(lambda: len(harness.running) == 10)  # all that are not suspected
    await wait_until(lambda: mailboxes.most == MAX_CONCURRENT_SUSPECTS)
    mailboxes.go_on.set()
    await wait_until(lambda: len(harness.running) == 50)
    assert mailboxes.most == MAX_CONCURRENT_SUSPECTS
    harness.gate.set()
    await wait_until(lambda: harness.turns.outcomes == ["done"] * 50)
    await harness.system.drain(5)


async def test_after_a_crash_a_suspect_takes_its_steps_alone() -> None:
    """Then the next crash tells which one it is."""
    mailboxes = SlowNotes(FakeClock())
    harness = Harness(mailboxes=mailboxes, clock=mailboxes.clock)
    await put_without_lease(harness, range(1, 21))
    await die(harness, range(1, 21), 2)
    await crash(harness, 10)
    await pauses_over(harness)
    harness.system.start()
    await wait_until(lambda: harness.system.active_actors == 20)
    mailboxes.go_on.set()
    harness.gate.set()
    await wait_until(lambda: harness.turns.outcomes == ["done"] * 20)
    assert mailboxes.beside["10"] == set()
    assert all("10" not in others for others in mailboxes.beside.values())
    await harness.system.drain(5)


async def test_an_actor_that_is_cancelled_in_a_step_lets_others_take_theirs() -> None:
    """Its mailbox is given back, and nobody waits for it."""
    mailboxes = SlowNotes(FakeClock())
    harness = Harness(mailboxes=mailboxes, clock=mailboxes.clock)
    await put_without_lease(harness, range(1, 3))
    await die(harness, range(1, 3), 2)
    await crash(harness, 1)
    await crash(harness, 2)
    harness.system.start()
    await wait_until(lambda: harness.system.active_actors == 2 and mailboxes.stepping)
    (stepping,) = mailboxes.stepping
    for lease, task in harness.system._actor_tasks.items():  # noqa: SLF001 - as the renewer
        if lease.ordering_key == stepping:
            task.cancel()
    await wait_until(lambda: len(mailboxes.stepping) == 2)
    mailboxes.go_on.set()
    harness.gate.set()
    await wait_until(lambda: harness.turns.outcomes == ["done"])
    harness.clock.move(LEASE_SECONDS + 1)
    await wait_until(lambda: harness.turns.outcomes == ["done"] * 2)
    await harness.system.drain(5)


@pytest.mark.parametrize(
    ("deaths", "crashes"), [(2, POISON_CRASHES), (POISON_LOSSES, 0)]
)
async def test_a_poison_update_is_given_up_and_the_user_served(
    deaths: int, crashes: int
) -> None:
    """It is not even read; the user's next update goes on."""
    harness = Harness()
    await put_without_lease(harness, [1])
    await die(harness, [1], deaths)
    for _ in range(crashes):
        await crash(harness, 1)
    await harness.mailboxes.put(build_accepted(2, user=1))
    harness.gate.set()
    await pauses_over(harness)
    harness.system.start()
    await wait_until(lambda: harness.turns.outcomes == ["poison", "done"])
    assert harness.order == [("1", 2)]
    (dead_letter,) = harness.mailboxes.dead_letters.entries
    assert (dead_letter.update_id, dead_letter.reason) == (1, "poison")
    await harness.system.drain(5)


@pytest.mark.parametrize(
    ("deaths", "crashes"), [(2, POISON_CRASHES - 1), (POISON_LOSSES - 1, 0)]
)
async def test_an_update_that_may_be_harmless_is_tried_again(
    deaths: int, crashes: int
) -> None:
    """Users lose nothing because workers were killed."""
    harness = Harness()
    await put_without_lease(harness, [1])
    await die(harness, [1], deaths)
    for _ in range(crashes):
        await crash(harness, 1)
    harness.gate.set()
    await pauses_over(harness)
    harness.system.start()
    await wait_until(lambda: harness.turns.outcomes == ["done"])
    await harness.system.drain(5)


class StuckMailboxes(MemoryMailboxStore):
    """Mailboxes whose commits wait for their store."""

    works = asyncio.Event()

    async def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        dead_letter_reason: str | None = None,
        release: bool = False,
    ) -> Envelope | None:
        """Wait for those of users 1 and 2."""
        if lease.ordering_key in {"1", "2"}:
            await self.works.wait()
        return await super().commit(
            lease,
            update_id,
            state,
            dead_letter_reason=dead_letter_reason,
            release=release,
        )

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Renew none."""
        return []


async def test_actors_that_wait_for_the_store_take_no_place() -> None:
    """Else an outage would end with nobody being served."""
    clock = FakeClock()
    mailboxes = StuckMailboxes(clock, limit=64, max_sessions=10)
    harness = Harness(max_active=2, mailboxes=mailboxes, clock=clock)
    harness.gate.set()
    for user in (1, 2):
        await harness.accept(user, user=user)
    await wait_until(lambda: len(harness.order) == 2)
    await harness.accept(3, user=3)
    clock.move(LEASE_SECONDS + 1)
    await harness.system._scan_mailboxes()  # noqa: SLF001 - what its task does
    await wait_until(lambda: harness.turns.outcomes == ["done"])
    mailboxes.works.set()
    await harness.system.drain(5)
    assert harness.turns.outcomes == ["done"] * 3


async def test_a_delivery_waits_for_what_was_accepted_before_it(
    harness: Harness,
) -> None:
    """And what is accepted after it waits for the delivery."""
    await harness.accept(1, user=7)
    delivery = build_message_delivery("ready", accepted_at=harness.clock.now())
    assert await harness.system.enqueue_delivery(delivery) is DeliveryPutResult.STORED
    await harness.accept(2, user=7)
    await wait_until(lambda: harness.order == [("7", 1)])
    assert harness.messenger.sent == []
    harness.gate.set()
    await wait_until(lambda: len(harness.turns) == 2)
    assert harness.messenger.texts == ["ready"]
    assert harness.order == [("7", 1), ("7", 2)]


async def test_a_delivery_to_an_idle_user_starts_an_actor(harness: Harness) -> None:
    delivery = build_message_delivery("ready")
    assert await harness.system.enqueue_delivery(delivery) is DeliveryPutResult.STORED
    assert harness.system.active_actors == 1
    await wait_until(lambda: harness.messenger.texts == ["ready"])
    repeated = await harness.system.enqueue_delivery(delivery)
    assert repeated is DeliveryPutResult.REPEATED
    await wait_until(lambda: harness.system.active_actors == 0)
    assert harness.messenger.texts == ["ready"]


@pytest.mark.parametrize(("length", "begins"), [(1000, True), (10_000, False)])
async def test_a_put_begins_only_what_is_sent_at_once(
    harness: Harness, length: int, begins: bool
) -> None:
    """A large message is rendered before that, which takes a while."""
    asked: list[bool] = []
    put = harness.deliveries.put_delivery

    async def watch(
        delivery: Delivery, *, acquire: bool = True, begins: bool = False
    ) -> MailboxLease | DeliveryPutResult:
        asked.append(begins)
        return await put(delivery, acquire=acquire, begins=begins)

    harness.deliveries.put_delivery = watch  # type: ignore[method-assign]
    await harness.system.enqueue_delivery(build_message_delivery("x" * length))
    await wait_until(lambda: len(harness.messenger.texts) == 1)
    assert asked == [begins]


async def test_a_delivery_waits_for_a_free_slot() -> None:
    harness = Harness(max_active=1)
    harness.system.start()
    await harness.accept(1, user=1)
    await harness.system.enqueue_delivery(build_message_delivery("ready"))
    await wait_until(lambda: harness.order == [("1", 1)])
    assert harness.system.active_actors == 1
    harness.gate.set()
    await wait_until(lambda: harness.messenger.texts == ["ready"])
    await harness.system.drain(5)


async def test_a_scheduled_delivery_is_sent_when_its_time_has_come(
    harness: Harness,
) -> None:
    """A scan puts it into its mailbox."""
    now = harness.clock.now()
    delivery = build_message_delivery(
        "ready", accepted_at=now, not_before=now + 60, expires_at=now + 90
    )
    result = await harness.system.enqueue_delivery(delivery)
    assert result is DeliveryPutResult.SCHEDULED
    assert harness.system.active_actors == 0
    harness.clock.move(60)
    await wait_until(lambda: harness.messenger.texts == ["ready"])
