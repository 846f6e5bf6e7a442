"""Gateways that fetch their updates, and whose poller is killed again and again.

python -m tests.chaos.polling

Two parts. In the first, three gateways share a Redis, and every few seconds the one
that polls is killed. In the second there is one gateway without a Redis, which keeps
its mailboxes in memory and is killed as well. In both, every update has to be answered,
and those of a user in their order.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.workers.supervisor import RestartBackoff
from tests.chaos.harness import ChaosHarness, Setup, running_harness
from tests.chaos.history import History, Kind, Posted
from tests.chaos.workers import Worker

ARRIVE_SECONDS = 90.0
"""How long the last replies may take after the last update."""

MAX_GAP_SECONDS = 5.0
"""How long no gateway may poll after a kill."""

MAX_UPDATES = 100


class _GetUpdates(Struct):
    offset: int | None = None
    limit: int = MAX_UPDATES
    timeout: float = 0


class UpdateQueue:
    """Telegram's updates of a bot, until they are confirmed.

    Attributes:
        calls: when each call arrived, and which worker made it.
        conflicts: how many calls were ended by a later one.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[float, int]] = []
        self.conflicts = 0
        self._pending: dict[int, bytes] = {}
        self._news = asyncio.Event()
        self._read = msgspec.json.Decoder(_GetUpdates).decode

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, update_id: int, body: bytes) -> None:
        """Add an update, with a higher id than all before."""
        self._pending[update_id] = body
        self._wake()

    async def answer(self, worker: int, body: bytes) -> tuple[int, bytes]:
        """Answer a call; returns the status and the body."""
        call = self._read(body)
        self.calls.append((time.monotonic(), worker))
        number = len(self.calls)
        self._wake()
        if call.offset is not None:
            for update_id in [it for it in self._pending if it < call.offset]:
                del self._pending[update_id]
        end = time.monotonic() + call.timeout
        while not self._pending and (left := end - time.monotonic()) > 0:
            news = self._news
            try:
                async with asyncio.timeout(left):
                    await news.wait()
            except TimeoutError:
                break
            if number != len(self.calls):
                self.conflicts += 1
                return 409, b'{"ok":false,"error_code":409,"description":"Conflict"}'
        updates = list(self._pending.values())[: call.limit]
        return 200, b'{"ok":true,"result":[%b]}' % b",".join(updates)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Plan(Struct, kw_only=True):
    """What is done.

    Attributes:
        updates: how many updates are sent.
        rate: how many of them in a second.
        users: how many users send them.
        every: after how many seconds the next gateway is killed.
        gateways: how many gateways there are; a single one has no Redis.
        seed: of all that is random.
    """

    updates: int
    rate: float
    users: int = 500
    every: float = 5
    gateways: int = 3
    seed: int = 1


class Seen(Struct, kw_only=True):
    """What came of it.

    Attributes:
        history: all that happened.
        queue: the updates at Telegram.
        kills: when gateways were killed.
        gaps: for how many seconds no other gateway polled after each kill.
        lost: updates without a reply.
        inverted: updates that were answered before an earlier one of their user.
        repeated: updates that were answered more than once.
    """

    history: History
    queue: UpdateQueue
    kills: list[float]
    gaps: list[float]
    lost: list[int]
    inverted: list[int]
    repeated: list[int]


async def run(directory: Path, plan: Plan) -> Seen:
    """Do a run with its files in a directory."""
    settings = {"UPDATES": "poll", "STORE_PATIENCE": "60"}
    if plan.gateways == 1:
        settings["REDIS_URL"] = ""
    setup = Setup(seed=plan.seed, workers=plan.gateways, settings=settings, users=10**6)
    queue = UpdateQueue()
    kills: list[float] = []
    async with running_harness(setup, directory, updates=queue) as made:
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(_keep_killing(made, queue, plan, kills))
            await _send(made.history, queue, plan)
            killing.cancel()
        for worker in made.workers:
            if not worker.running:
                await made.start(worker)
        limit = time.monotonic() + ARRIVE_SECONDS
        while time.monotonic() < limit and _find_lost(made.history):
            await asyncio.sleep(0.2)
        await made.finish()
    return _judge(made.history, queue, kills)


async def _send(history: History, queue: UpdateQueue, plan: Plan) -> None:
    rng = random.Random(plan.seed)
    due = time.monotonic()
    for update_id in range(500_000_001, 500_000_001 + plan.updates):
        user = 1000 + rng.randrange(plan.users)
        now = time.monotonic()
        history.posted[update_id] = Posted(update_id, str(user), now, accepted=now)
        queue.add(update_id, _write(update_id, user))
        due += 1 / plan.rate
        await asyncio.sleep(max(0, due - time.monotonic()))


def _write(update_id: int, user: int) -> bytes:
    message = {
        "message_id": 1,
        "date": int(time.time()),
        "chat": {"id": user, "type": "private"},
        "from": {"id": user, "is_bot": False, "first_name": "Ann"},
        "text": "hi",
    }
    return json.dumps({"update_id": update_id, "message": message}).encode()


async def _keep_killing(
    made: ChaosHarness, queue: UpdateQueue, plan: Plan, kills: list[float]
) -> None:
    """Kill the gateway that polls, and start it again as the supervisor does."""
    backoffs = [RestartBackoff() for _ in made.workers]
    async with asyncio.TaskGroup() as group:
        while True:
            await asyncio.sleep(plan.every)
            if not queue.calls:
                continue
            worker = made.workers[queue.calls[-1][1]]
            if worker.gate.open and not worker.busy:
                worker.busy = True
                pause = backoffs[worker.number].next_delay(lifetime=plan.every)
                await worker.kill()
                kills.append(time.monotonic())
                group.create_task(_restart(made, worker, pause))


async def _restart(made: ChaosHarness, worker: Worker, pause: float) -> None:
    await asyncio.sleep(pause)
    await made.start(worker)
    worker.busy = False


def _find_lost(history: History) -> list[int]:
    return sorted(history.posted.keys() - history.effects_of(Kind.SEND).keys())


def _judge(history: History, queue: UpdateQueue, kills: list[float]) -> Seen:
    inverted = []
    for firsts in history.firsts(Kind.SEND).values():
        highest = 0
        for effect in firsts:
            if effect.update_id < highest:
                inverted.append(effect.update_id)
            highest = max(highest, effect.update_id)
    times = [time for time, _ in queue.calls]
    gaps = [
        min((time - kill for time in times if time > kill), default=0.0)
        for kill in kills
    ]
    return Seen(
        history=history,
        queue=queue,
        kills=kills,
        gaps=gaps,
        lost=_find_lost(history),
        inverted=inverted,
        repeated=[
            update_id
            for update_id, effects in history.effects_of(Kind.SEND).items()
            if len(effects) > 1
        ],
    )


def table(seen: Seen) -> Iterator[str]:
    """Describe in lines what was seen."""
    firsts = seen.history.effects_of(Kind.SEND)
    delays = sorted(
        firsts[it.update_id][0].time - it.sent
        for it in seen.history.posted.values()
        if it.update_id in firsts
    )
    rows = {
        "updates": f"{len(seen.history.posted):,}",
        "replies lost": str(len(seen.lost)),
        "out of order": str(len(seen.inverted)),
        "answered more than once": str(len(seen.repeated)),
        "kills": str(len(seen.kills)),
        "gap after a kill": f"{max(seen.gaps, default=0):.1f} s at most",
        "conflicts at Telegram": str(seen.queue.conflicts),
        "not confirmed at the end": str(len(seen.queue)),
        "update to reply, median": f"{1000 * delays[len(delays) // 2]:.0f} ms",
    }
    for name, value in rows.items():
        yield f"{name:30} {value}"


def main() -> int:
    """Run both parts; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.polling", description=__doc__
    )
    parser.add_argument("--updates", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=300, help="Updates per second.")
    parser.add_argument("--memory-updates", type=int, default=5_000)
    parser.add_argument("--memory-rate", type=float, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    parts = {
        "three gateways with a Redis": Plan(
            updates=given.updates, rate=given.rate, seed=given.seed
        ),
        "one gateway in memory": Plan(
            updates=given.memory_updates,
            rate=given.memory_rate,
            gateways=1,
            seed=given.seed,
        ),
    }
    is_good = True
    for name, plan in parts.items():
        with tempfile.TemporaryDirectory(prefix="polling-") as directory:
            seen = asyncio.run(run(Path(directory), plan))
        if plan.gateways > 1:
            is_good &= max(seen.gaps, default=0) < MAX_GAP_SECONDS
        is_good &= not (seen.lost or seen.inverted)
        sys.stdout.write("\n".join([f"Polling, {name}", *table(seen), "", ""]))
        sys.stdout.flush()
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
