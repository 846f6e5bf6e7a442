"""A thousand bots in one gateway: start, memory, cost per update, and a flood.

    python -m benchmarks.bots [--bots 1000] [--rounds 6]

Two gateways with two workers each and a Redis take turns: one has a single bot, from a
file too, the other one has all bots. Each round sends the same messages to both, to one
bot or over all bots, and compares the processor time of the workers. In the end one bot
of many is flooded by users who write faster than they may, and the replies of the other
bots are timed with and without that.

The Bot API, the services and the sender are in this process: only the workers' own time
and memory are counted. The times of replies include them.
"""

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

import aiohttp

from benchmarks.tables import percentile, print_machine, print_table
from tests.factories import build_message_json
from tests.support.backend import Backend, serving
from tests.support.bot_api import FakeBotApi, make_token
from tests.support.bots import STORE_SECRET, BotsDirectory, make_secret
from tests.support.process import SERVICES, program
from tests.support.redis_servers import RedisServer
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until, wait_until_found
from tests.support.worker_probes import workers_of

WORKERS = 2
MESSAGES = 300
"""In a slice. Slices are short, so that both gateways meet the same machine."""
SLICES = 10
"""Pairs of slices per round."""
WINDOW = 20
FLOOD_SECONDS = 8.0
OTHERS_RATE = 40.0
FLOOD_RATE = 200.0
FLOODING_USERS = 20


class ManyBots:
    """A gateway with bots, as a process of its own."""

    def __init__(self, count: int, port: int, ops_port: int) -> None:
        self.names = [f"bot{number}" for number in range(count)]
        self.telegram = FakeBotApi(make_token(1000 + it) for it in range(count))
        self.url = f"http://127.0.0.1:{port}"
        self.ops_url = f"http://127.0.0.1:{ops_port}"
        self.pids: list[int] = []
        self.start_seconds = 0.0
        self.start_cpu_seconds = 0.0
        self.profile_seconds = 0.0
        self._next = 0

    async def is_ready(self) -> bool:
        """Return whether all workers are ready."""
        try:
            async with (
                aiohttp.ClientSession() as client,
                client.get(f"{self.ops_url}/ready") as response,
            ):
                return response.status == 200
        except aiohttp.ClientError:
            return False

    def has_profiles(self) -> bool:
        """Return whether each worker has published the menu of each bot."""
        bots = self.telegram.bots.values()
        return all(bot.count("setMyCommands") >= WORKERS for bot in bots)

    def count_replies(self) -> int:
        """Return the number of messages that all bots sent."""
        return sum(bot.count("sendMessage") for bot in self.telegram.bots.values())

    def read_seconds(self) -> float:
        """Return the processor time of the workers."""
        return sum(_read_seconds(pid) for pid in self.pids)

    def read_bytes(self) -> int:
        """Return the memory of the workers."""
        return sum(_read_bytes(pid) for pid in self.pids)

    def clear(self) -> None:
        """Forget the calls."""
        for bot in self.telegram.bots.values():
            bot.calls.clear()
            bot.called_at.clear()

    async def send(
        self, client: aiohttp.ClientSession, name: str, user: int
    ) -> tuple[str, float]:
        """Send a message to a bot; return its text and when it was sent."""
        self._next += 1
        text = f"m{self._next}"
        body = json.dumps(
            {"update_id": self._next, "message": build_message_json(text, user=user)}
        )
        headers = {"X-Telegram-Bot-Api-Secret-Token": make_secret(name)}
        url = f"{self.url}/webhook/telegram/{name}"
        sent_at = time.monotonic()
        async with client.post(url, data=body, headers=headers) as response:
            assert response.status == 200
        return text, sent_at

    async def measure_cost(self, client: aiohttp.ClientSession) -> float:
        """Return the processor time of the workers per update, in microseconds."""
        self.clear()
        before = self.read_seconds()
        numbers = iter(range(MESSAGES))

        async def send_each() -> None:
            for number in numbers:
                name = self.names[number % len(self.names)]
                await self.send(client, name, number + 1)

        await asyncio.gather(*(send_each() for _ in range(WINDOW)))
        await wait_until(lambda: self.count_replies() >= MESSAGES)
        return (self.read_seconds() - before) / MESSAGES * 1e6

    async def time_replies(
        self, client: aiohttp.ClientSession, *, is_flooded: bool
    ) -> list[float]:
        """Return the times of the replies of all bots but the last, in ms."""
        self.clear()
        loop = asyncio.get_running_loop()
        end = loop.time() + FLOOD_SECONDS
        sent: dict[str, float] = {}

        async def talk() -> None:
            tasks = set()
            number = 0
            while loop.time() < end:
                number += 1
                name = self.names[number % (len(self.names) - 1)]
                task = asyncio.create_task(self.send(client, name, number))
                tasks.add(task)
                await asyncio.sleep(1 / OTHERS_RATE)
            sent.update([await task for task in tasks])

        async def flood() -> None:
            tasks: set[asyncio.Task[tuple[str, float]]] = set()
            while is_flooded and loop.time() < end:
                user = len(tasks) % FLOODING_USERS + 1
                task = asyncio.create_task(self.send(client, self.names[-1], user))
                tasks.add(task)
                await asyncio.sleep(1 / FLOOD_RATE)
            await asyncio.gather(*tasks)

        await asyncio.gather(talk(), flood())
        texts = {f"echo: {text}": at for text, at in sent.items()}
        replies: dict[str, float] = {}

        def has_all() -> bool:
            for bot in list(self.telegram.bots.values())[:-1]:
                for (method, parameters), at in zip(
                    bot.calls, bot.called_at, strict=True
                ):
                    if method == "sendMessage" and parameters["text"] in texts:
                        replies[parameters["text"]] = at
            return len(replies) >= len(texts)

        await wait_until(has_all)
        return [(replies[text] - at) * 1000 for text, at in texts.items()]


@contextlib.asynccontextmanager
async def running(count: int) -> AsyncIterator[ManyBots]:
    """Run a gateway with so many bots."""
    port, ops_port = free_ports(2)
    many = ManyBots(count, port, ops_port)
    with tempfile.TemporaryDirectory() as root:
        files = BotsDirectory(Path(root))
        for number, name in enumerate(many.names):
            files.write_token(name, make_token(1000 + number))
            files.write_secret(name, make_secret(name))
            files.entries[name] = {
                "token_file": f"{name}.token",
                "webhook_secret_file": f"{name}.secret",
            }
        if count > 1:
            files.entries[many.names[-1]]["rate_limit_requests"] = 1
        files.write()
        redis = RedisServer(Path(root), "")
        redis.start()
        try:
            async with serving(Backend()) as target, many.telegram.serve() as api_url:
                settings = {
                    "BOTS_FILE": str(files.path),
                    "STORE_SECRET": STORE_SECRET,
                    "TELEGRAM_API_URL": api_url,
                    "REDIS_URL": redis.url,
                    "PORT": str(port),
                    "OPS_PORT": str(ops_port),
                    "WORKERS": str(WORKERS),
                    "LOG_LEVEL": "ERROR",
                    "RATE_LIMIT_REQUESTS": "1000",
                    **{f"{name}_TARGET": target for name in SERVICES},
                    **{f"{name}_TIMEOUT": "60" for name in SERVICES},
                }
                started_at = time.monotonic()
                async with program("serve", settings=settings) as process:
                    await wait_until_found(many.is_ready)
                    many.start_seconds = time.monotonic() - started_at
                    many.pids = list(workers_of(process.pid).values())
                    cpu_seconds = [_read_seconds(it) for it in many.pids]
                    many.start_cpu_seconds = max(cpu_seconds)
                    await wait_until(many.has_profiles)
                    many.profile_seconds = time.monotonic() - started_at
                    yield many
        finally:
            redis.kill()


async def measure(count: int, rounds: int) -> None:
    """Measure everything and print it."""
    print_machine()
    async with (
        running(1) as one,
        running(count) as many,
        aiohttp.ClientSession() as client,
    ):
        idle = (many.read_bytes() - one.read_bytes()) / (count - 1) / WORKERS / 1024
        print_table(
            ["bots", "ready s", "CPU s of a worker", "profiles s", "MiB of workers"],
            [
                [
                    len(it.names),
                    it.start_seconds,
                    it.start_cpu_seconds,
                    it.profile_seconds,
                    _to_mib(it),
                ]
                for it in (one, many)
            ],
        )
        print(f"\nmemory per idle bot and worker: {idle:.1f} KiB\n")
        for it in (one, many):  # caches and connections
            await it.measure_cost(client)
        costs: list[tuple[float, float]] = []
        for number in range(SLICES * rounds):
            pair = {}
            for it in (one, many) if number % 2 else (many, one):
                pair[len(it.names)] = await it.measure_cost(client)
            costs.append((pair[1], pair[count]))
        ratios = [many_cost / one_cost for one_cost, many_cost in costs]
        one_cost, many_cost = (median(it) for it in zip(*costs, strict=True))
        print_table(
            ["us per update, 1 bot", f"{count} bots", "median ratio", "of the sums"],
            [
                [
                    one_cost,
                    many_cost,
                    f"{median(ratios):.3f}",
                    f"{sum(b for _, b in costs) / sum(a for a, _ in costs):.3f}",
                ]
            ],
        )
        print()
        rows: list[tuple[float, float]] = []
        for number in range(rounds):
            order = (False, True) if number % 2 else (True, False)
            p99 = {}
            for is_flooded in order:
                times = await many.time_replies(client, is_flooded=is_flooded)
                p99[is_flooded] = percentile(times, 99)
            rows.append((p99[False], p99[True]))
        print_table(
            ["p99 of other bots, ms", "beside a flood", "ratio"],
            [[a, b, f"{b / a:.3f}"] for a, b in rows],
        )
        ratio = median(b / a for a, b in rows)
        print(f"\nmedian ratio of the p99 of other bots: {ratio:.3f}")


def _to_mib(bots: ManyBots) -> float:
    return bots.read_bytes() / 2**20


def _read_seconds(pid: int) -> float:
    """Return the processor time of a process, from the kernel's clock in ns."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _read_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the process has ended")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bots", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.bots, arguments.rounds))


if __name__ == "__main__":
    main()
