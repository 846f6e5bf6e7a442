"""An outage of the Bot API, measured: `python -m tests.chaos.outage`.

Users write at a steady rate, and for some seconds the Bot API answers 500 to their
replies. Every fifth user is in a chat that works all the time. Before and after the
outage every fiftieth message is taken and its connection reset before the answer. Three
parts: a gateway with its mailboxes in memory and an outage for all chats; the same with
the chats that work; and two gateways on a Redis, one of which is killed (SIGKILL) in
the middle of the outage and started again.

It ends with 1 if a reply was lost, sent twice without need, or out of order. It listens
on loopback only and ends by itself.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct, field

from tests.chaos.figures import quantile
from tests.chaos.harness import ChaosHarness, Setup, running_harness
from tests.chaos.history import Effect, History, Kind, Posted
from tests.chaos.order import order
from tests.chaos.sender import Sender
from tests.chaos.standins import RESET
from tests.chaos.verdict import Verdict

WORKING = 5
"""One user out of so many is in a chat that works."""

RESETS = 0.02
"""Which part of the messages is taken without an answer."""

ARRIVE_SECONDS = 90.0
"""How long after the outage the last reply may arrive."""

KILLED = 0
"""The number of the gateway that is killed."""


class Outage(Struct, kw_only=True):
    """What is done.

    Attributes:
        seconds: how long the Bot API fails.
        rate: updates per second.
        users: who write.
        calm: for how many seconds they write before it, and after it.
        working: some chats work all the time.
        redis: two gateways on a Redis; one is killed in the middle.
    """

    seconds: float = 30
    rate: float = 40
    users: int = 1000
    calm: float = 4
    working: bool = True
    redis: bool = False


class Seen(Struct, kw_only=True):
    """What came of it. Times are seconds.

    Attributes:
        history: all that happened.
        start: when the outage began.
        end: when it ended.
        restarted: when the gateway that was killed ran again. 0: none was.
        refused: when messages were refused.
        resets: messages that were taken without an answer.
        lost: replies that never arrived.
        inverted: what was out of order.
        doubled: replies that arrived twice; not those that a kill excuses.
        in_flight: replies that arrived twice because of the kill.
        overtaken: replies that arrived twice because a gateway stood still for longer
            than a lease lasts, as on a busy machine, and another one took over.
    """

    history: History
    start: float
    end: float
    restarted: float
    refused: list[float]
    resets: int
    lost: list[int] = field(default_factory=list)
    inverted: list[str] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)
    overtaken: list[int] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """True: nothing was lost, doubled or out of order."""
        return not (self.lost or self.inverted or self.doubled)


class SteadySender(Sender):
    """Sends updates at a steady rate, each of a user of whom none is under way."""

    def __init__(self, made: ChaosHarness, outage: Outage) -> None:
        gates = [worker.gate for worker in made.workers]
        rng = random.Random(made.setup.seed + 1)
        super().__init__(made.history, gates, rng, users=outage.users, rate=outage.rate)
        self._choice = rng
        self._seconds = 1 / outage.rate
        self._free = list(range(1000, 1000 + outage.users))

    async def run(self) -> None:
        """Send until `stop`, and then until all is accepted."""
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not self._stopped.is_set():
                if self._free:
                    at = self._choice.randrange(len(self._free))
                    self._free[at], self._free[-1] = self._free[-1], self._free[at]
                    group.create_task(self._write(self._free.pop()))
                due += self._seconds
                await asyncio.sleep(max(0, due - time.monotonic()))

    async def _write(self, user: int) -> None:
        for posted, request in self._act(user, "message", 1):
            await self._deliver(posted, request)
        self._free.append(user)


def works(user: int) -> bool:
    """Return whether a user is in a chat that works all the time."""
    return user % WORKING == 0


async def run(directory: Path, outage: Outage, seed: int = 1) -> Seen:
    """Do a run with its files in a directory; gives what was seen."""
    # On a machine that is busy with all this, Redis would seem to be away.
    settings = {"STORE_PATIENCE": "60"} if outage.redis else {"REDIS_URL": ""}
    workers = 2 if outage.redis else 1
    setup = Setup(seed=seed, workers=workers, settings=settings, users=10**6)
    async with running_harness(setup, directory) as made:
        made.sender = SteadySender(made, outage)
        rng = random.Random(seed)

        def reset_some(_: int) -> int:
            return RESET if rng.random() < RESETS else 0

        def fail(chat: int) -> int:
            return 0 if outage.working and works(chat) else 500

        made.bot_api.fault = reset_some
        async with asyncio.TaskGroup() as group:
            group.create_task(made.sender.run())
            await asyncio.sleep(outage.calm)
            start = time.monotonic()
            made.bot_api.fault = fail
            restarted = await _sit_out(made, outage)
            made.bot_api.fault = reset_some
            end = time.monotonic()
            await asyncio.sleep(outage.calm)
            made.sender.stop()
        await _all_arrived(made.history)
        await made.finish()
        seen = Seen(
            history=made.history,
            start=start,
            end=end,
            restarted=restarted,
            refused=made.bot_api.refused,
            resets=made.bot_api.resets,
        )
    _judge(seen)
    return seen


async def _sit_out(made: ChaosHarness, outage: Outage) -> float:
    """Wait for the end of the outage; gives when the killed gateway ran again, or 0."""
    if not outage.redis:
        await asyncio.sleep(outage.seconds)
        return 0
    began = time.monotonic()
    await asyncio.sleep(outage.seconds / 2)
    worker = made.workers[KILLED]
    with made.fault("kill", worker):
        await worker.kill()
        await made.start(worker)
    restarted = time.monotonic()
    await asyncio.sleep(max(0, began + outage.seconds - time.monotonic()))
    return restarted


async def _all_arrived(history: History) -> None:
    limit = time.monotonic() + ARRIVE_SECONDS
    while time.monotonic() < limit:
        if history.posted.keys() <= history.effects_of(Kind.SEND).keys():
            return
        await asyncio.sleep(0.2)


def _judge(seen: Seen) -> None:
    """Find what was lost, doubled or out of order."""
    sent = seen.history.effects_of(Kind.SEND)
    seen.lost = sorted(seen.history.posted.keys() - sent.keys())
    for update, effects in sent.items():
        if len(effects) < 2:
            continue
        first = effects[0]
        if _was_killed(seen, first):
            seen.in_flight.append(update)
        elif (first.worker, first.ordering_key) in seen.history.lost_leases:
            seen.overtaken.append(update)
        else:
            seen.doubled.append(update)
    verdict = Verdict()
    order(seen.history, verdict)
    seen.inverted = [line for lines in verdict.violations.values() for line in lines]


def _was_killed(seen: Seen, first: Effect) -> bool:
    """Return whether a gateway was killed between sending a reply and its commit.

    Whoever commits an update logs its outcome, so one outcome is the second gateway's.
    """
    outcomes = [it for it, _ in seen.history.outcomes if it == first.update_id]
    return first.worker == KILLED and first.time <= seen.restarted and len(outcomes) < 2


def table(outage: Outage, seen: Seen) -> Iterator[str]:
    """Say in lines what was seen."""
    history = seen.history
    posted = list(history.posted.values())
    during = [it for it in posted if seen.start <= it.sent <= seen.end]
    firsts = {k: v[0] for k, v in history.effects_of(Kind.SEND).items()}
    calm = [it for it in posted if it.sent < seen.start - 1]
    others = (
        [it for it in during if works(int(it.ordering_key))] if outage.working else []
    )
    waited = [it for it in during if it not in others]
    left = [firsts[it.update_id].time for it in waited if it.update_id in firsts]
    refused = [it for it in seen.refused if it <= seen.end]
    rows = {
        "updates accepted": f"{len(posted)}, {len(during)} of them in the outage",
        "webhook": _times([answer.seconds for answer in history.answers]),
        "replies lost": str(len(seen.lost)),
        "out of order": str(len(seen.inverted)),
        "resets after a message": str(seen.resets),
        "sent twice": str(len(seen.doubled)),
        "sent twice, in flight at kill": str(len(seen.in_flight)),
        "sent twice, lease lost": str(len(seen.overtaken)),
        "update to reply, before": _times(_delays(calm, firsts)),
        "the same, chats that work": _times(_delays(others, firsts)),
        "the same, chats that wait": _times(_delays(waited, firsts)),
        "last of them after the end": f"{max(left, default=0) - seen.end:.1f} s",
        "requests refused": f"{len(refused)}, {len(refused) / outage.seconds:.0f}/s",
        "outcomes logged": str(_counted([it for _, it in history.outcomes])),
    }
    for name, value in rows.items():
        yield f"{name:30} {value}"
    for line in seen.inverted[:5]:
        yield f"    {line}"


def _delays(posted: Sequence[Posted], firsts: dict[int, Effect]) -> list[float]:
    return [
        firsts[it.update_id].time - it.sent for it in posted if it.update_id in firsts
    ]


def _times(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    values = [1000 * quantile(seconds, part) for part in (0.5, 0.99, 1)]
    return "p50 {:.0f}, p99 {:.0f}, longest {:.0f} ms".format(*values)


def _counted(names: Sequence[str]) -> dict[str, int]:
    return {name: names.count(name) for name in sorted(set(names))}


def main() -> int:
    """Run all three parts; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.outage", description=__doc__
    )
    parser.add_argument("--seconds", type=float, default=30, help="Of the outage.")
    parser.add_argument("--rate", type=float, default=40, help="Updates per second.")
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    parts = {
        "memory, all chats": Outage(working=False),
        "memory, four fifths of the chats": Outage(),
        "Redis, a gateway killed": Outage(redis=True),
    }
    good = True
    for name, part in parts.items():
        part.seconds, part.rate, part.users = given.seconds, given.rate, given.users
        with tempfile.TemporaryDirectory(prefix="outage-") as directory:
            seen = asyncio.run(run(Path(directory), part, given.seed))
        good &= seen.good
        lines = [f"500 for {part.seconds:.0f} s at {part.rate:.0f}/s: {name}"]
        sys.stdout.write("\n".join([*lines, *table(part, seen), "", ""]))
        sys.stdout.flush()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
