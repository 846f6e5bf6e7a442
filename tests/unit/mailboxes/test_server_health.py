"""How a server is doing, as one connection to it sees it."""

from gateway.mailboxes.redis.client.server_health import (
    REFUSAL_MEMORY_SECONDS,
    ServerHealth,
)
from tests.support.fakes import FakeClock


class Fleet:
    """A master and its replica, which was the master once, and what is told of it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.master, self.replica = ServerHealth(self.clock), ServerHealth(self.clock)
        self.restarts: list[float] = []
        self.replica.on_restart = self.restarts.append
        self.master.record_connection(b"run_id:one\r\n")
        self.replica.record_connection(b"run_id:two\r\n")

    def fail_and_return(self, seconds: float) -> float:
        """Let the master fail for a while. Gives when it had answered last."""
        answered = self.master.last_answered_at
        self.clock.move(1)
        self.master.record_failure(TimeoutError())
        self.clock.move(seconds)
        self.master.record_connection(b"run_id:one\r\n")
        return answered


def test_who_says_right_after_a_failure_that_another_took_over_had_lost_its_place() -> (
    None
):
    """It was stopped, came back, and sends its shards on: its successor lacks some."""
    fleet = Fleet()
    answered = fleet.fail_and_return(10)
    for _ in range(20):  # once for each shard
        fleet.replica.record_takeover(fleet.master)
    assert fleet.restarts == [answered]


def test_who_hands_over_in_peace_lost_nothing() -> None:
    """The successor waits until it has all."""
    fleet = Fleet()
    fleet.fail_and_return(10)
    fleet.clock.move(REFUSAL_MEMORY_SECONDS)
    fleet.replica.record_takeover(fleet.master)
    assert fleet.restarts == []


def test_a_successor_that_nobody_talked_to_tells_at_its_first_word() -> None:
    """It may be the same server, at another address."""
    fleet = Fleet()
    answered = fleet.fail_and_return(10)
    fresh = ServerHealth(fleet.clock)
    fresh.on_restart = fleet.restarts.append
    for _ in range(2):
        fresh.record_takeover(fleet.master)
        assert fleet.restarts == []
    fresh.record_connection(b"run_id:three\r\n")
    fresh.record_takeover(fleet.master)
    assert fleet.restarts == [answered]
