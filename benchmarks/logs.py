"""What becomes of the webhook when nobody reads the log.

    python -m benchmarks.logs [--seconds 60]

A gateway gets 100 updates a second. Its standard output is a pipe with a reader, a pipe
that nobody reads (as in `serve | sleep 1000`), a pipe whose reader is gone, or a full
disk; and the first two with two workers, whose log is the same pipe.

Ends with 1 if an update was not served, or if the 99th percentile of the webhook is
more than 100 ms over that with a reader.
"""

import argparse
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.children import run, until
from benchmarks.load import Mark, post
from benchmarks.processes import gateway, stand_ins
from benchmarks.tables import percentile, print_machine, print_table
from tests.support.redis_servers import RedisServer

RATE = 100
USERS = 1000
_CASES = (
    ("reader", 1),
    ("nobody reads", 1),
    ("reader is gone", 1),
    ("full disk", 1),
    ("reader", 2),
    ("nobody reads", 2),
)
_SLACK = 100.0
"""Milliseconds. A gateway that waits for its log answers after seconds, or never."""

_DROPPED = "gateway_log_lines_dropped_total"


@contextmanager
def output(case: str) -> Iterator[int]:
    """Open what the gateway logs to."""
    if case == "full disk":
        full = os.open("/dev/full", os.O_WRONLY)
        yield full
        os.close(full)
        return
    source, target = os.pipe()
    if case == "reader":
        threading.Thread(target=_read, args=[source], daemon=True).start()
    if case == "reader is gone":
        os.close(source)
    yield target
    os.close(target)
    if case == "nobody reads":
        os.close(source)


def _read(source: int) -> None:
    while os.read(source, 65536):
        pass
    os.close(source)


async def _measure(
    case: str, workers: int, seconds: int, redis: str
) -> tuple[list[float], int, int]:
    """Give the ms of the webhook, and how many updates and lines got nowhere."""
    settings = {"RATE_LIMIT_REQUESTS": "1000", "WORKERS": str(workers)}
    if workers > 1:
        settings["REDIS_URL"] = redis
    count = RATE * seconds
    with output(case) as target:
        async with (
            stand_ins() as around,
            gateway(around, target, **settings) as measured,
        ):

            def make(index: int, sent: float) -> bytes:
                return measured.messages.message(index % USERS + 1, Mark("log", sent))

            async def served() -> bool:
                done = (await measured.outcomes()).get("done", 0)
                return done >= count

            took = await post(measured.connections, count, make, rate=RATE)
            await until(served, "the last update")
            done = (await measured.outcomes()).get("done", 0)
            metrics = await measured.metrics()
            dropped = sum(it for name, it in metrics.items() if _DROPPED in name)
    return [it * 1000 for it in took], count - done, int(dropped)


async def main(seconds: int) -> None:
    """Measure, print, judge."""
    print_machine()
    good = True
    with_reader: dict[int, float] = {}
    rows: list[list[object]] = []
    with TemporaryDirectory() as directory:
        redis = RedisServer(Path(directory), "--appendonly yes")
        redis.start()
        try:
            for number, (case, workers) in enumerate(_CASES):
                url = f"{redis.url}/{number}"
                took, lost, dropped = await _measure(case, workers, seconds, url)
                figures = [percentile(took, percent) for percent in (50, 99, 100)]
                rows.append([case, workers, len(took), lost, *figures, dropped])
                allowed = with_reader.setdefault(workers, figures[1])
                good = good and not lost
                good = good and figures[1] <= allowed + _SLACK
        finally:
            redis.kill()
    print(f"ms of the webhook at {RATE} updates a second for {seconds} s\n")
    heads = ["log", "workers", "updates", "lost", "p50", "p99", "max", "dropped lines"]
    print_table(heads, rows)
    if not good:
        sys.exit("an update was lost, or too slow")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    chosen = parser.parse_args().seconds
    run(main(chosen), within=len(_CASES) * (chosen + 60))
