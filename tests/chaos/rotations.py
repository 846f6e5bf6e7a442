"""Rotates tokens and webhook secrets under load, and counts what that cost.

python -m tests.chaos.rotations [--rotations 100] [--workers 4] [--rate 60] [--pause 1]
                                 [--kill SECONDS]

Several bots, whose users have the same ids, run in the workers of one gateway with a
Redis. Telegram sends updates to all of them, each with the secret of the last
setWebhook. Meanwhile one bot after the other gets another token, which makes the old
one invalid at once, and another secret. With --kill a worker is killed at that interval
too: then a reply may be sent again, because nobody knows whether Telegram had it.
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
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from msgspec import Struct

from gateway.bots.editor import BotEditor
from gateway.config.settings import Settings
from gateway.services.routing.route_table import build_route_table
from tests.factories import build_message_json
from tests.support.backend import Backend, serving
from tests.support.bot_api import BotAtTelegram, FakeBotApi, make_token
from tests.support.bots import STORE_SECRET, BotsDirectory
from tests.support.process import SERVICES, program
from tests.support.redis_servers import RedisServer
from tests.support.services.samples import SAMPLE_SERVICES
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until, wait_until_found
from tests.support.worker_probes import workers_of

BOTS = {"shop": 101, "news": 102, "help": 103}
USERS = 40
_NEVER = 1e6
TAKE_UP_SECONDS = 2.0
"""The time in which all workers have to use a new token."""


class Figures(Struct, frozen=True):
    """What a run showed.

    Attributes:
        rotations: how many tokens, and as many secrets, were replaced.
        kills: how many workers were killed.
        sent: the updates that Telegram sent.
        lost: those without a reply.
        repeated: replies that were sent again.
        inversions: replies that overtook an earlier one to the same user.
        crossed: replies that another bot sent.
        forbidden: Telegram's updates that were refused.
        rejected: calls with a token that had just been replaced.
        rejected_late: those that came after the time to take up the new one.
    """

    rotations: int
    kills: int
    sent: int
    lost: int
    repeated: int
    inversions: int
    crossed: int
    forbidden: int
    rejected: int
    rejected_late: int

    @property
    def is_good(self) -> bool:
        """Whether nothing went wrong."""
        faults = (self.lost, self.inversions, self.crossed, self.forbidden)
        is_repeated = self.repeated and not self.kills
        return not any((*faults, self.rejected_late, is_repeated))


class Run:
    """A gateway, Telegram and the bots."""

    def __init__(self, directory: Path, port: int, ops_port: int) -> None:
        self.port, self.ops_port = port, ops_port
        self.url = f"http://127.0.0.1:{port}/webhook/telegram"
        self.files = BotsDirectory(directory)
        self.telegram = FakeBotApi()
        self.replaced_at: dict[str, float] = {}
        """When the gateway was told of the successor of a token, by the token."""
        self.sent = 0
        self.kills = 0
        for name, bot_id in BOTS.items():
            self.files.add(name, bot_id)
            bot = self.telegram.add(make_token(bot_id))
            bot.webhook = {
                "url": f"{self.url}/{name}",
                "secret_token": f"canary-webhook-secret-of-{name}",
            }

    def get_bot(self, name: str) -> BotAtTelegram:
        """Return a bot as Telegram knows it."""
        return self.telegram.bots[BOTS[name]]

    async def send(self, stop: asyncio.Event, rate: float) -> None:
        """Send updates as Telegram does until a moment."""
        async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as group:
            names = list(BOTS)
            while not stop.is_set():
                self.sent += 1
                name = names[self.sent % len(names)]
                group.create_task(self._post(client, name, self.sent))
                await asyncio.sleep(1 / rate)

    async def _post(
        self, client: aiohttp.ClientSession, name: str, number: int
    ) -> None:
        message = build_message_json(f"{name} {number}", user=number % USERS + 1)
        webhook = self.get_bot(name).webhook
        headers = {"X-Telegram-Bot-Api-Secret-Token": webhook["secret_token"]}
        body = json.dumps({"update_id": number, "message": message})
        while True:  # as Telegram does until it gets a 200
            with contextlib.suppress(aiohttp.ClientError):
                async with client.post(
                    webhook["url"], data=body, headers=headers
                ) as response:
                    assert response.status == 200
                    return
            await asyncio.sleep(0.05)
            webhook = self.get_bot(name).webhook
            headers["X-Telegram-Bot-Api-Secret-Token"] = webhook["secret_token"]

    async def kill(self, supervisor: int, interval: float) -> None:
        """Kill one worker after the other."""
        while True:
            await asyncio.sleep(interval)
            workers = sorted(workers_of(supervisor).items())
            if workers:
                os.kill(workers[self.kills % len(workers)][1], signal.SIGKILL)
                self.kills += 1

    async def rotate(self, editor: BotEditor, name: str, number: int) -> None:
        """Replace the token and the secret of a bot."""
        bot = self.get_bot(name)
        before = bot.token
        bot.token = make_token(bot.bot_id, f"AAkey-number-{number}")
        await editor.rotate_token(name, bot.token)
        self.replaced_at[before] = time.monotonic()
        await editor.rotate_secret(name)

    async def is_up(self) -> bool:
        """Return whether the gateway answers."""
        try:
            page = await self._get("/ready")
        except aiohttp.ClientError:
            return False
        return '"ready":true' in page

    async def count_forbidden(self) -> int:
        """Return the number of refused requests."""
        page = await self._get("/metrics")
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in page.splitlines()
            if line.startswith("gateway_updates_total")
            and 'outcome="forbidden"' in line
        )

    async def _get(self, path: str) -> str:
        url = f"http://127.0.0.1:{self.ops_port}{path}"
        async with aiohttp.ClientSession() as client, client.get(url) as response:
            return await response.text()

    def list_replies(self) -> list[tuple[str, int, str, int]]:
        """Return bot, user, the bot of the text and its number of each reply."""
        replies = []
        for name in BOTS:
            for method, parameters in list(self.get_bot(name).calls):
                if method == "sendMessage":
                    _, of, number = parameters["text"].split()
                    replies.append((name, parameters["chat_id"], of, int(number)))
        return replies

    def judge(self, rotations: int, forbidden: int) -> Figures:
        """Compare what was sent with what was answered."""
        replies = self.list_replies()
        numbers = [number for *_, number in replies]
        last: defaultdict[tuple[str, int], int] = defaultdict(int)
        inversions = 0
        for name, user, _, number in replies:
            inversions += number < last[name, user]
            last[name, user] = max(number, last[name, user])
        return Figures(
            rotations=rotations,
            kills=self.kills,
            sent=self.sent,
            lost=self.sent - len(set(numbers)),
            repeated=len(numbers) - len(set(numbers)),
            inversions=inversions,
            crossed=sum(name != of for name, _, of, _ in replies),
            forbidden=forbidden,
            rejected=len(self.telegram.refusals),
            rejected_late=sum(
                at > self.replaced_at.get(token, at) + TAKE_UP_SECONDS
                for at, token in self.telegram.refusals
            ),
        )


async def run(
    rotations: int, workers: int, rate: float, pause: float = 0, kill: float = 0
) -> Figures:
    """Run a gateway and rotate under load.

    Args:
        rotations: how many tokens, and as many secrets, to replace.
        workers: the number of workers.
        rate: updates per second.
        pause: seconds between two rotations.
        kill: seconds between two kills of a worker; 0 for none.
    """
    async with _running(workers) as (place, editor, supervisor):
        killing = asyncio.create_task(place.kill(supervisor, kill or _NEVER))
        stop = asyncio.Event()
        sending = asyncio.create_task(place.send(stop, rate))
        names = list(BOTS)
        for number in range(rotations):
            await place.rotate(editor, names[number % len(names)], number)
            await asyncio.sleep(pause)
        await asyncio.sleep(TAKE_UP_SECONDS)
        stop.set()
        killing.cancel()
        await sending
        with contextlib.suppress(TimeoutError):
            await wait_until(lambda: len(place.list_replies()) >= place.sent)
        return place.judge(rotations, await place.count_forbidden())


@contextlib.asynccontextmanager
async def _running(workers: int) -> AsyncIterator[tuple[Run, BotEditor, int]]:
    port, ops_port = free_ports(2)
    with tempfile.TemporaryDirectory() as root:
        place = Run(Path(root), port, ops_port)
        redis = RedisServer(Path(root), "")
        redis.start()
        try:
            async with serving(Backend()) as target, place.telegram.serve() as api_url:
                environment = {
                    "BOTS_FILE": str(place.files.path),
                    "STORE_SECRET": STORE_SECRET,
                    "TELEGRAM_API_URL": api_url,
                    "WEBHOOK_URL": place.url,
                    "REDIS_URL": redis.url,
                    "PORT": str(port),
                    "OPS_PORT": str(ops_port),
                    "WORKERS": str(workers),
                    "LOG_LEVEL": "ERROR",
                    "RATE_LIMIT_REQUESTS": "1000",
                    **{f"{name}_TARGET": target for name in SERVICES},
                    **{f"{name}_TIMEOUT": "60" for name in SERVICES},
                }
                settings = Settings(
                    _env_file=None,
                    bots_file=place.files.path,
                    store_secret=STORE_SECRET,
                    telegram_api_url=api_url,
                    webhook_url=place.url,
                )
                editor = BotEditor(
                    settings,
                    build_route_table(SAMPLE_SERVICES),
                    take_up_seconds=0,
                    report=lambda _: None,
                )
                async with program("serve", settings=environment) as process:
                    await wait_until_found(place.is_up)
                    yield place, editor, process.pid
        finally:
            redis.kill()


def main() -> None:
    """Run, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rotations", type=int, default=100)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=60)
    parser.add_argument("--pause", type=float, default=1)
    parser.add_argument("--kill", type=float, default=0)
    arguments = parser.parse_args()
    started_at = time.monotonic()
    figures = asyncio.run(
        run(
            arguments.rotations,
            arguments.workers,
            arguments.rate,
            arguments.pause,
            arguments.kill,
        )
    )
    for name in figures.__struct_fields__:
        sys.stdout.write(f"{name:14} {getattr(figures, name)}\n")
    sys.stdout.write(f"seconds        {time.monotonic() - started_at:.0f}\n")
    sys.exit(0 if figures.is_good else 1)


if __name__ == "__main__":
    main()
