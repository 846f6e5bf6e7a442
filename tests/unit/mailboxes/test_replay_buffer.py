"""What is kept to be put again."""

from collections.abc import Callable

from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.client.server_health import ServerHealth
from gateway.mailboxes.redis.commands import CommandFactory
from gateway.mailboxes.redis.keys import get_shard_number
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.replay_buffer import REPLAY_WINDOW_SECONDS, ReplayBuffer
from tests.factories import build_envelope
from tests.support.fakes import FakeClock
from tests.support.stores import KEYS, LETTERS, SIGNATURES


class HalfAway:
    """A way to a Cluster of which one shard's node answers no more."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._start = clock.uptime()
        self.submitted: list[RedisCommand] = []

    def set_health_callbacks(
        self, on_restart: Callable[[float], None], on_recovery: Callable[[float], None]
    ) -> None:
        """Nobody is told anything."""

    def submit(self, command: RedisCommand, *, first: bool = False) -> None:
        self.submitted.append(command)

    def get_last_answer_time(self, shard: int) -> float:
        """All but one have answered just now."""
        away = shard == get_shard_number("away")
        return self._start if away else self._clock.uptime()

    def is_shard_failing(self, shard: int) -> bool:
        """All but one do well."""
        return shard == get_shard_number("away")


def accept(recovery: ReplayBuffer, update_id: int, ordering_key: str) -> None:
    """Add an update."""
    recovery.add(
        (ordering_key, update_id),
        build_envelope(update_id, ordering_key),
        get_shard_number(ordering_key),
    )


async def test_a_node_that_stays_away_lets_nothing_pile_up() -> None:
    """What came just before is kept for it, and of the others only what is recent."""
    clock = FakeClock()
    way = HalfAway(clock)
    recovery = ReplayBuffer(
        way,
        CommandFactory(KEYS, load_scripts(), 64, 3, SIGNATURES, LETTERS),
        clock,
        None,
    )
    start = clock.uptime()
    for number in range(10):
        accept(recovery, number, "away")
    for number in range(10, 1000):
        accept(recovery, number, "here")
        clock.move(1)
    recovery.replay(start)
    shards = [command.shard for command in way.submitted]
    assert shards.count(get_shard_number("away")) == 10
    assert shards.count(get_shard_number("here")) <= REPLAY_WINDOW_SECONDS + 1


async def test_what_is_on_its_way_is_not_put_twice_nor_given_up() -> None:
    """The server that it is on its way to may fail as well, a while later."""
    clock = FakeClock()
    way = HalfAway(clock)
    recovery = ReplayBuffer(
        way,
        CommandFactory(KEYS, load_scripts(), 64, 3, SIGNATURES, LETTERS),
        clock,
        None,
    )
    accept(recovery, 1, "away")
    recovery.replay(clock.uptime())
    clock.move(REPLAY_WINDOW_SECONDS + 1)
    recovery.replay(clock.uptime())
    (command,) = way.submitted
    assert not command.reply.done()
    command.reply.set_result(1)
    recovery.replay(clock.uptime() - REPLAY_WINDOW_SECONDS - 1)
    assert len(way.submitted) == 2


def test_a_server_succeeds_another_once() -> None:
    """It gets many shards of that one, which are all put again at once."""
    clock = FakeClock()
    died, took_over = ServerHealth(clock), ServerHealth(clock)
    died.record_connection(b"run_id:1\r\n")
    took_over.record_connection(b"run_id:2\r\n")
    told: list[float] = []
    took_over.on_restart = told.append
    for _ in range(2):
        clock.move(1)
        died.record_answers()
        died.record_failure(OSError())
        for _ in range(20):
            took_over.record_takeover(died)
    assert told == [clock.uptime() - 1, clock.uptime()]
