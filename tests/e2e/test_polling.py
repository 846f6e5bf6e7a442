"""A gateway that fetches its updates from Telegram instead of having a webhook."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.sandbox.server import Simulator
from tests.support.backend import Backend, gate, serving
from tests.support.gateway_harness import TOKEN
from tests.support.process import program, run, settings_of
from tests.support.redis_servers import RedisServer
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until, wait_until_found

USERS = range(1001, 1004)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, "--appendonly yes --appendfsync always")
    server.start()
    yield server
    server.kill()


class Harness:
    """A simulated Telegram and a service, for gateways that poll."""

    def __init__(
        self, simulator: Simulator, backend: Backend, api_url: str, target: str
    ) -> None:
        self.simulator = simulator
        self.backend = backend
        self.settings = settings_of(target, api_url, 1, 2) | {"UPDATES": "poll"}
        del self.settings["TELEGRAM_WEBHOOK_SECRET"]

    async def write(self, user: int, text: str) -> None:
        """Write a text to the bot."""
        await self.simulator.user_actions.say(user, text)

    def replies(self, user: int) -> list[str]:
        """Return the texts that the bot sent to a user."""
        return [
            message["text"]
            for message in self.simulator.messages(user)
            if message["from"]["is_bot"]
        ]

    def count_replies(self) -> int:
        """Return the number of texts that the bot sent."""
        return sum(len(self.replies(user)) for user in USERS)

    @asynccontextmanager
    async def gateway(
        self, **settings: str
    ) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
        """Run a gateway; returns its process and the address of its health."""
        port, ops_port = free_ports(2)
        chosen = self.settings | {"PORT": str(port), "OPS_PORT": str(ops_port)}
        async with program("serve", settings=chosen | settings) as process:
            url = f"http://127.0.0.1:{ops_port}"

            async def is_ready() -> bool:
                return bool((await fetch(f"{url}/ready")).get("ready"))

            await wait_until_found(is_ready)
            yield process, url


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    simulator, backend = Simulator(TOKEN), Backend()
    async with serving(backend) as target, simulator.serve() as api_url:
        yield Harness(simulator, backend, api_url, target)


async def fetch(url: str) -> dict[str, object]:
    """Return the JSON at a URL, or an empty object if nothing answers."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            content: dict[str, object] = json.loads(await response.read())
            return content
    except aiohttp.ClientError:
        return {}


async def test_updates_are_fetched_answered_and_confirmed(harness: Harness) -> None:
    await harness.write(1001, "before the start")
    async with harness.gateway() as (process, url):
        await wait_until(lambda: harness.replies(1001) == ["echo: before the start"])
        await harness.write(1001, "later")
        await wait_until(lambda: len(harness.replies(1001)) == 2)
        assert (await fetch(f"{url}/health"))["status"] == "ok"
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 0
    async with harness.gateway():
        await harness.write(1001, "after the restart")
        await wait_until(lambda: len(harness.replies(1001)) == 3)
    assert harness.replies(1001) == [
        "echo: before the start",
        "echo: later",
        "echo: after the restart",
    ]


async def test_a_kill_loses_nothing_that_was_only_in_memory(harness: Harness) -> None:
    opened = asyncio.Event()
    gate(harness.backend, opened, set(USERS))
    async with harness.gateway() as (process, _):
        for user in USERS:
            await harness.write(user, f"from {user}")
        asked = harness.backend.asked
        await wait_until(lambda: len(asked("SendMessage")) == len(USERS))
        process.kill()
    opened.set()
    async with harness.gateway():
        await wait_until(lambda: harness.count_replies() >= len(USERS))
    assert [harness.replies(it) for it in USERS] == [
        [f"echo: from {it}"] for it in USERS
    ]


async def test_another_gateway_takes_over_from_a_killed_one(
    harness: Harness, redis: RedisServer
) -> None:
    settings = {"REDIS_URL": redis.url}
    async with (
        harness.gateway(**settings) as (first, _),
        harness.gateway(**settings) as (second, _),
    ):
        await harness.write(1001, "one")
        await wait_until(lambda: harness.count_replies() == 1)
        first.kill()
        await first.wait()
        await harness.write(1002, "two")
        await wait_until(lambda: harness.count_replies() == 2)
        second.send_signal(signal.SIGTERM)
        await second.communicate()
    assert harness.replies(1002) == ["echo: two"]


async def test_workers_of_a_gateway_share_the_work(
    harness: Harness, redis: RedisServer
) -> None:
    async with harness.gateway(REDIS_URL=redis.url, WORKERS="2"):
        for user in USERS:
            await harness.write(user, f"from {user}")
        await wait_until(lambda: harness.count_replies() == len(USERS))


async def test_a_webhook_is_not_replaced_unless_asked_for(harness: Harness) -> None:
    harness.simulator.set_webhook("http://127.0.0.1:9/webhook/telegram")
    code, _, errors = await run("serve", settings=harness.settings)
    assert code == 2
    assert errors == (
        "telegram-gateway: UPDATES: is poll, but the webhook"
        " http://127.0.0.1:9/webhook/telegram is set; --take-over deletes it\n"
    )
    assert harness.simulator.webhook["url"] == "http://127.0.0.1:9/webhook/telegram"


async def test_taking_over_is_refused_where_updates_are_not_polled(
    harness: Harness,
) -> None:
    settings = harness.settings | {"UPDATES": "webhook"}
    settings["TELEGRAM_WEBHOOK_SECRET"] = "a-webhook-secret-of-this-test"
    code, _, errors = await run("serve", "--take-over", settings=settings)
    assert (code, errors) == (
        2,
        "telegram-gateway: --take-over: UPDATES is not poll\n",
    )


async def test_a_webhook_that_is_taken_over_keeps_its_pending_updates(
    harness: Harness,
) -> None:
    harness.simulator.set_webhook("http://127.0.0.1:9/webhook/telegram")
    await harness.write(1001, "pending")
    port, ops_port = free_ports(2)
    settings = harness.settings | {"PORT": str(port), "OPS_PORT": str(ops_port)}
    async with program("serve", "--take-over", settings=settings):
        await wait_until(lambda: harness.replies(1001) == ["echo: pending"])
    assert harness.simulator.webhook["url"] == ""


async def test_a_webhook_that_is_set_later_is_a_problem_in_health(
    harness: Harness,
) -> None:
    async with harness.gateway() as (_, url):
        harness.simulator.set_webhook("http://127.0.0.1:9/webhook/telegram")

        async def is_reported() -> bool:
            health = await fetch(f"{url}/health")
            return health["status"] == "degraded" and "webhook" in str(
                health["problems"]
            )

        await wait_until_found(is_reported)


async def test_a_webhook_cannot_be_set_while_updates_are_polled(
    harness: Harness,
) -> None:
    settings = harness.settings | {"WEBHOOK_URL": "https://bot.example.com/x"}
    code, _, errors = await run("webhook", "set", settings=settings)
    assert code == 2
    assert "UPDATES: is poll" in errors
