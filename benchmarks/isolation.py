"""1,000 users who hang in a slow call do not delay the reply to another user.

    python -m benchmarks.isolation

Every round measures the same messages of 200 other users twice: alone, and while 1,000
users hang in a call of 5 s. The order changes from round to round. The time of a reply
runs from when its message was due at the webhook until the reply is at the Bot API.
All 1,000 hang whenever one of these messages comes by. The moments in which 1,000 calls
begin and end at once are left out: they are 1,000 updates' worth of work.

A machine that pauses shows in single rounds, with or without hanging users; what users
do to each other shows in all of them. So it ends with 1 if in the typical round (the
median) the slowest reply beside hanging users took over 50 ms more than the median
reply of that round without them.
"""

import argparse
import sys
from statistics import median
from typing import NamedTuple

from benchmarks.children import run, stolen_seconds, until
from benchmarks.load import Mark, post
from benchmarks.processes import Gateway, StandIns, gateway, stand_ins
from benchmarks.tables import percentile, print_machine, print_table

HANGING = 1000
HANG_SECONDS = 5
OTHERS = 200
OTHERS_SECONDS = 3.5
"""Shorter than the call, which takes a moment to begin for all who hang."""
ALLOWED_MS = 50
ATTEMPTS = 3

_HANGING_USER = 1_000_000
_OTHER_USER = 2_000_000


class Round(NamedTuple):
    """One round's times in ms.

    Attributes:
        alone: of the replies to the others while nobody hung.
        beside: the same while all the hanging users hung.
        stolen: processor time that the host of this machine took away meanwhile.
    """

    alone: list[float]
    beside: list[float]
    stolen: float

    @property
    def over(self) -> float:
        """How much the slowest reply beside is over the median one alone."""
        return max(self.beside) - median(self.alone)

    def figures(self) -> list[float]:
        """Give median, 99th percentile and maximum of both, and the differences."""
        alone = [percentile(self.alone, percent) for percent in (50, 99, 100)]
        beside = [percentile(self.beside, percent) for percent in (50, 99, 100)]
        more = [b - a for a, b in zip(alone, beside, strict=True)]
        return [*alone, *beside, *more, self.stolen]


class Isolation:
    """The benchmark, on running processes.

    Attributes:
        repeated: measurements that were repeated, because a call that hangs ended
            before all the others had their replies.
    """

    def __init__(self, measured: Gateway, around: StandIns) -> None:
        self._gateway = measured
        self._around = around
        self.repeated = 0

    async def warm_up(self) -> None:
        """Let everybody say something, so that connections and sessions are open."""
        await self._say("warm-up", _HANGING_USER, HANGING)
        await self._measure()

    async def round(self, *, alone_first: bool) -> Round:
        """Measure both."""
        stolen = stolen_seconds()
        if alone_first:
            alone = await self._alone()
            beside = await self._beside()
        else:
            beside = await self._beside()
            alone = await self._alone()
        return Round(alone, beside, (stolen_seconds() - stolen) * 1000)

    async def _alone(self) -> list[float]:
        times, _ = await self._measure()
        return times

    async def _beside(self) -> list[float]:
        for _ in range(ATTEMPTS):
            await self._say("hanging", _HANGING_USER, HANGING, hang=HANG_SECONDS)
            await until(self._all_hang, "all users to hang", HANG_SECONDS)
            times, hanging = await self._measure()
            if hanging == HANGING:
                return times
            self.repeated += 1
        raise TimeoutError(f"calls ended before the replies came, {ATTEMPTS} times")

    async def _measure(self) -> tuple[list[float], int]:
        """Let the others speak; gives their times and the least that hung meanwhile."""
        rate = OTHERS / OTHERS_SECONDS
        await self._say("others", _OTHER_USER, OTHERS, rate=rate)
        await until(self._gateway.idle, "the last reply")
        taken = await self._around.take()
        times = [seconds * 1000 for seconds in taken.seconds["others"]]
        if len(times) != OTHERS:
            raise RuntimeError(f"{len(times)} of {OTHERS} replies came")
        return times, taken.least_hanging

    async def _say(
        self,
        group: str,
        first: int,
        users: int,
        *,
        hang: float = 0,
        rate: float | None = None,
    ) -> None:
        """Let each of some users say something."""

        def make(index: int, sent: float) -> bytes:
            mark = Mark(group, sent, hang)
            return self._gateway.messages.message(first + index, mark)

        await post(self._gateway.connections, users, make, rate=rate)

    async def _all_hang(self) -> bool:
        return (await self._around.counts()).hanging == HANGING


async def main(rounds: int) -> None:
    """Measure, print, judge."""
    print_machine()
    print(
        f"{OTHERS} others speak in {OTHERS_SECONDS} s, alone and beside {HANGING:,}"
        f" users in a {HANG_SECONDS} s call: ms from webhook to Bot API\n"
    )
    settings = {
        # Everybody speaks once in each round, however soon the next one comes.
        "RATE_LIMIT_REQUESTS": "1000",
        # The default is 5 s, which is when the slow call answers.
        "CONVERSATION_TIMEOUT": "10",
    }
    async with stand_ins() as around, gateway(around, **settings) as measured:
        benchmark = Isolation(measured, around)
        await benchmark.warm_up()
        done = [
            await benchmark.round(alone_first=number % 2 == 0)
            for number in range(rounds)
        ]
        outcomes = await measured.outcomes()
    _print(done)
    print(f"repeated measurements: {benchmark.repeated}; outcomes: {outcomes}")
    over = median(each.over for each in done)
    print(
        "slowest beside over median alone, in the typical round: "
        f"{over:.1f} ms (allowed: {ALLOWED_MS})"
    )
    if set(outcomes) != {"done"}:
        sys.exit("not every update was answered")
    if over > ALLOWED_MS:
        sys.exit("too slow")


def _print(done: list[Round]) -> None:
    rows = [[str(number), *each.figures()] for number, each in enumerate(done, 1)]
    together = Round(
        [time for each in done for time in each.alone],
        [time for each in done for time in each.beside],
        sum(each.stolen for each in done),
    )
    rows.append(["all", *together.figures()])
    kinds = ("alone", "beside", "more")
    heads = [f"{kind} {name}" for kind in kinds for name in ("p50", "p99", "max")]
    print_table(["round", *heads, "stolen"], rows)
    print("\nstolen: processor time that the host of this machine took away, in ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    run(main(arguments.rounds), within=60 + 40 * arguments.rounds)
