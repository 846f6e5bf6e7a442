"""Does an update cost more when many users were seen before?

    python -m benchmarks.crowd [--rounds N] [--users N] [--only memory|redis]

Of every kind of mailboxes two gateways run beside each other. One remembers 1,000
users, the other 1,000,000. Both get the same load in turns; users who speak are spread
over all that are remembered. Everybody was served before, and has as many ids of
updates in his state as are kept, so that all updates are the same work: it is checked
that no session was opened.

With Redis each has its own, with an append-only file. The gateway's own mailboxes write
a state there, which is then signed and written for each of the others. In memory they
write all of them (see `crowded.py`).

Counted is processor time per update, of the gateway and of Redis; a ratio is that of
one round. Ends with 1 if the gateway's median of all rounds exceeds the limit.
"""

import argparse
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from benchmarks.children import ROOT, run, stolen_seconds, until
from benchmarks.contest import FIRST_USER, Entrant, entered
from benchmarks.figures import Figures, Spread, figures_of
from benchmarks.lineup import BOT_ID, LINEUP, TOKEN, Command, Contender
from benchmarks.load import HOST
from benchmarks.processes import StandIns, stand_ins
from benchmarks.seeding import serve
from benchmarks.slices import Load, Slice
from benchmarks.tables import print_machine, print_table
from gateway.background import BackgroundTasks
from gateway.clock import SystemClock
from gateway.domain.user_state import RECENT_IDS, STATE_TTL
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.pipeline import encode_command
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from gateway.mailboxes.signatures import SIGNATURE_BYTES, StoreSignatures
from tests.support.redis_servers import RedisServer
from tests.support.stores import KEYS

FEW, MANY = 1000, 1_000_000
ALLOWED = 1.05

LOADS = (
    Load("saturation", None, 700, 4),
    Load("300/s", 300, 300, 4),
    Load("100/s", 100, 150, 6),
)
_COPIES = 10_000
"""At once; their answers fit into the buffers of a connection."""

_SEEDING_SECONDS = 120
"""A limit: a million users take about a quarter of it."""


class Pair(NamedTuple):
    """Two gateways that differ in nothing but how many users they remember."""

    kind: str
    few: Entrant
    many: Entrant


class Round(NamedTuple):
    """What an update cost each of a pair."""

    few: Figures
    many: Figures

    @property
    def ratio(self) -> float:
        """Of the gateways' processor time."""
        return self.many.cpu_us / self.few.cpu_us

    @property
    def with_redis(self) -> float:
        """The same, that of Redis included."""
        few, many = (it.cpu_us + it.redis_us for it in self)
        return many / few


def _crowded(contender: Contender, users: int) -> Contender:
    """Give the gateway with mailboxes in memory that are full from the start."""
    given = (FIRST_USER, users, RECENT_IDS)
    words = (sys.executable, "-m", "benchmarks.crowded", *map(str, given), "serve")
    return contender._replace(
        command=lambda _: Command(words), start_seconds=_SEEDING_SECONDS
    )


@asynccontextmanager
async def _remembering(
    contender: Contender, users: int, around: StandIns
) -> AsyncIterator[Entrant]:
    """Run a gateway inside of the block that remembers so many users."""
    _say(f"{contender.title}: {users:,} users")
    if not contender.redis:
        contender = _crowded(contender, users)
    async with entered(contender, 1, around, users) as entrant:
        if entrant.redis:
            await _fill(entrant.redis, users)
        yield entrant


async def _fill(server: RedisServer, users: int) -> None:
    """Write the states: one as a gateway does, the others with what that one holds."""
    clock, scripts = SystemClock(), load_scripts()
    signatures = StoreSignatures([TOKEN])
    async with (
        BackgroundTasks() as background,
        ClusterClient(
            server.url, scripts.sources, clock, background=background
        ) as transport,
    ):
        mailboxes = RedisMailboxStore(
            transport, KEYS, scripts, clock, signatures, limit=64
        )
        await serve(
            mailboxes,
            bot_id=BOT_ID,
            first_user=FIRST_USER,
            users=1,
            remembered=RECENT_IDS,
        )
    for first in range(1, users, _COPIES):
        _copy(server, range(first, min(first + _COPIES, users)), signatures)
    # Else it comes while something is measured: the file has grown.
    server.ask("BGREWRITEAOF")

    async def at_rest() -> bool:
        return b"aof_rewrite_in_progress:0" in server.ask("INFO persistence")

    await until(at_rest, "the append-only file", _SEEDING_SECONDS, every=0.5)


def _copy(server: RedisServer, users: range, signatures: StoreSignatures) -> None:
    """Write the state of the first user for these users, each with its signature."""
    address = (HOST, server.port)
    with (
        socket.create_connection(address, _SEEDING_SECONDS) as connection,
        connection.makefile("rb") as replies,
    ):
        connection.sendall(encode_command((b"GET", _state_key(_lane(0)))))
        size = int(replies.readline()[1:])
        state = replies.read(size + 2)[SIGNATURE_BYTES:-2]
        sets = (
            (
                b"SET",
                _state_key(ordering_key),
                signatures.sign_state(ordering_key, state),
            )
            for ordering_key in map(_lane, users)
        )
        copies = (encode_command((*command, b"EX", STATE_TTL)) for command in sets)
        connection.sendall(b"".join(copies))
        if any(replies.readline() != b"+OK\r\n" for _ in users):
            raise RuntimeError("a state was not written")


def _lane(user: int) -> bytes:
    return b"%d/%d" % (BOT_ID, FIRST_USER + user)


def _state_key(ordering_key: bytes) -> bytes:
    return KEYS.get_shard(ordering_key).state_key(ordering_key)


async def _measure(pair: Pair, load: Load, number: int) -> Round:
    """Give each the load, in turns; the one who begins changes."""
    found = {each: Slice() for each in (pair.few, pair.many)}
    for part in range(load.slices):
        for each in (pair.few, pair.many)[:: -1 if (number + part) % 2 else 1]:
            found[each] = found[each].plus(await each.measure(load))
    return Round(figures_of(found[pair.few]), figures_of(found[pair.many]))


async def compare(kind: str, users: int, rounds: int) -> list[str]:
    """Measure and print a kind of mailboxes. Gives what exceeds its limit."""
    contender = next(it for it in LINEUP if it.name == kind and it.checkout == ROOT)
    done: dict[Load, list[Round]] = {load: [] for load in LOADS}
    async with stand_ins() as around, AsyncExitStack() as stack:
        few, many = [
            await stack.enter_async_context(_remembering(contender, count, around))
            for count in (FEW, users)
        ]
        pair, stolen = Pair(kind, few, many), stolen_seconds()
        for each in (few, many):
            await each.warm_up()
        for number in range(rounds):
            for load, found in done.items():
                found.append(await _measure(pair, load, number))
            _say(f"{contender.title}: round {number + 1} of {rounds} is done")
        memory = [round(each.memory() / 2**20) for each in (few, many)]
    _print(contender, users, done)
    print(f"\nMiB of the gateways: {memory[0]:,} and {memory[1]:,}", end="")
    print(f"; stolen: {stolen_seconds() - stolen:.1f} s\n", flush=True)
    if opened := few.work.resolved + many.work.resolved:
        raise RuntimeError(f"{opened} sessions were opened: it was not the same work")
    return [
        f"{contender.title}, {load.name}: {Spread.over([it.ratio for it in found])}"
        for load, found in done.items()
        if Spread.over([it.ratio for it in found]).middle > ALLOWED
    ]


def _print(contender: Contender, users: int, done: dict[Load, list[Round]]) -> None:
    print(f"{contender.title}: us per update, {FEW:,} and {users:,} users\n")
    heads = ["load", "round", f"{FEW:,}", f"{users:,}", "ratio"]
    heads += ["Redis", "Redis", "with Redis"]
    rows: list[list[object]] = []
    for load, found in done.items():
        for number, it in enumerate(found, 1):
            rows.append([load.name, str(number)])
            rows[-1] += [round(it.few.cpu_us), round(it.many.cpu_us), f"{it.ratio:.2f}"]
            rows[-1] += [round(it.few.redis_us), round(it.many.redis_us)]
            rows[-1] += [f"{it.with_redis:.2f}"]
    print_table(heads, rows)
    print()
    print_table(
        ["load", "ratio: median (min to max)", "with Redis", "allowed"],
        [
            [
                load.name,
                str(Spread.over([it.ratio for it in found])),
                str(Spread.over([it.with_redis for it in found])),
                f"{ALLOWED:.2f}, -",
            ]
            for load, found in done.items()
        ],
    )


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


async def main(kinds: list[str], users: int, rounds: int) -> None:
    """Measure, print, judge."""
    print_machine()
    exceeded = [it for kind in kinds for it in await compare(kind, users, rounds)]
    if exceeded:
        sys.exit("exceeded: " + "; ".join(exceeded))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--users", type=int, default=MANY)
    names = ("memory", "redis")
    parser.add_argument("--only", choices=names, nargs="+", default=names)
    asked = parser.parse_args()
    run(
        main(list(asked.only), asked.users, asked.rounds),
        within=2 * _SEEDING_SECONDS + 200 * asked.rounds,
    )
