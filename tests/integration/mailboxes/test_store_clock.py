"""The time that gateways agree on, whatever their machines' clocks say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.actors.rate_limit import RateLimiter
from gateway.actors.replies.full_mailbox_notices import FullMailboxNotifier
from gateway.actors.replies.reply_sender import ReplySender
from gateway.actors.scheduler import ActorScheduler
from gateway.actors.update_processor import UpdateProcessor
from gateway.actors.user_actor import UserActor
from gateway.background import BackgroundTasks
from gateway.clock import SystemClock
from gateway.domain.update import Update
from gateway.mailboxes.factory import OpenedMailboxes, open_mailboxes
from gateway.mailboxes.redis.store_clock import MAX_DRIFT, StoreClock
from tests.factories import build_accepted, build_envelope, build_message
from tests.support.deliveries import build_delivery_processor
from tests.support.fakes import (
    FakeClock,
    FakeMessenger,
    FakeServices,
    Turns,
    an_answering,
)
from tests.support.redis_servers import RedisCluster, RedisServer
from tests.support.stores import LETTERS, PREFIX, SIGNATURES
from tests.support.tasks import UnownedTasks
from tests.support.waiting import wait_until

HOUR = 3600.0


def test_the_machines_own_time_counts_until_the_server_was_asked() -> None:
    """A gateway without Redis has no other."""
    own = FakeClock()
    assert StoreClock(own).now() == own.now()


def test_the_servers_time_goes_on_without_the_server() -> None:
    """It is reckoned from the uptime: setting the machine's clock changes nothing."""
    own = FakeClock()
    clock = StoreClock(own)
    clock.record_server_time(5000.0, own.uptime() - 0.002, own.uptime())
    assert clock.now() == pytest.approx(5000.001)
    own.move(100)
    own.epoch += HOUR
    assert clock.now() == pytest.approx(5100.001)


def test_an_answer_that_took_long_does_not_spoil_what_is_known() -> None:
    """Half a second on the way says less than a millisecond did."""
    own = FakeClock()
    clock = StoreClock(own)
    clock.record_server_time(5000.0, own.uptime() - 0.002, own.uptime())
    own.move(10)
    clock.record_server_time(5010.0, own.uptime() - 1, own.uptime())
    assert clock.now() == pytest.approx(5010.001)


def test_an_answer_that_took_long_counts_if_what_is_known_is_old() -> None:
    own = FakeClock()
    clock = StoreClock(own)
    clock.record_server_time(5000.0, own.uptime() - 0.002, own.uptime())
    seconds = 0.6 / MAX_DRIFT
    own.move(seconds)
    clock.record_server_time(5000 + seconds, own.uptime() - 1, own.uptime())
    assert clock.now() == pytest.approx(5000.5 + seconds)


@pytest.mark.parametrize("step", [-HOUR, -1, 1, HOUR])
def test_a_server_whose_clock_was_set_is_believed(step: float) -> None:
    """So is another one that took over."""
    own = FakeClock()
    clock = StoreClock(own)
    clock.record_server_time(5000.0, own.uptime() - 0.002, own.uptime())
    own.move(10)
    clock.record_server_time(5010.0 + step, own.uptime() - 0.2, own.uptime())
    assert clock.now() == pytest.approx(5010.1 + step)


class SkewedClock(SystemClock):
    """The clock of a machine that nobody has set."""

    def __init__(self, skew: float) -> None:
        self._skew = skew

    def now(self) -> float:
        return super().now() + self._skew


@asynccontextmanager
async def store_at(url: str | None, skew: float) -> AsyncIterator[OpenedMailboxes]:
    """Open mailboxes on a machine whose clock is wrong."""
    async with (
        BackgroundTasks() as background,
        open_mailboxes(
            url,
            SkewedClock(skew),
            SIGNATURES,
            key_prefix=PREFIX,
            limit=64,
            max_sessions=10,
            put_timeout=10,
            dead_letter_seconds=LETTERS.retention_seconds,
            background=background,
        ) as store,
    ):
        yield store


async def test_gateways_with_any_clock_have_the_time_of_their_redis(
    redis_server: RedisServer,
) -> None:
    """At once, and still after a scan asked again."""
    url = redis_server.url
    async with store_at(url, HOUR) as ahead, store_at(url, -HOUR) as behind:
        for _ in range(2):
            assert ahead.clock.now() == pytest.approx(behind.clock.now(), abs=60)
            await ahead.mailboxes.claimable(1)
            await behind.mailboxes.claimable(1)


async def test_a_cluster_tells_one_time(redis_cluster: RedisCluster) -> None:
    """Whichever node the URL names."""
    first, second = (node.url for node in redis_cluster.nodes[:2])
    async with store_at(first, HOUR) as ahead, store_at(second, -HOUR) as behind:
        await ahead.mailboxes.claimable(1)
        await behind.mailboxes.claimable(1)
        assert ahead.clock.now() == pytest.approx(behind.clock.now(), abs=60)


class Gateway:
    """The actors of a gateway, with fakes behind them."""

    def __init__(self, store: OpenedMailboxes) -> None:
        self.clock = store.clock
        self.turns = Turns()
        self.services = FakeServices()
        messenger = FakeMessenger()
        delivery = ReplySender(messenger, self.services, self.clock, patience=120)
        self.system = ActorScheduler(
            store.mailboxes,
            store.deliveries,
            UserActor(
                store.mailboxes,
                UpdateProcessor(
                    self.services,
                    an_answering(
                        self.services, messenger, self.clock, store.cancellation_bus
                    ),
                    delivery,
                    RateLimiter(2, HOUR),
                    clock=self.clock,
                    parse_update=lambda body, arrived: read_update(int(body)),
                ),
                build_delivery_processor(
                    messenger, self.services, store.deliveries, self.clock
                ),
                clock=self.clock,
                observe_update=self.turns.append,
            ),
            FullMailboxNotifier(
                delivery, clock=self.clock, observe_update=self.turns.append
            ),
            publish_cancellation=store.cancellation_bus.publish,
            clock=self.clock,
            max_active=10,
            background=UnownedTasks(),
        )

    async def serve(self, update_id: int, user: int) -> str:
        """Accept an update and wait for its outcome."""
        done = len(self.turns) + 1
        await self.system.enqueue(
            build_accepted(update_id, user=user, arrived_at=self.clock.now())
        )
        await wait_until(lambda: len(self.turns) == done)
        return self.turns.outcomes[-1]


def read_update(user: int) -> Update:
    """Read an update that an answer is of use to for half a minute."""
    return build_message(user=user, ttl_seconds=30)


@pytest.mark.parametrize("skew", [-HOUR, HOUR])
async def test_users_are_judged_alike_by_gateways_whose_clocks_differ(
    redis_server: RedisServer, skew: float
) -> None:
    """The rate limit counts over both, and a session that one opened lasts at both."""
    url, user = redis_server.url, 500 + (skew > 0)
    async with store_at(url, skew) as one, store_at(url, -skew) as other:
        first, second = Gateway(one), Gateway(other)
        assert await first.serve(1, user) == "done"
        assert await second.serve(2, user) == "done"
        assert await first.serve(3, user) == "limited"
        assert first.services.resolved == [user]
        assert second.services.resolved == []


async def test_no_update_is_too_old_because_a_clock_is_wrong(
    redis_server: RedisServer,
) -> None:
    """One gateway accepts it and ends; another, two hours ahead, finds it in time."""
    url, user = redis_server.url, 502
    redis_server.ask("FLUSHALL")  # what other tests left would be served as well
    async with store_at(url, -HOUR) as one:
        accepted = build_envelope(
            1, str(user), arrived_at=one.clock.now(), body=b"%d" % user
        )
        await one.mailboxes.put(accepted, acquire=False)
    async with store_at(url, HOUR) as other:
        second = Gateway(other)
        second.system.start()
        await wait_until(lambda: second.turns)
        await second.system.drain(5)
    assert second.turns.outcomes == ["done"]
