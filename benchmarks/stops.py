"""How soon a service sees that a user stopped its answer.

    python -m benchmarks.stops

A gateway with two workers and a Redis streams some answers at a time; each is stopped
by an update that the kernel gives to any of the two. A service in a process of its own
tells when the call ended. Before that, the same with one worker.

Ends with 1 if a stop took 200 ms on the same worker, or 500 ms with two of them.
"""

import asyncio
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.children import run, until
from benchmarks.load import post
from benchmarks.processes import Gateway, StandIns, gateway, stand_ins
from benchmarks.stream_report import Report
from benchmarks.stream_standins import STREAMING_USER
from benchmarks.tables import percentile, print_machine, print_table
from tests.support.redis_servers import RedisServer

AT_ONCE, ROUNDS = 20, 5
_WORDS = ("--tokens", "3000", "--rate", "50", "--slow", "0.05")
_LIMITS = {1: 200, 2: 500}


async def _stop_some(measured: Gateway, around: StandIns, first: int) -> list[float]:
    """Begin answers and stop them; gives the ms that each went on for."""
    drafts: dict[int, int] = {}

    def begin(index: int, _: float) -> bytes:
        request = measured.messages.message(first + index, "stream")
        drafts[first + index] = measured.messages.newest
        return request

    async def report() -> Report:
        return msgspec.convert(await around.page("/report"), Report, strict=False)

    async def all_shown() -> bool:
        streams = (await report()).streams
        return all(user in streams and streams[user].first_draft for user in drafts)

    async def all_ended() -> bool:
        streams = (await report()).streams
        return all(streams[user].ended for user in drafts)

    await post(measured.connections, AT_ONCE, begin, rate=100)
    await until(all_shown, "the first drafts")
    stopped = {}
    for user, draft_id in drafts.items():
        await asyncio.sleep(random.uniform(0, 0.05))
        stopped[user] = time.monotonic()
        connection = random.choice(measured.connections)
        await connection.request(measured.messages.stop(user, draft_id))
    await until(all_ended, "the end of the calls")
    streams = (await report()).streams
    return [(streams[user].ended - stopped[user]) * 1000 for user in drafts]


async def _measure(workers: int, redis: RedisServer) -> list[float]:
    settings = {
        "RATE_LIMIT_REQUESTS": "1000",
        "CONVERSATION_STREAMING": "true",
        "REDIS_URL": f"{redis.url}/{workers}",
        "WORKERS": str(workers),
    }
    async with (
        stand_ins("benchmarks.stream_standins", *_WORDS) as around,
        gateway(around, **settings) as measured,
    ):
        times = []
        for number in range(ROUNDS):
            first = STREAMING_USER + number * AT_ONCE
            times += await _stop_some(measured, around, first)
    return times


async def main() -> None:
    """Measure, print, judge."""
    print_machine()
    good = True
    rows: list[list[object]] = []
    with TemporaryDirectory() as directory:
        redis = RedisServer(Path(directory), "--appendonly yes")
        redis.start()
        try:
            for workers, limit in _LIMITS.items():
                times = await _measure(workers, redis)
                figures = [percentile(times, percent) for percent in (50, 99, 100)]
                rows.append([workers, len(times), *figures, limit])
                good = good and max(times) < limit
        finally:
            redis.kill()
    print("ms from the stop at the webhook to the end of the call at the service\n")
    print_table(["workers", "stops", "p50", "p99", "max", "allowed"], rows)
    if not good:
        sys.exit("too slow")


if __name__ == "__main__":
    run(main(), within=180)
