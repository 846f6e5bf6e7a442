"""How long does a changed contract take to be served, and what does it leave behind?

    python -m benchmarks.reloads [--reloads N] [--workers N] [--rate N]

A gateway looks at a folder with the descriptor set of a team, which gets and loses a
command again and again. After each change, a SIGHUP makes the gateway look at once; the
first changes come without it, and tell how long the gateway takes to notice them. Users
write all the time. At the end the set is invalid for some seconds. Printed are the
seconds from the change until all workers serve it, or refuse it, the memory of the
processes over time, and how the updates ended.

Ends with 1 if an update failed, if the slowest change without SIGHUP took longer than a
second, or if the memory still grew in the second half of the reloads.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from benchmarks.children import memory, run, tree, until
from benchmarks.load import Mark, post
from benchmarks.processes import Gateway, gateway, stand_ins
from benchmarks.tables import print_machine, print_table
from tests.support.redis_servers import RedisServer
from tests.support.services.foreign import compile_descriptor_set

_NOTICED = 20
"""Changes without SIGHUP."""

_SAMPLES = 10
_REFUSED_SECONDS = 5.0
"""How long the set is invalid."""

ALLOWED_SECONDS = 1.0
ALLOWED_GROWTH = 1.02
_DIGEST = re.compile(r'^gateway_contracts_info\{.*digest="(\w+)"')
_USERS = 1000


def _make_sets(directory: Path) -> list[bytes]:
    """Give the contents of a set, without and with one of its commands."""
    whole = compile_descriptor_set(directory).read_bytes()
    files = FileDescriptorSet.FromString(whole)
    for file in files.file:
        for service in file.service:
            del service.method[0]
    return [files.SerializeToString(), whole]


async def _serves_another(watched: Gateway, before: set[str], workers: int) -> set[str]:
    """Wait until all workers serve others than before; give what they serve."""
    while True:
        found = [
            match[1] for it in await watched.metrics() if (match := _DIGEST.match(it))
        ]
        if len(found) == workers and len(set(found)) == 1 and not before & set(found):
            return set(found)
        await asyncio.sleep(0.005)


async def _reload(
    watched: Gateway, folder: Path, sets: list[bytes], reloads: int, workers: int
) -> tuple[list[float], list[float], list[int]]:
    """Give the seconds of changes without and with SIGHUP, and the bytes of memory."""
    noticed: list[float] = []
    told: list[float] = []
    occupied: list[int] = []
    served = await _serves_another(watched, set(), workers)
    for number in range(reloads):
        unfinished = folder / ".unfinished"
        unfinished.write_bytes(sets[number % 2])
        began = time.monotonic()
        unfinished.replace(folder / "billing.binpb")
        if number >= _NOTICED:
            os.kill(watched.process.pid, signal.SIGHUP)
        served = await _serves_another(watched, served, workers)
        (told if number >= _NOTICED else noticed).append(time.monotonic() - began)
        if number % max(1, reloads // _SAMPLES) == 0 or number == reloads - 1:
            occupied.append(sum(map(memory, tree(watched.process.pid))))
    return noticed, told, occupied


async def _refuse(watched: Gateway, folder: Path, workers: int) -> float:
    """Give the seconds until all workers refuse an invalid set, which stays a while."""
    unfinished = folder / ".unfinished"
    unfinished.write_bytes(b"not a set")
    began = time.monotonic()
    unfinished.replace(folder / "billing.binpb")
    await until(lambda: _is_refused(watched, workers), "the refusals", within=60)
    seconds = time.monotonic() - began
    await asyncio.sleep(_REFUSED_SECONDS)
    return seconds


async def _is_refused(watched: Gateway, workers: int) -> bool:
    """Tell whether all workers refuse the contracts in the folder."""
    found = (await watched.metrics()).items()
    name = "gateway_contracts_refused"
    return sum(value for key, value in found if key.startswith(name)) == workers


async def _write(watched: Gateway, rate: float, stop: asyncio.Event) -> int:
    """Have users write until it is enough; give how many updates that were."""
    posted = 0
    batch = max(1, round(rate))

    def make(index: int, sent: float) -> bytes:
        user = 3_000_000_000 + (posted + index) % _USERS
        return watched.messages.message(user, Mark("users", sent))

    while not stop.is_set():
        await post(watched.connections, batch, make, rate=rate)
        posted += batch
    return posted


async def _is_idle(watched: Gateway) -> bool:
    """Tell whether no update waits in any worker, and no user is served."""
    names = ("gateway_queued_updates", "gateway_active_actors")
    found = (await watched.metrics()).items()
    return not any(value for name, value in found if name.startswith(names))


async def measure(reloads: int, workers: int, rate: float) -> list[str]:
    """Measure and print. Gives what exceeds the limits."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        folder = directory / "contracts"
        folder.mkdir()
        sets = _make_sets(directory)
        (folder / "billing.binpb").write_bytes(sets[1])
        (folder / "billing.allow-removal").touch()
        settings = {"CONTRACTS": f"builtin,{folder}", "RATE_LIMIT_REQUESTS": "1000"}
        if workers > 1:
            redis = RedisServer(directory)
            redis.start()
            stack.callback(redis.kill)
            settings |= {"REDIS_URL": redis.url, "WORKERS": str(workers)}
        around = await stack.enter_async_context(stand_ins())
        settings["BILLING_TARGET"] = f"127.0.0.1:{around.services}"
        watched = await stack.enter_async_context(gateway(around, **settings))
        stop = asyncio.Event()
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(_write(watched, rate, stop))
            noticed, told, occupied = await _reload(
                watched, folder, sets, reloads, workers
            )
            refused = await _refuse(watched, folder, workers)
            stop.set()
            ended = time.monotonic()
        await until(lambda: _is_idle(watched), "the last update", within=60)
        outcomes = await watched.outcomes()
    rows = [
        [title, len(values), f"{median(values):.3f}", f"{max(values):.3f}"]
        for title, values in (("noticed", noticed), ("told by SIGHUP", told))
        if values
    ]
    print_table(["change", "times", "median s", "slowest s"], rows)
    print(f"\nmemory in MiB: {', '.join(f'{it / 2**20:.1f}' for it in occupied)}")
    print(f"seconds until an invalid set was refused: {refused:.3f}")
    print(f"updates posted: {writing.result()}; ended: {outcomes}")
    print(f"updates per second: {writing.result() / (ended - began):.0f}")
    exceeded = []
    if outcomes.keys() != {"done"}:
        exceeded.append(f"updates ended otherwise than done: {outcomes}")
    if max(noticed) > ALLOWED_SECONDS:
        exceeded.append(f"a change took {max(noticed):.3f} s")
    growth = occupied[-1] / occupied[len(occupied) // 2]
    if growth > ALLOWED_GROWTH:
        exceeded.append(f"memory grew by {growth:.3f} in the second half")
    return exceeded


async def main(reloads: int, workers: int, rate: float) -> None:
    """Measure, print, judge."""
    print_machine()
    if exceeded := await measure(reloads, workers, rate):
        sys.exit("exceeded: " + "; ".join(exceeded))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reloads", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rate", type=float, default=50)
    asked = parser.parse_args()
    run(main(asked.reloads, asked.workers, asked.rate), within=300 + asked.reloads)
