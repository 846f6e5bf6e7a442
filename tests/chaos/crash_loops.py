"""Workers that are killed again and again under slow calls, and updates that end them.

python -m tests.chaos.crash_loops

Two parts, a few minutes. In the first, workers are killed while services take seconds
to answer: no update may be given up, and whatever is left is called soon after the last
kill. In the second nobody is killed, but one update among hundreds ends every worker
that processes it: it has to be given up within a minute, and nothing else with it.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from msgspec import Struct

from gateway.background import cancel_and_wait
from gateway.workers.supervisor import RestartBackoff
from tests.chaos.harness import ChaosHarness, Setup
from tests.chaos.history import History, Kind
from tests.chaos.poison import POISON, POISON_ANSWER, POISON_CALL
from tests.chaos.run import play
from tests.chaos.workers import Worker

CALL_SECONDS = (0.0, 5.5)
"""What services take to answer."""

# What a gateway takes into its memory is lost with it. On a machine that is too slow
# for all this, Redis would seem to be away.
SETTINGS = {"STORE_PATIENCE": "60"}

CALLED_WITHIN, GIVEN_UP_WITHIN = 30.0, 60.0
"""Seconds after the last kill, and after the poison came in."""

TEXTS = {"routed": POISON, "answered": POISON_ANSWER, "called": POISON_CALL}


class Storm(Struct):
    """What came of the kills.

    Attributes:
        history: all that was seen.
        last_kill: when it was.
        kills: how many there were.
    """

    history: History
    last_kill: float
    kills: int

    @property
    def uncalled(self) -> int:
        """How many accepted updates no service had been called for at the last kill."""
        return sum(time > self.last_kill for time in self._first_calls())

    @property
    def called_after(self) -> float:
        """Seconds from the last kill until every update had been called for."""
        return max(0.0, *(time - self.last_kill for time in self._first_calls()))

    @property
    def settled_after(self) -> float:
        """Seconds from the last kill until the last call was made, repetitions too."""
        calls = self.history.effects_of(Kind.CALL).values()
        return max(effects[-1].time for effects in calls) - self.last_kill

    @property
    def most_calls(self) -> int:
        """How often a service was called for one update, at most."""
        return max(map(len, self.history.effects_of(Kind.CALL).values()))

    @property
    def never_called(self) -> Counter[str]:
        """What became of the accepted updates that no service was called for.

        Buttons expire: Telegram takes no answer later than 150 s after the press.
        """
        outcomes = dict(self.history.outcomes)
        called = self.history.effects_of(Kind.CALL)
        return Counter(
            outcomes.get(update_id, "lost")
            for update_id in self.history.posted
            if update_id not in called
        )

    def _first_calls(self) -> list[float]:
        calls = self.history.effects_of(Kind.CALL).values()
        return [effects[0].time for effects in calls]


async def storm(directory: Path, setup: Setup, kills: int, every: float) -> Storm:
    """Kill workers under load, so many times, and let them be started again."""

    async def act(made: ChaosHarness) -> None:
        await asyncio.sleep(5)
        async with asyncio.TaskGroup() as group:
            done = 0
            backoffs = [RestartBackoff() for _ in made.workers]
            while done < kills:
                open_ones = [it for it in made.workers if it.gate.open and not it.busy]
                if open_ones:
                    worker = made.rng.choice(open_ones)
                    worker.busy = True
                    done += 1
                    pause = backoffs[worker.number].next_delay(lifetime=every)
                    group.create_task(_kill(made, worker, pause))
                await asyncio.sleep(every)
            made.sender.stop()

    history = await play(directory, setup, act)
    last_kill = max(span.start for span in history.spans if span.kind == "kill")
    return Storm(history, last_kill, kills)


async def _kill(made: ChaosHarness, worker: Worker, pause: float) -> None:
    """Kill a worker, and start it again as the supervisor does."""
    with made.fault("kill", worker):
        await worker.kill()
        await asyncio.sleep(pause)
        await made.start(worker)
    worker.busy = False


class Poisoning(Struct):
    """What came of an update that ends its workers.

    Attributes:
        history: all that was seen.
        poison: the update.
        beside: how many mailboxes had mail when it came in.
        seconds: until it was given up.
        deaths: how many workers it ended.
    """

    history: History
    poison: int
    beside: int
    seconds: float
    deaths: int


async def poisoning(
    directory: Path, setup: Setup, text: str, beside: int, within: float
) -> Poisoning:
    """Send an update that ends its workers to gateways with so many busy mailboxes."""
    marked: list[int] = []
    wanted = False
    found = seconds = 0.0

    def give_text(update_id: int) -> str:
        if wanted and not marked:
            marked.append(update_id)
        return text if update_id in marked else "hi"

    async def act(made: ChaosHarness) -> None:
        nonlocal wanted, found, seconds
        keeping = [asyncio.create_task(_keep_alive(made, it)) for it in made.workers]
        try:
            while (found := await made.store.count_mailboxes()) < beside:
                await asyncio.sleep(0.1)
            wanted = True
            while not marked:
                await asyncio.sleep(0.01)
            began = time.monotonic()
            while not await made.store.dead_letters() and seconds < within:
                await asyncio.sleep(0.2)
                seconds = time.monotonic() - began
            while not all(worker.gate.open for worker in made.workers):
                await asyncio.sleep(0.1)
        finally:
            await cancel_and_wait(*keeping)

    setup.text = give_text
    setup.module = "tests.chaos.poison"
    history = await play(directory, setup, act)
    deaths = sum(span.kind == "poison" for span in history.spans)
    return Poisoning(history, marked[0], int(found), seconds, deaths)


async def _keep_alive(made: ChaosHarness, worker: Worker) -> None:
    """Start a worker again whenever it ended, as the supervisor does."""
    backoff = RestartBackoff()
    while True:
        began = time.monotonic()
        await worker.ended()
        with made.fault("poison", worker):
            await asyncio.sleep(backoff.next_delay(time.monotonic() - began))
            await made.start(worker)


def main() -> int:
    """Run both parts; gives 1 if one of them shows a fault."""
    given = _arguments()
    setup = Setup(
        seed=given.seed,
        workers=given.workers,
        users=given.users,
        rate=given.rate,
        settings=SETTINGS,
        call_seconds=CALL_SECONDS,
        per_user=1,  # else users wait for their own slow updates
    )
    faults: list[str] = []
    if given.kills:
        with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
            faults += _tell_storm(
                asyncio.run(storm(Path(directory), setup, given.kills, given.every))
            )
    for phase in given.poison:
        with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
            within = GIVEN_UP_WITHIN if phase != "called" else 10 * GIVEN_UP_WITHIN
            text, busy = TEXTS[phase], given.beside
            seen = asyncio.run(
                poisoning(Path(directory), setup, text, busy, 2 * within)
            )
            faults += _tell_poisoning(phase, seen, within)
    sys.stdout.write("faults: " + (", ".join(faults) or "none") + "\n")
    return 1 if faults else 0


def _tell_storm(seen: Storm) -> list[str]:
    history = seen.history
    dead = history.left.dead
    sys.stdout.write(
        f"{len(history.posted)} accepted, {seen.kills} kills, calls of"
        f" {CALL_SECONDS[0]} to {CALL_SECONDS[1]} s\n"
        f"dead letters: {len(dead)}; never called: {dict(seen.never_called) or 0};"
        f" left in mailboxes: {history.left.pending}\n"
        f"not called yet at the last kill: {seen.uncalled}; all called"
        f" {seen.called_after:.1f} s after it; the last repetition begun"
        f" {seen.settled_after:.1f} s after it; calls for one update:"
        f" {seen.most_calls} at most\n"
    )
    sys.stdout.flush()
    wrong = {
        "updates were given up": dead,
        "updates were lost": seen.never_called["lost"] or history.left.pending,
        "updates waited too long": seen.settled_after > CALLED_WITHIN,
    }
    return [fault for fault, seen_it in wrong.items() if seen_it]


def _tell_poisoning(phase: str, seen: Poisoning, within: float) -> list[str]:
    dead = seen.history.left.dead
    alone = dead == [(seen.poison, "poison")]
    sys.stdout.write(
        f"poison that ends workers when {phase}, among {seen.beside} busy mailboxes:"
        f" {'given up alone' if alone else f'dead letters {dead}'} after"
        f" {seen.seconds:.1f} s and {seen.deaths} deaths of workers;"
        f" {len(seen.history.posted)} accepted, left in mailboxes:"
        f" {seen.history.left.pending}\n"
    )
    sys.stdout.flush()
    wrong = {
        "poison was not given up alone": not alone,
        "poison was given up too late": seen.seconds > within,
        "updates were lost": seen.history.left.pending,
    }
    return [fault for fault, seen_it in wrong.items() if seen_it]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=45, help="0: none.")
    parser.add_argument("--every", type=float, default=2.0, help="Seconds.")
    parser.add_argument("--rate", type=float, default=100, help="Updates per second.")
    parser.add_argument("--users", type=int, default=1500)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--beside", type=int, default=200, help="Busy mailboxes.")
    parser.add_argument(
        "--poison", nargs="*", choices=TEXTS, default=["routed", "answered"]
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
