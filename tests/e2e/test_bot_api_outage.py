"""A Bot API that fails: every reply arrives in the end, once, and in order."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.faults.persistent import FaultSettings
from gateway.telegram.bot_api import health
from tests.support.backend import Backend, serving
from tests.support.gateway_harness import TOKEN, GatewayHarness, running_gateway
from tests.support.process import Process, program, settings_of
from tests.support.redis_servers import RedisServer
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT, wait_until, wait_until_found

USERS = range(100, 120)
ALL = FaultSettings(method="sendMessage")
"""Every message meets a 500, until the fault is switched off."""


async def test_replies_wait_for_their_chats_and_delay_no_others(
    gateway: GatewayHarness,
) -> None:
    """Those that met a 500 arrive once and in order, after those of other users."""
    for user in USERS:
        gateway.simulator.fail("sendMessage", 500, chat_id=user, times=10**9)
    for text in ("one", "two", "three"):
        await asyncio.gather(*(gateway.say(text, user=user) for user in USERS))
    await wait_until(lambda: len(gateway.simulator.sent) >= len(USERS))
    for text in ("four", "five"):
        await gateway.say(text, user=7)
    await wait_until(lambda: gateway.texts() == ["echo: four", "echo: five"])
    assert not any(gateway.texts(user) for user in USERS)
    gateway.simulator.stop_failing()
    await gateway.ended(3 * len(USERS) + 2)
    expected = ["echo: one", "echo: two", "echo: three"]
    assert [gateway.texts(user) for user in USERS] == [expected] * len(USERS)
    assert gateway.outcomes() == ["done"] * (3 * len(USERS) + 2)
    assert len(gateway.backend.asked("SendMessage")) == 3 * len(USERS) + 2


async def test_what_may_have_arrived_is_not_sent_again_while_others_wait(
    gateway: GatewayHarness,
) -> None:
    """The connection broke after the message was there; the next one follows it."""
    gateway.simulator.fail("sendMessage", 500, chat_id=7)
    gateway.simulator.fail("sendMessage", 200, chat_id=7, drop=True)
    for text in ("one", "two", "three"):
        await gateway.say(text)
    await gateway.ended(3)
    assert gateway.texts() == ["echo: one", "echo: two", "echo: three"]
    assert gateway.outcomes() == ["send_failed", "done", "done"]


async def test_a_flood_of_429s_costs_no_reply(gateway: GatewayHarness) -> None:
    """However many follow each other, within the patience."""
    for user in USERS:
        gateway.simulator.fail("sendMessage", 429, chat_id=user, retry_after=1, times=2)
    await asyncio.gather(*(gateway.say("hi", user=user) for user in USERS))
    await gateway.ended(len(USERS))
    assert [gateway.texts(user) for user in USERS] == [["echo: hi"]] * len(USERS)


async def test_a_press_is_answered_after_the_outage(gateway: GatewayHarness) -> None:
    """The answer to the button and the message that goes with it, once each."""
    gateway.simulator.fail("answerCallbackQuery", 500, times=2)
    gateway.simulator.fail("sendMessage", 500)
    await gateway.press("ACCEPT:1")
    await gateway.ended(1)
    assert gateway.texts() == ["echo: Accept"]
    assert gateway.outcomes() == ["done"]
    assert len(gateway.simulator.answers) == 1


async def test_a_reply_is_given_up_after_the_patience() -> None:
    """With an error in the log; the user's next update goes on."""
    async with running_gateway(reply_patience=1) as gateway:
        await gateway.simulator.user_actions.fault("server_error", ALL)
        await gateway.say("lost")
        await gateway.ended(1)
        await gateway.simulator.user_actions.fault("server_error", None)
        await gateway.say("kept")
        await gateway.ended(2)
        assert gateway.texts() == ["echo: kept"]
        assert gateway.outcomes() == ["send_failed", "done"]
        errors = [line for line in gateway.log() if line["level"] == "error"]
        assert [line["message"] for line in errors] == ["reply_not_sent"]
        _, metrics = await gateway.get("/metrics", ops=True)
        assert (
            'outcome="send_failed",route="text",update_type="message"} 1.0' in metrics
        )


async def test_health_and_readiness_name_a_bot_api_that_fails(
    gateway: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Updates are taken all the same, so the gateway stays ready; it heals alone."""
    monkeypatch.setattr(health, "FAILING_AFTER_SECONDS", 0.1)

    async def seen() -> tuple[str, str]:
        answer = json.loads((await gateway.get("/health", ops=True))[1])
        return answer["status"], answer["bot_api"]

    async def shows(status: str, bot_api: str) -> bool:
        return await seen() == (status, bot_api)

    assert await shows("ok", "ok")
    await gateway.simulator.user_actions.fault("server_error", ALL)
    await gateway.say("hi")
    await wait_until_found(lambda: shows("degraded", "failing"))
    ready = '{"ready":true,"reason":"","bot_api":"failing"}'
    assert await gateway.get("/ready", ops=True) == (200, ready)
    _, metrics = await gateway.get("/metrics", ops=True)
    assert "gateway_bot_api_failing 1.0" in metrics
    assert "gateway_paused_replies 1.0" in metrics
    await gateway.simulator.user_actions.fault("server_error", None)
    await wait_until_found(lambda: shows("ok", "ok"))
    await gateway.ended(1)
    assert gateway.texts() == ["echo: hi"]
    _, metrics = await gateway.get("/metrics", ops=True)
    assert "gateway_bot_api_failing 0.0" in metrics
    assert "gateway_paused_replies 0.0" in metrics


class Outage:
    """Gateway processes one after the other, with what outlives them around them."""

    def __init__(
        self, backend: Backend, simulator: Simulator, settings: dict[str, str]
    ) -> None:
        self.backend = backend
        self.simulator = simulator
        self._settings = settings

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[Process]:
        """Run a gateway process."""
        port, ops_port = free_ports(2)
        chosen = self._settings | {"PORT": str(port), "OPS_PORT": str(ops_port)}
        async with program("serve", settings=chosen) as process:
            url = f"http://127.0.0.1:{port}"
            running = Process(process, self.backend, self.simulator, url)
            await wait_until_found(running.healthy)
            try:
                yield running
            finally:
                await running.close()

    def tried(self) -> set[int]:
        """Return the users whose message met the fault."""
        return {
            int(call.parameters["chat_id"])
            for call in self.simulator.sent
            if call.method == "sendMessage"
        }

    def texts(self, user: int) -> list[str]:
        """Return what a user's chat shows."""
        return [message["text"] for message in self.simulator.messages(user)]


@pytest.fixture
async def outage(tmp_path: Path) -> AsyncIterator[Outage]:
    """Yield a Bot API that fails for every message, services and a Redis."""
    server = RedisServer(tmp_path, "--appendonly yes --maxmemory-policy noeviction")
    server.start()
    backend, simulator = Backend(), Simulator(TOKEN)
    try:
        async with serving(backend) as target, simulator.serve() as api_url:
            settings = settings_of(target, api_url, 0, 0)
            settings |= {"REDIS_URL": server.url, "DRAIN_TIMEOUT": "0.5"}
            await simulator.user_actions.fault("server_error", ALL)
            yield Outage(backend, simulator, settings)
    finally:
        server.kill()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_the_end_of_a_gateway_in_an_outage_loses_no_reply(
    outage: Outage, end: signal.Signals
) -> None:
    """Killed, or asked to end, which waits for the Bot API for a while only."""
    async with outage.gateway() as first:
        for n, user in enumerate(USERS):
            await first.say(2 * n + 1, user, "one")
            await first.say(2 * n + 2, user, "two")
        await wait_until(lambda: outage.tried() == set(USERS))
        first.process.send_signal(end)
        code = await asyncio.wait_for(first.process.wait(), LIMIT)
        assert code == (0 if end is signal.SIGTERM else -end)
    async with outage.gateway() as second:
        await second.say(1000, USERS[0], "three")
        await outage.simulator.user_actions.fault("server_error", None)
        await wait_until(lambda: len(outage.texts(USERS[0])) == 3)
        await wait_until(lambda: all(len(outage.texts(u)) > 1 for u in USERS))
    expected = ["echo: one", "echo: two"]
    assert outage.texts(USERS[0]) == [*expected, "echo: three"]
    assert [outage.texts(user) for user in USERS[1:]] == [expected] * 19
    asked: dict[int, set[str]] = {}
    request: Any
    for request in outage.backend.asked("SendMessage"):
        ids = asked.setdefault(request.context.update_id, set())
        ids.add(request.context.request_id)
    assert len(asked) == 2 * len(USERS) + 1
    assert all(len(ids) == 1 for ids in asked.values())


async def test_a_token_that_is_sent_in_clear_is_warned_of() -> None:
    """To a Bot API on another machine; one on this machine is nobody's business."""
    warning = "bot_token_sent_unencrypted"
    async with running_gateway(telegram_api_url="http://bot-api.invalid:1") as gateway:
        assert [it["message"] for it in gateway.log()].count(warning) == 1
    async with running_gateway() as gateway:
        assert warning not in [it["message"] for it in gateway.log()]
