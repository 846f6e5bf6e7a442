"""The Bot API counts as failing while all requests fail."""

import logging

import pytest

from gateway.telegram.bot_api.health import (
    FAILING_AFTER_SECONDS,
    FAILURE_MEMORY_SECONDS,
    BotApiHealth,
)
from tests.support.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that only a test moves."""
    return FakeClock()


@pytest.fixture
def health(clock: FakeClock) -> BotApiHealth:
    """Return the health of a Bot API that nobody has asked yet."""
    return BotApiHealth(clock.uptime)


def fail(health: BotApiHealth, clock: FakeClock, seconds: float) -> None:
    """Let requests fail for some seconds."""
    health.record_request(succeeded=False)
    clock.move(seconds)
    health.record_request(succeeded=False)


def test_it_fails_once_all_requests_have_failed_for_some_seconds(
    health: BotApiHealth, clock: FakeClock
) -> None:
    """One failure is no outage, and the first success ends it."""
    assert not health.is_failing
    fail(health, clock, FAILING_AFTER_SECONDS - 0.1)
    assert not health.is_failing
    clock.move(0.1)
    assert not health.is_failing  # no request has failed since
    health.record_request(succeeded=False)
    assert health.is_failing
    health.record_request(succeeded=True)
    assert not health.is_failing
    health.record_request(succeeded=False)
    assert not health.is_failing


def test_a_success_in_between_is_no_outage(
    health: BotApiHealth, clock: FakeClock
) -> None:
    """A chat for which every call fails does not make the Bot API fail."""
    for _ in range(100):
        health.record_request(succeeded=False)
        clock.move(FAILING_AFTER_SECONDS / 2)
        health.record_request(succeeded=True)
        health.record_request(succeeded=False)
        assert not health.is_failing


def test_without_requests_nothing_is_known(
    health: BotApiHealth, clock: FakeClock
) -> None:
    """At night nobody writes, and no success could end the alarm."""
    fail(health, clock, FAILING_AFTER_SECONDS)
    clock.move(FAILURE_MEMORY_SECONDS - 1)
    assert health.is_failing
    clock.move(1)
    assert not health.is_failing
    health.record_request(succeeded=False)
    assert not health.is_failing


def test_the_log_says_when_it_begins_and_when_it_ends(
    health: BotApiHealth, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Once each, however many requests fail."""
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            fail(health, clock, FAILING_AFTER_SECONDS)
            fail(health, clock, FAILING_AFTER_SECONDS)
            for _ in range(3):
                health.record_request(succeeded=True)
            fail(health, clock, FAILING_AFTER_SECONDS / 2)
            health.record_request(succeeded=True)
    said = [record.msg for record in caplog.records]
    fails, works = "bot_api_failing", "bot_api_recovered"
    assert said == [fails, works, fails, works]
