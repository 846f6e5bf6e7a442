"""The token bucket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.actors.rate_limit import (
    CLOCK_TOLERANCE_SECONDS,
    MAX_OVERTAKING_SECONDS,
    RateLimiter,
)
from gateway.domain.user_state import UserState
from gateway.mailboxes.redis.store_clock import StoreClock
from tests.support.ideal_bucket import IdealBucket

START = 1_790_000_000.0


def test_one_message_a_second_always_passes() -> None:
    """Arrivals exactly a window apart are never limited, however long it goes on."""
    limit, state = RateLimiter(1, 1), UserState()
    assert all(limit.try_acquire(state, START + n) for n in range(10_000))


def test_the_bucket_lets_a_burst_of_its_size_through() -> None:
    """Three requests per window allow three at once, not four."""
    limit, state = RateLimiter(3, 60), UserState()
    judged = [limit.try_acquire(state, START) for _ in range(4)]
    assert judged == [True, True, True, False]
    assert not limit.try_acquire(state, START + 19)
    assert limit.try_acquire(state, START + 20)


def test_a_backlog_is_judged_by_arrival() -> None:
    """Updates that arrived in time pass, whenever they are worked on."""
    limit, state = RateLimiter(1, 1), UserState()
    assert limit.try_acquire(state, START)
    assert limit.try_acquire(state, START + 1)
    assert not limit.try_acquire(state, START + 1.5)


def test_an_album_counts_once() -> None:
    """All parts of an allowed album pass, and none of a limited one."""
    limit, state = RateLimiter(1, 1), UserState()
    assert all(limit.try_acquire(state, START, "a") for _ in range(10))
    assert not any(limit.try_acquire(state, START + 0.1, "b") for _ in range(10))
    assert limit.try_acquire(state, START + 1.1)


def test_an_arrival_from_the_past_gives_no_tokens_back() -> None:
    """Two queues of one user may deliver out of order; that fills no bucket."""
    limit, state = RateLimiter(1, 1), UserState()
    assert limit.try_acquire(state, START + MAX_OVERTAKING_SECONDS)
    assert not limit.try_acquire(state, START)
    assert not limit.try_acquire(state, START + MAX_OVERTAKING_SECONDS + 0.5)


@pytest.mark.parametrize("step", [3, 30, 3600])
def test_a_clock_that_was_set_back_limits_nobody(step: float) -> None:
    """Nobody can tell how much time went by, so the user gets what may be due."""
    limit, state = RateLimiter(1, 1), UserState()
    assert limit.try_acquire(state, START + step)
    assert limit.try_acquire(state, START)
    assert not limit.try_acquire(state, START + 0.5)
    assert limit.try_acquire(state, START + 1)


@pytest.mark.parametrize("skew", [-3600, -30, 30, 3600])
def test_gateways_whose_clocks_differ_limit_no_user_who_is_slow_enough(
    skew: float,
) -> None:
    """Also if neither of them ever learned the time of the store."""
    limit, state = RateLimiter(1, 1), UserState()
    arrivals = [START + 3 * n + (skew if n % 2 else 0) for n in range(100)]
    assert all(limit.try_acquire(state, arrived) for arrived in arrivals)


class SkewedClock:
    """The clock of a machine that runs since some time, set to any time of day."""

    def __init__(self, skew: float, booted: float) -> None:
        self.true_time = START
        self._skew = skew
        self._booted = booted

    def now(self) -> float:
        """Return seconds since the epoch, as this machine has them."""
        return self.true_time + self._skew

    def uptime(self) -> float:
        """Return seconds since the machine's start."""
        return self.true_time - self._booted


class Gateway:
    """What notes arrivals by the time of a store."""

    def __init__(self, skew: float, up_for: float) -> None:
        self._own = SkewedClock(skew, START - up_for)
        self._clock = StoreClock(self._own)

    def ask_for_time(self, at: float, there: float, back: float) -> None:
        """Learn the store's time; question and answer take so many seconds."""
        self._own.true_time = at
        asked = self._clock.uptime()
        self._own.true_time = at + there + back
        self._clock.record_server_time(at + there, asked, self._clock.uptime())

    def note_arrival(self, at: float) -> float:
        """Return the time that it notes."""
        self._own.true_time = at
        return self._clock.now()


_WAY = st.floats(0, 0.9 * CLOCK_TOLERANCE_SECONDS)
"""Seconds. By half of both ways together a gateway may be wrong."""

_GAP = st.just(1.0) | st.floats(0.1, 3)
"""From one update to the next, in the times that one token takes to flow in."""


@given(
    requests=st.integers(1, 5),
    window=st.sampled_from([0.5, 1, 7]),
    gateways=st.lists(
        st.builds(Gateway, st.floats(-3600, 3600), st.floats(0, 1e7)), min_size=2
    ),
    updates=st.lists(st.tuples(_GAP, st.integers(0, 99), _WAY, _WAY), max_size=60),
)
def test_no_skew_of_clocks_limits_users_more_than_they_deserve(
    requests: int,
    window: float,
    gateways: list[Gateway],
    updates: list[tuple[float, int, float, float]],
) -> None:
    """At no time more are refused than by a bucket that knows the true time."""
    limit, state, ideal = (
        RateLimiter(requests, window),
        UserState(),
        IdealBucket(requests, window),
    )
    for gateway in gateways:
        gateway.ask_for_time(START, 0.01, 0.01)
    at = START + 1
    refused = deserved = 0
    for gap, number, there, back in updates:
        gateway = gateways[number % len(gateways)]
        gateway.ask_for_time(at, there, back)
        at += gap * window / requests
        refused += not limit.try_acquire(state, gateway.note_arrival(at))
        deserved += not ideal.allows(at)
        assert refused <= deserved


def test_the_notice_is_due_once_per_window() -> None:
    """A flood earns one notice per window."""
    limit, state = RateLimiter(1, 10), UserState()
    times = [START + n for n in range(25)]
    assert [t - START for t in times if limit.should_notify(state, t)] == [0, 10, 20]


@given(
    st.integers(1, 5),
    st.sampled_from([0.5, 1, 7]),
    st.lists(st.floats(0, 20), min_size=1, max_size=60),
)
def test_no_span_of_time_lets_more_through_than_the_bucket_allows(
    requests: int, window: float, offsets: list[float]
) -> None:
    """In any span at most the bucket and what flowed in meanwhile get through."""
    limit, state = RateLimiter(requests, window), UserState()
    passed = [t for t in sorted(offsets) if limit.try_acquire(state, START + t)]
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span = passed[last] - passed[first] + CLOCK_TOLERANCE_SECONDS
            assert last - first + 1 <= requests + span * requests / window + 1e-3
