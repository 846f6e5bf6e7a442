"""The token bucket."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.actors.rate_limit import RateLimit
from gateway.domain.state import State

START = 1_790_000_000.0


def test_one_message_a_second_always_passes() -> None:
    """Arrivals exactly a window apart are never limited, however long it goes on."""
    limit, state = RateLimit(1, 1), State()
    assert all(limit.allows(state, START + n) for n in range(10_000))


def test_the_bucket_lets_a_burst_of_its_size_through() -> None:
    """Three requests per window allow three at once, not four."""
    limit, state = RateLimit(3, 60), State()
    judged = [limit.allows(state, START) for _ in range(4)]
    assert judged == [True, True, True, False]
    assert not limit.allows(state, START + 19)
    assert limit.allows(state, START + 20)


def test_a_backlog_is_judged_by_arrival() -> None:
    """Updates that arrived in time pass, whenever they are worked on."""
    limit, state = RateLimit(1, 1), State()
    assert limit.allows(state, START)
    assert limit.allows(state, START + 1)
    assert not limit.allows(state, START + 1.5)


def test_an_album_counts_once() -> None:
    """All parts of an allowed album pass, and none of a limited one."""
    limit, state = RateLimit(1, 1), State()
    assert all(limit.allows(state, START, "a") for _ in range(10))
    assert not any(limit.allows(state, START + 0.1, "b") for _ in range(10))
    assert limit.allows(state, START + 1.1)


def test_an_arrival_from_the_past_gives_no_tokens_back() -> None:
    """Two queues of one user may deliver out of order; that fills no bucket."""
    limit, state = RateLimit(1, 1), State()
    assert limit.allows(state, START + 5)
    assert not limit.allows(state, START)
    assert not limit.allows(state, START + 5.5)


def test_a_clock_that_was_set_back_limits_nobody_for_long() -> None:
    """The bucket fills up from the new time on."""
    limit, state = RateLimit(1, 1), State()
    assert limit.allows(state, START + 3600)
    limit.allows(state, START)
    assert limit.allows(state, START + 1)


def test_the_notice_is_due_once_per_window() -> None:
    """A flood earns one notice per window."""
    limit, state = RateLimit(1, 10), State()
    times = [START + n for n in range(25)]
    assert [t - START for t in times if limit.notices(state, t)] == [0, 10, 20]


@given(
    st.integers(1, 5),
    st.sampled_from([0.5, 1, 7]),
    st.lists(st.floats(0, 20), min_size=1, max_size=60),
)
def test_no_span_of_time_lets_more_through_than_the_bucket_allows(
    requests: int, window: float, offsets: list[float]
) -> None:
    """In any span at most the bucket and what flowed in meanwhile get through."""
    limit, state = RateLimit(requests, window), State()
    passed = [t for t in sorted(offsets) if limit.allows(state, START + t)]
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span = passed[last] - passed[first]
            assert last - first + 1 <= requests + span * requests / window + 1e-3
