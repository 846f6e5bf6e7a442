"""Sliding windows, compared with a model that keeps all calls."""

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.simulator.limits.sliding_window import SlidingWindows


class Model:
    """Keeps every call of every key, and looks at all of them for each call."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self.calls: list[tuple[int, float, bool]] = []
        self.waits: dict[int, float] = {}
        self.violations = self.early = self.highest = 0

    def call(self, key: int, now: float) -> int:
        """Make a call; return the seconds to wait."""
        recent = [
            (at, admitted)
            for each, at, admitted in self.calls
            if each == key and at + self.seconds > now
        ]
        self.highest = max(self.highest, len(recent) + 1)
        self.early += now < self.waits.get(key, -math.inf)
        admitted_at = [at for at, admitted in recent if admitted]
        is_admitted = len(admitted_at) < self.limit
        self.calls.append((key, now, is_admitted))
        if is_admitted:
            return 0
        wait = max(1, math.ceil(min(admitted_at) + self.seconds - now))
        self.violations += 1
        self.waits[key] = now + wait
        return wait


CALLS = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.99, 1.0, 1.01, 3.0, 61.0])
        | st.floats(0, 5),
    ),
    max_size=60,
)


@given(CALLS, st.integers(1, 4), st.sampled_from([0.5, 1.0, 3.0, 60.0]))
def test_windows_do_as_a_model_that_keeps_all_calls(
    calls: list[tuple[int, float]], limit: int, seconds: float
) -> None:
    windows, model = SlidingWindows(limit, seconds), Model(limit, seconds)
    now = 1000.0
    for key, pause in calls:
        now += pause
        wait = windows.count_call(key, now)
        assert wait == model.call(key, now)
        if not wait:
            windows.admit(key, now)
    counts = windows.counts
    assert counts.calls == len(calls)
    assert counts.violations == model.violations
    assert counts.early_calls == model.early
    assert counts.highest == model.highest


@given(CALLS, st.integers(1, 4))
def test_no_window_ever_admits_more_than_the_limit(
    calls: list[tuple[int, float]], limit: int
) -> None:
    """Whatever period of one second is looked at."""
    windows, admitted, now = SlidingWindows(limit, 1.0), [], 1000.0
    for _, pause in calls:
        now += pause
        if not windows.count_call(1, now):
            windows.admit(1, now)
            admitted.append(now)
    for start in admitted:
        assert sum(start <= at < start + 1.0 for at in admitted) <= limit


def test_after_the_wait_a_call_is_admitted() -> None:
    windows = SlidingWindows(2, 60.0)
    for now in (0.0, 10.0):
        assert windows.count_call(1, now) == 0
        windows.admit(1, now)
    assert windows.count_call(1, 12.5) == 48
    assert windows.count_call(1, 59.0) == 1
    assert windows.count_call(1, 60.0) == 0
    assert windows.counts.early_calls == 1


def test_a_call_of_another_key_uses_another_window() -> None:
    windows = SlidingWindows(1, 1.0)
    for key in (1, 2, 3):
        assert windows.count_call(key, 0.0) == 0
        windows.admit(key, 0.0)
    assert windows.count_call(2, 0.5) == 1


def test_idle_keys_are_forgotten() -> None:
    """A million chats, one after the other, take no more memory than the newest."""
    windows = SlidingWindows(1, 1.0)
    for key in range(10_000):
        now = key / 100
        assert windows.count_call(key, now) == 0
        windows.admit(key, now)
        assert len(windows) <= 201
    assert windows.counts.calls == 10_000
