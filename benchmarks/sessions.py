"""What a session takes while its user is idle, and that nothing else is left behind.

    python -m benchmarks.sessions [--users N]

100,000 users say one thing each, as fast as the gateway answers. After every fifth of
them all work is let end; then memory is read, and what is left. A second run may keep
a fifth of the sessions only: from there on its memory has to stay where it is.

Ends with 1 if an actor, an update or a wrong number of sessions is left, if memory
grows over 5 MiB at a constant number of sessions, or if an update ended in another way
than with its answer.
"""

import argparse
import sys
import time
from typing import NamedTuple

from benchmarks.children import cpu_seconds, memory, run, until
from benchmarks.load import Mark, post
from benchmarks.processes import Gateway, StandIns, gateway, stand_ins
from benchmarks.tables import print_machine, print_table

WARM_UP_USERS = 1000
STEPS = 5
IN_FLIGHT = 250
"""Messages without an answer at any time: enough to keep the gateway busy."""

ALLOWED_MIB = 5
"""How much memory may still grow at a constant number of sessions."""

_FIRST_USER = 7_000_000_000
_STEADY_BYTES = 100_000
_STEADY_SECONDS = 0.5


class Reading(NamedTuple):
    """The gateway when all work has ended.

    Attributes:
        users: how many have spoken so far.
        sessions: how many sessions are kept.
        memory: bytes.
        actors: how many users are served still.
        queued: updates that wait still.
        rate: updates per second since the reading before.
        cpu: processor time since then, in seconds per update.
    """

    users: int
    sessions: int
    memory: int
    actors: int
    queued: int
    rate: float
    cpu: float


async def readings(users: int, limit: int) -> list[Reading]:
    """Let users speak to a new gateway.

    Args:
        users: how many, after the warm-up.
        limit: how many sessions it may keep.

    Returns:
        The readings after the warm-up and after each step.

    Raises:
        RuntimeError: an update ended in another way than with its answer.
    """
    async with (
        stand_ins() as around,
        gateway(around, SESSION_LIMIT=str(limit)) as measured,
    ):
        done = [await _step(measured, around, 0, WARM_UP_USERS)]
        for _ in range(STEPS):
            done.append(await _step(measured, around, done[-1].users, users // STEPS))
        outcomes = await measured.outcomes()
        if outcomes != {"done": done[-1].users}:
            raise RuntimeError(f"outcomes: {outcomes}")
        return done


async def _step(
    measured: Gateway, around: StandIns, before: int, users: int
) -> Reading:
    """Let further users speak, and wait until all is quiet."""

    def make(index: int, sent: float) -> bytes:
        user = _FIRST_USER + before + index
        return measured.messages.message(user, Mark("users", sent))

    start, cpu = time.monotonic(), cpu_seconds(measured.process.pid)
    async with around.window(IN_FLIGHT) as window:
        await post(measured.connections, users, make, window=window)
    await until(measured.idle, "the last answer")
    seconds, cpu = time.monotonic() - start, cpu_seconds(measured.process.pid) - cpu
    steady_memory = await _steady_memory(measured)
    metrics = await measured.metrics()
    return Reading(
        users=before + users,
        sessions=int(metrics["gateway_sessions"]),
        memory=steady_memory,
        actors=int(metrics["gateway_active_actors"]),
        queued=int(metrics["gateway_queued_updates"]),
        rate=users / seconds,
        cpu=cpu / users,
    )


async def _steady_memory(measured: Gateway) -> int:
    """Read the memory when it has stopped changing."""
    last = 0

    async def steady() -> bool:
        nonlocal last
        before, last = last, memory(measured.process.pid)
        return abs(last - before) < _STEADY_BYTES

    await until(steady, "steady memory", every=_STEADY_SECONDS)
    return last


def _print(done: list[Reading]) -> None:
    heads = [
        "users",
        "sessions",
        "MiB",
        "actors",
        "queued",
        "updates/s",
        "CPU us/update",
    ]
    rows = [
        [
            reading.users,
            reading.sessions,
            reading.memory / 2**20,
            reading.actors,
            reading.queued,
            round(reading.rate),
            round(reading.cpu * 1e6),
        ]
        for reading in done
    ]
    print_table(heads, rows)


async def main(users: int) -> None:
    """Measure, print, judge."""
    print_machine()
    users -= users % STEPS
    limit = users + WARM_UP_USERS
    print(f"All sessions are kept (SESSION_LIMIT={limit})\n")
    kept = await readings(users, limit)
    _print(kept)
    each = (kept[-1].memory - kept[0].memory) / users
    print(f"\nbytes per idle session: {each:.0f}\n")

    limit = users // STEPS
    print(f"A fifth of the sessions is kept (SESSION_LIMIT={limit})\n")
    bounded = await readings(users, limit)
    _print(bounded)
    # The limit is reached in the first step.
    grown = (bounded[-1].memory - bounded[1].memory) / 2**20
    print(
        f"\nMiB more since the limit was reached: {grown:.1f} (allowed: {ALLOWED_MIB})"
    )

    if any(reading.actors or reading.queued for reading in [*kept, *bounded]):
        sys.exit("actors or updates are left behind")
    if kept[-1].sessions != kept[-1].users or bounded[-1].sessions != limit:
        sys.exit("the number of sessions is wrong")
    if grown > ALLOWED_MIB:
        sys.exit("memory grows without sessions")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=100_000)
    arguments = parser.parse_args()
    run(main(arguments.users), within=120 + arguments.users / 100)
