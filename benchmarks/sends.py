"""What does a message cost that a service sends on its own initiative?

    python -m benchmarks.sends [--rounds N] [--sends N]

The gateway with Redis gets Sends over gRPC, and updates whose replies have the same
text. The floor is grpc.aio and aiohttp and nothing else: an rpc comes in, one POST goes
out, nothing is stored or ordered. All run at the same time, and one after the other is
under load, in an order that changes.

Counted is processor time per message of the gateway's process, without its Redis, from
the first request to the last message at the Bot API; a ratio is that of one round.
`accepted` is how many Sends per second got their OK while the load, the Bot API and
Redis share the machine with the gateway.
"""

import argparse
import asyncio
import time
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.delivery_service_pb2 import Recipient, SendRequest
from grpc import aio

from benchmarks.children import child, cpu_seconds, free_ports, run, until
from benchmarks.load import HOST, Mark, post
from benchmarks.processes import Gateway, StandIns, gateway, stand_ins
from benchmarks.tables import print_machine, print_table
from tests.support.redis_servers import RedisServer

USERS = 1000
FIRST_USER = 3_000_000_000
IN_FLIGHT = 100
CHANNELS = 4
"""gRPC sends the rpcs of a channel over one connection."""

_SEND = "/botgateway.delivery.v1.DeliveryService/Send"
_REDIS = "--appendonly yes --appendfsync everysec --maxmemory-policy noeviction"


class Result(NamedTuple):
    """What some messages took.

    Attributes:
        cpu_us: processor time of the process per message, in microseconds.
        accepted: how many requests per second were answered.
        finished: how many messages per second arrived at the Bot API.
    """

    cpu_us: float
    accepted: float
    finished: float


class Sends:
    """Sends over gRPC to a port."""

    def __init__(self, port: int, pid: int, around: StandIns) -> None:
        self._port, self.pid, self._around = port, pid, around
        self._keys = count()

    async def measure(self, messages: int) -> Result:
        """Send messages to users in turn."""
        left = iter(range(messages))

        async def send(channel: aio.Channel) -> None:
            call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_SEND)
            for index in left:
                request = SendRequest(
                    recipient=Recipient(telegram_user_id=FIRST_USER + index % USERS),
                    messages=[OutgoingMessage(text=str(Mark("s", time.monotonic())))],
                    idempotency_key=f"key-{next(self._keys)}",
                )
                await call(request.SerializeToString())

        async def load() -> None:
            async with AsyncExitStack() as stack:
                channels = [
                    await stack.enter_async_context(
                        aio.insecure_channel(
                            f"{HOST}:{self._port}",
                            (("grpc.use_local_subchannel_pool", 1),),
                        )
                    )
                    for _ in range(CHANNELS)
                ]
                await asyncio.gather(
                    *(send(channels[it % CHANNELS]) for it in range(IN_FLIGHT))
                )

        return await measure(load, messages, self.pid, self._around)


class Replies:
    """Updates that a service answers."""

    def __init__(self, running: Gateway, around: StandIns) -> None:
        self._running, self._around = running, around
        self.pid = running.process.pid

    async def measure(self, messages: int) -> Result:
        """Post updates of users in turn."""

        def make(index: int, sent: float) -> bytes:
            return self._running.messages.message(
                FIRST_USER + index % USERS, Mark("r", sent)
            )

        async def load() -> None:
            async with self._around.window(IN_FLIGHT) as window:
                await post(self._running.connections, messages, make, window=window)

        return await measure(load, messages, self.pid, self._around)


async def measure(
    load: Callable[[], Awaitable[None]], messages: int, pid: int, around: StandIns
) -> Result:
    """Measure a process until all messages of a load are at the Bot API."""
    expected = (await around.counts()).messages + messages

    async def done() -> bool:
        return (await around.counts()).messages >= expected

    cpu, start = cpu_seconds(pid), time.monotonic()
    await load()
    accepted = time.monotonic() - start
    await until(done, "the last message", within=120)
    finished = time.monotonic() - start
    seconds = cpu_seconds(pid) - cpu
    if (await around.counts()).messages != expected:
        raise RuntimeError("a message arrived twice")
    return Result(seconds / messages * 1e6, messages / accepted, messages / finished)


async def compare(rounds: int, sends: int) -> None:
    """Measure and print."""
    async with AsyncExitStack() as stack:
        around = await stack.enter_async_context(stand_ins())
        redis = RedisServer(Path(stack.enter_context(TemporaryDirectory())), _REDIS)
        redis.start()
        stack.callback(redis.kill)
        port, floor_port = free_ports(2)
        running = await stack.enter_async_context(
            gateway(
                around,
                REDIS_URL=redis.url,
                DELIVERY_PORT=str(port),
                RATE_LIMIT_REQUESTS="1000",
            )
        )
        floor = await stack.enter_async_context(
            child(
                *("benchmarks.delivery_floor", str(floor_port), str(around.bot_api)),
                stdout=PIPE,
            )
        )
        if floor.stdout is None or not await floor.stdout.readline():
            raise RuntimeError("the floor did not start")
        loads: dict[str, Sends | Replies] = {
            "floor": Sends(floor_port, floor.pid, around),
            "a reply": Replies(running, around),
            "a send": Sends(port, running.process.pid, around),
        }
        results: defaultdict[str, list[Result]] = defaultdict(list)
        for load in loads.values():
            await load.measure(USERS)
        for number in range(rounds):
            for name in list(loads)[:: -1 if number % 2 else 1]:
                results[name].append(await loads[name].measure(sends))
    print_results(results)


def print_results(results: dict[str, list[Result]]) -> None:
    """Print the medians, and the medians of the ratios."""
    print_machine()
    heads = ["", "cpu us", "accepted/s", "finished/s"]
    rows = [
        [name, *(median(values) for values in zip(*found, strict=True))]
        for name, found in results.items()
    ]
    print_table(heads, rows)
    sends = [it.cpu_us for it in results["a send"]]
    for name in ("a reply", "floor"):
        others = [it.cpu_us for it in results[name]]
        ratios = [ours / other for ours, other in zip(sends, others, strict=True)]
        print(f"a send costs {median(ratios):.2f} x {name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sends", type=int, default=5000)
    given = parser.parse_args()
    run(compare(given.rounds, given.sends), within=1200)
