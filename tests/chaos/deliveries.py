"""Breaks workers and Redis while services send, and checks what users received.

python -m tests.chaos.deliveries [--sends 50000] [--workers 4] [--kill 500]
                                  [--freeze 4000] [--restart-redis 5000] [--control]

Each user gets a sequence of messages: deliveries that a service sends, and replies to
updates. The next one starts when the one before is accepted, so the user has to receive
them in this order. A service repeats a Send under the same idempotency key until the
gateway has accepted it, some also after that. Half of the users get deliveries with
REPEAT for a call whose result is unknown, the others with DROP. Meanwhile workers are
killed and frozen, and Redis, which keeps everything that it confirmed, is restarted.

With --control the gateway is a single process that does not recognize repeated
idempotency keys: then users get messages twice, and the run has to find that.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import grpc
from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.delivery_pb2 import (
    DELIVERY_STATE_DOUBTFUL,
    DELIVERY_STATE_SENT,
    DOUBT_POLICY_DROP,
    DOUBT_POLICY_REPEAT,
    DeliveryStatus,
)
from botgateway.delivery.v1.delivery_service_pb2 import (
    DeliveryOptions,
    GetRequest,
    Recipient,
    SendRequest,
    SendResponse,
)
from botgateway.delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from grpc import aio
from msgspec import Struct

from gateway.domain.mailbox_lease import LEASE_SECONDS
from tests.factories import build_message_json
from tests.support.backend import Backend, serving
from tests.support.bot_api import FakeBotApi
from tests.support.gateway_harness import SECRET, TOKEN
from tests.support.process import program, settings_of
from tests.support.redis_servers import RedisServer
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until, wait_until_found
from tests.support.worker_probes import workers_of

if TYPE_CHECKING:
    from botgateway.delivery.v1.delivery_service_pb2_grpc import (
        DeliveryServiceAsyncStub,
    )

    Client = DeliveryServiceAsyncStub
else:
    Client = DeliveryServiceStub

USERS = 40
FIRST_USER = 1000
CHANNELS = 8
CALL_SECONDS = 10.0
"""After this a service repeats its call."""

TELEGRAM_SECONDS = 0.01
"""How long a call of the Bot API takes, so that faults meet calls that are made."""

FINAL_STATES = range(DELIVERY_STATE_SENT, DELIVERY_STATE_DOUBTFUL + 1)
_RETRIED = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
}


class Faults(Struct, frozen=True):
    """The number of accepted deliveries between two faults of a kind; 0 for none.

    A slow machine gets as many faults as a fast one.

    Attributes:
        kill: between two kills of a worker.
        freeze: between two freezes of a worker, each longer than a lease.
        restart_redis: between two restarts of Redis by SIGKILL.
    """

    kill: int = 0
    freeze: int = 0
    restart_redis: int = 0


class Figures(Struct, frozen=True):
    """What a run showed.

    Attributes:
        sends: the accepted deliveries.
        updates: the accepted updates.
        kills: how many workers were killed.
        freezes: how many workers were frozen.
        restarts: how often Redis was restarted.
        lost_sends: deliveries that were neither received nor ended as doubtful.
        lost_updates: updates without a reply.
        doubtful: deliveries with DROP that ended as doubtful.
        repeated: deliveries with REPEAT that a user received twice, marked as such.
        repeated_unmarked: deliveries that a user received twice, and not marked.
        repeated_dropped: deliveries with DROP that a user received twice.
        repeated_replies: replies that a user received twice.
        inversions: messages that overtook an earlier one to the same user.
        wrong_answers: repeated keys that were not recognized.
    """

    sends: int
    updates: int
    kills: int
    freezes: int
    restarts: int
    lost_sends: int
    lost_updates: int
    doubtful: int
    repeated: int
    repeated_unmarked: int
    repeated_dropped: int
    repeated_replies: int
    inversions: int
    wrong_answers: int

    @property
    def is_good(self) -> bool:
        """Whether nothing went wrong."""
        return not any(
            (
                self.lost_sends,
                self.lost_updates,
                self.repeated_unmarked,
                self.repeated_dropped,
                self.inversions,
                self.wrong_answers,
            )
        )


class Run:
    """The services and users of a run, and the faults.

    Args:
        redis: the Redis of the gateway.
        port: the port of the webhook.
        client: calls the gateway over HTTP.
        stubs: call its Delivery service.
    """

    def __init__(
        self,
        redis: RedisServer,
        port: int,
        client: aiohttp.ClientSession,
        stubs: list[Client],
    ) -> None:
        self.url = f"http://127.0.0.1:{port}/webhook/telegram"
        self.kills = self.freezes = self.restarts = 0
        self.sends: list[tuple[int, int]] = []
        """User and number of each accepted delivery."""
        self.updates: list[tuple[int, int]] = []
        """User and number of each accepted update."""
        self.wrong_answers = 0
        self._redis = redis
        self._client = client
        self._stubs = stubs
        self._started = 0
        self._update_id = 0

    async def serve_user(self, user: int, sends: int) -> None:
        """Send to a user, one message after the other, until there were enough."""
        number = 0
        while self._started < sends:
            number += 1
            if number % 4 == 0:
                await self._post(user, number)
                self.updates.append((user, number))
            else:
                self._started += 1
                await self._send(user, number)
                self.sends.append((user, number))

    async def _send(self, user: int, number: int) -> None:
        request = build_send(user, number)
        first = await self._call_send(request)
        if number % 5:
            return
        again = await self._call_send(request)
        is_same = again.is_repeated and again.delivery_id == first.delivery_id
        other = build_send(user, number)
        other.messages[0].text = "another text"
        self.wrong_answers += not is_same or not await self._is_refused(other)

    async def _call_send(self, request: SendRequest) -> SendResponse:
        while True:  # as a service does that must not lose it
            try:
                return await self._choose_stub().Send(request, timeout=CALL_SECONDS)
            except aio.AioRpcError as error:
                if error.code() not in _RETRIED:
                    raise
            await asyncio.sleep(0.05)

    async def _is_refused(self, request: SendRequest) -> bool:
        while True:
            try:
                await self._choose_stub().Send(request, timeout=CALL_SECONDS)
            except aio.AioRpcError as error:
                if error.code() not in _RETRIED:
                    return error.code() is grpc.StatusCode.ALREADY_EXISTS
            else:
                return False
            await asyncio.sleep(0.05)

    async def _post(self, user: int, number: int) -> None:
        self._update_id += 1
        message = build_message_json(f"{number}", user=user)
        body = json.dumps({"update_id": self._update_id, "message": message})
        headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
        while True:  # as Telegram does until it gets a 200
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self._client.post(
                    self.url, data=body, headers=headers
                ) as response:
                    assert response.status == 200
                    return
            await asyncio.sleep(0.05)

    def _choose_stub(self) -> Client:
        self._stubs.append(self._stubs.pop(0))
        return self._stubs[-1]

    async def find_status(self, user: int, number: int) -> DeliveryStatus:
        """Return the final state of a delivery."""
        request = GetRequest(idempotency_key=make_key(user, number))
        while True:
            with contextlib.suppress(aio.AioRpcError):
                stub = self._choose_stub()
                found = (await stub.Get(request, timeout=CALL_SECONDS)).status
                if found.state in FINAL_STATES:
                    return found
            await asyncio.sleep(0.05)

    async def kill(self, supervisor: int, interval: int) -> None:
        """Kill one worker after the other."""
        while True:
            await self._await_sends(interval)
            workers = sorted(workers_of(supervisor).items())
            if workers:
                os.kill(workers[self.kills % len(workers)][1], signal.SIGKILL)
                self.kills += 1

    async def freeze(self, supervisor: int, interval: int) -> None:
        """Freeze one worker after the other for longer than a lease."""
        while True:
            await self._await_sends(interval)
            workers = sorted(workers_of(supervisor).values())
            if not workers:
                continue
            pid = workers[self.freezes % len(workers)]
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self.freezes += 1
                try:
                    await asyncio.sleep(1.2 * LEASE_SECONDS)
                finally:
                    os.kill(pid, signal.SIGCONT)

    async def restart_redis(self, interval: int) -> None:
        """Kill Redis, and start it again."""
        while True:
            await self._await_sends(interval)
            self._redis.kill()
            await asyncio.to_thread(self._redis.start)
            self.restarts += 1

    async def _await_sends(self, count: int) -> None:
        """Wait until so many more deliveries are accepted."""
        enough = len(self.sends) + count
        while len(self.sends) < enough:
            await asyncio.sleep(0.01)


def make_key(user: int, number: int) -> str:
    """Return the idempotency key of a delivery."""
    return f"{user}-{number}"


def build_send(user: int, number: int) -> SendRequest:
    """Build the request for a message that names the place in the user's sequence."""
    policy = DOUBT_POLICY_DROP if user % 2 else DOUBT_POLICY_REPEAT
    return SendRequest(
        recipient=Recipient(telegram_user_id=user),
        messages=[OutgoingMessage(text=f"send: {number}")],
        idempotency_key=make_key(user, number),
        options=DeliveryOptions(on_doubt=policy),
    )


def list_received(telegram: FakeBotApi) -> list[tuple[int, str, int]]:
    """Return user, kind ("send" or "echo") and number of each message."""
    (bot,) = telegram.bots.values()
    received = []
    for method, parameters in bot.calls:
        if method == "sendMessage":
            kind, _, number = parameters["text"].partition(": ")
            received.append((parameters["chat_id"], kind, int(number)))
    return received


def count_inversions(received: list[tuple[int, str, int]]) -> int:
    """Return how many messages came after a later one of their user.

    A message that came twice is judged by its first copy.
    """
    last: defaultdict[int, int] = defaultdict(int)
    seen = set()
    inversions = 0
    for user, _, number in received:
        if (user, number) not in seen:
            seen.add((user, number))
            inversions += number < last[user]
            last[user] = max(number, last[user])
    return inversions


async def judge(running: Run, telegram: FakeBotApi) -> Figures:
    """Compare what was accepted with what the users received."""
    gate = asyncio.Semaphore(50)

    async def find(user: int, number: int) -> DeliveryStatus:
        async with gate:
            return await running.find_status(user, number)

    statuses = dict(
        zip(
            running.sends,
            await asyncio.gather(*(find(*send) for send in running.sends)),
            strict=True,
        )
    )
    await wait_until(lambda: not _find_missing(running.updates, telegram, "echo"))
    received = list_received(telegram)
    sent = Counter((user, number) for user, kind, number in received if kind == "send")
    echoed = Counter(
        (user, number) for user, kind, number in received if kind != "send"
    )
    repeated = {send for send, count in sent.items() if count > 1}
    dropped = {send for send in repeated if send[0] % 2}
    marked = {send for send in repeated if statuses[send].maybe_repeated}
    doubtful = {
        send
        for send, status in statuses.items()
        if status.state == DELIVERY_STATE_DOUBTFUL
    }
    return Figures(
        sends=len(running.sends),
        updates=len(running.updates),
        kills=running.kills,
        freezes=running.freezes,
        restarts=running.restarts,
        lost_sends=len(set(running.sends) - set(sent) - doubtful),
        lost_updates=len(set(running.updates) - set(echoed)),
        doubtful=len(doubtful),
        repeated=len(repeated & marked),
        repeated_unmarked=len(repeated - marked - dropped),
        repeated_dropped=len(dropped),
        repeated_replies=sum(count - 1 for count in echoed.values()),
        inversions=count_inversions(received),
        wrong_answers=running.wrong_answers,
    )


def _find_missing(
    accepted: list[tuple[int, int]], telegram: FakeBotApi, kind: str
) -> set[tuple[int, int]]:
    received = {
        (user, number) for user, it, number in list_received(telegram) if it == kind
    }
    return set(accepted) - received


async def run(
    sends: int, workers: int, faults: Faults, module: str = "gateway"
) -> Figures:
    """Run a gateway, and break it under load.

    Args:
        sends: the number of deliveries.
        workers: the number of workers.
        faults: what to break.
        module: the program of the gateway.
    """
    telegram = FakeBotApi([TOKEN])
    telegram.latency = TELEGRAM_SECONDS
    async with _running(telegram, workers, module) as (running, supervisor):
        async with asyncio.TaskGroup() as breaking:
            tasks = [
                breaking.create_task(coroutine)
                for coroutine, interval in (
                    (running.kill(supervisor, faults.kill), faults.kill),
                    (running.freeze(supervisor, faults.freeze), faults.freeze),
                    (
                        running.restart_redis(faults.restart_redis),
                        faults.restart_redis,
                    ),
                )
                if interval or coroutine.close()
            ]
            async with asyncio.TaskGroup() as serving_users:
                for user in range(FIRST_USER, FIRST_USER + USERS):
                    serving_users.create_task(running.serve_user(user, sends))
            for task in tasks:
                task.cancel()
        return await judge(running, telegram)


@contextlib.asynccontextmanager
async def _running(
    telegram: FakeBotApi, workers: int, module: str
) -> AsyncIterator[tuple[Run, int]]:
    port, ops_port, delivery_port = free_ports(3)
    async with contextlib.AsyncExitStack() as stack:
        root = stack.enter_context(tempfile.TemporaryDirectory())
        redis = RedisServer(Path(root), "--appendonly yes --appendfsync always")
        redis.start()
        stack.callback(redis.kill)
        target = await stack.enter_async_context(serving(Backend()))
        api_url = await stack.enter_async_context(telegram.serve())
        environment = {
            **settings_of(target, api_url, port, ops_port),
            "REDIS_URL": redis.url,
            "DELIVERY_PORT": str(delivery_port),
            "WORKERS": str(workers),
            "LOG_LEVEL": "ERROR",
            # During an outage more is accepted than is sent.
            "MAILBOX_LIMIT": "10000",
        }
        process = await stack.enter_async_context(
            program("serve", module=module, settings=environment)
        )
        options = (("grpc.use_local_subchannel_pool", 1),)
        stubs: list[Client] = []
        for _ in range(CHANNELS):
            channel = aio.insecure_channel(f"127.0.0.1:{delivery_port}", options)
            await stack.enter_async_context(channel)
            stubs.append(DeliveryServiceStub(channel))
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        client = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))

        async def is_up() -> bool:
            try:
                async with client.get(f"http://127.0.0.1:{ops_port}/ready") as response:
                    return response.status == 200
            except aiohttp.ClientError:
                return False

        await wait_until_found(is_up)
        yield Run(redis, port, client, stubs), process.pid


def main() -> None:
    """Run, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sends", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kill", type=int, default=500)
    parser.add_argument("--freeze", type=int, default=4000)
    parser.add_argument("--restart-redis", type=int, default=5000)
    parser.add_argument("--control", action="store_true")
    arguments = parser.parse_args()
    started_at = time.monotonic()
    faults = Faults(
        kill=arguments.kill,
        freeze=arguments.freeze,
        restart_redis=arguments.restart_redis,
    )
    if arguments.control:
        running = run(arguments.sends, 1, Faults(), "tests.chaos.no_idempotency")
    else:
        running = run(arguments.sends, arguments.workers, faults)
    figures = asyncio.run(running)
    for name in figures.__struct_fields__:
        sys.stdout.write(f"{name:18} {getattr(figures, name)}\n")
    sys.stdout.write(f"seconds            {time.monotonic() - started_at:.0f}\n")
    sys.exit(0 if figures.is_good else 1)


if __name__ == "__main__":
    main()
