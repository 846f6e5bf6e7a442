"""Faults that stay on until they are switched off."""

import time

import aiohttp
import pytest

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.faults.persistent import FaultSettings
from tests.integration.sandbox.bot import Bot


async def test_a_flood_lasts_until_it_is_switched_off(
    simulator: Simulator, bot: Bot
) -> None:
    """Each call meets it; the page shows it."""
    await simulator.user_actions.fault("flood", FaultSettings(retry_after=17))
    for _ in range(3):
        answer = await bot.call("sendMessage", chat_id=7, text="a")
        assert answer["parameters"] == {"retry_after": 17}
    flood = simulator.snapshot()["faults"][0]
    assert flood == {
        "name": "flood",
        "on": True,
        "method": "*",
        "chat_id": None,
        "retry_after": 17,
    }
    await simulator.user_actions.fault("flood", None)
    await bot.result("sendMessage", chat_id=7, text="a")
    assert len(simulator.messages(7)) == 1


async def test_a_fault_may_be_meant_for_some_calls_only(
    simulator: Simulator, bot: Bot
) -> None:
    settings = FaultSettings(status=502, method="sendmessage", chat_id=7)
    await simulator.user_actions.fault("server_error", settings)
    assert await bot.error("sendMessage", chat_id=7, text="a") == "Bad Gateway"
    assert await bot.result("sendMessage", chat_id=8, text="a")
    assert await bot.result("sendChatAction", chat_id=7, action="typing")


async def test_faults_can_be_combined(simulator: Simulator, bot: Bot) -> None:
    """A slow answer may be an error too."""
    await simulator.user_actions.fault("slow", FaultSettings(delay=0.2))
    await simulator.user_actions.fault("server_error", FaultSettings())
    start = time.monotonic()
    assert await bot.error("getMe") == "Internal Server Error"
    assert time.monotonic() - start >= 0.2


async def test_a_lost_answer_leaves_its_effect(simulator: Simulator, bot: Bot) -> None:
    """The bot cannot know that its message arrived."""
    await simulator.user_actions.fault("lost_answer", FaultSettings())
    with pytest.raises(aiohttp.ClientError):
        await bot.call("sendMessage", chat_id=7, text="a")
    assert len(simulator.messages(7)) == 1


async def test_what_a_test_asked_for_comes_first(
    simulator: Simulator, bot: Bot
) -> None:
    """A queued fault is met before one that stays."""
    await simulator.user_actions.fault("server_error", FaultSettings())
    simulator.fail(status=403)
    assert (await bot.call("getMe"))["error_code"] == 403
    assert (await bot.call("getMe"))["error_code"] == 500
