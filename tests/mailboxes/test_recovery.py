"""What is kept to be put again."""

from collections.abc import Callable

from gateway.mailboxes.redis.client.server_health import Server
from gateway.mailboxes.redis.commands import Command, Commands
from gateway.mailboxes.redis.keys import shard_number
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.replay_buffer import KEPT_SECONDS, Recovery
from tests.fakes import FakeClock
from tests.mailboxes.stores import LETTERS, SIGNATURES, envelope


class HalfAway:
    """A way to a Cluster of which one shard's node answers no more."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._start = clock.uptime()
        self.submitted: list[Command] = []

    def listen(
        self, on_restart: Callable[[float], None], on_return: Callable[[float], None]
    ) -> None:
        """Nobody is told anything."""

    def submit(self, command: Command, *, first: bool = False) -> None:
        """Note it."""
        self.submitted.append(command)

    def answered(self, shard: int) -> float:
        """All but one have answered just now."""
        away = shard == shard_number("away")
        return self._start if away else self._clock.uptime()

    def failing_at(self, shard: int) -> bool:
        """All but one do well."""
        return shard == shard_number("away")


async def test_a_node_that_stays_away_lets_nothing_pile_up() -> None:
    """What came just before is kept for it, and of the others only what is recent."""
    clock = FakeClock()
    way = HalfAway(clock)
    recovery = Recovery(
        way, Commands(load_scripts(), 64, 3, SIGNATURES, LETTERS), clock, None
    )
    start = clock.uptime()
    for number in range(10):
        recovery.keep(envelope(number, "away"), shard_number("away"))
    for number in range(10, 1000):
        recovery.keep(envelope(number, "here"), shard_number("here"))
        clock.move(1)
    recovery.begin(start)
    shards = [command.shard for command in way.submitted]
    assert shards.count(shard_number("away")) == 10
    assert shards.count(shard_number("here")) <= KEPT_SECONDS + 1


async def test_what_is_on_its_way_is_not_put_twice_nor_given_up() -> None:
    """The server that it is on its way to may fail as well, a while later."""
    clock = FakeClock()
    way = HalfAway(clock)
    recovery = Recovery(
        way, Commands(load_scripts(), 64, 3, SIGNATURES, LETTERS), clock, None
    )
    recovery.keep(envelope(1, "away"), shard_number("away"))
    recovery.begin(clock.uptime())
    clock.move(KEPT_SECONDS + 1)
    recovery.begin(clock.uptime())
    (command,) = way.submitted
    assert not command.reply.done()
    command.reply.set_result(1)
    recovery.begin(clock.uptime() - KEPT_SECONDS - 1)
    assert len(way.submitted) == 2


def test_a_server_succeeds_another_once() -> None:
    """It gets many shards of that one, which are all put again at once."""
    clock = FakeClock()
    died, took_over = Server(clock), Server(clock)
    died.greet(b"run_id:1\r\n")
    took_over.greet(b"run_id:2\r\n")
    told: list[float] = []
    took_over.on_restart = told.append
    for _ in range(2):
        clock.move(1)
        died.note_answers()
        died.note_failure(OSError())
        for _ in range(20):
            took_over.succeed(died)
    assert told == [clock.uptime() - 1, clock.uptime()]
