"""Telegram's limits over HTTP: switched on, exceeded and counted."""

from typing import Any

import pytest
from aiohttp import web

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.limits.flood_limits import LimitSettings
from tests.integration.sandbox.bot import TOKEN, Bot
from tests.integration.sandbox.receiver import Receiver
from tests.support.waiting import wait_until


async def view(caller: Bot) -> Any:  # noqa: ANN401 - any JSON
    """Get the limits and the counts."""
    async with caller.session.get(f"{caller.url}/limits") as response:
        assert response.status == 200
        return await response.json()


async def test_limits_are_off_until_they_are_switched_on(
    simulator: Simulator, bot: Bot
) -> None:
    for _ in range(5):
        await bot.result("sendMessage", chat_id=1001, text="a")
    assert await view(bot) == {"settings": None, "bots": {}, "holds": []}
    status, answer = await bot.control("limits", on=True, chat_burst=2)
    assert status == 200
    assert answer["settings"] == {
        "bot_calls": 30,
        "paid_calls": 1000,
        "chat_seconds": 1.0,
        "chat_burst": 2,
        "group_calls": 20,
        "group_seconds": 60.0,
    }
    for _ in range(2):
        await bot.result("sendMessage", chat_id=1001, text="a")
    url = f"{bot.url}/bot{TOKEN}/sendMessage"
    async with bot.session.post(url, json={"chat_id": 1001, "text": "b"}) as response:
        refused = await response.json()
        wait = refused["parameters"]["retry_after"]
        assert response.status == 429
        assert response.headers["Retry-After"] == str(wait)
    assert 1 <= wait <= 2
    assert refused["description"] == f"Too Many Requests: retry after {wait}"
    assert len(simulator.messages(1001)) == 7
    counted = (await view(bot))["bots"]["123456"]
    assert counted["private_chat"] == {
        "limit": 2,
        "seconds": 2.0,
        "calls": 3,
        "violations": 1,
        "early_calls": 0,
        "highest": 3,
    }
    assert (await bot.control("limits", on=False))[1]["settings"] is None
    await bot.result("sendMessage", chat_id=1001, text="a")


async def test_what_is_counted_has_no_text(bot: Bot) -> None:
    await bot.control("limits", on=True)
    await bot.control("hold", chat=1001, seconds=37)
    await bot.call("sendMessage", chat_id=1001, text="a secret")
    assert "secret" not in str(await view(bot))


async def test_one_chat_can_be_told_to_wait(simulator: Simulator, bot: Bot) -> None:
    """Others go on, and each call into it is counted."""
    simulator.bots.add("777:other", "Support", "support_bot")
    await bot.control("hold", chat=1001, seconds=37)
    answer = await bot.call("sendMessage", chat_id=1001, text="a")
    assert answer["parameters"] == {"retry_after": 37}
    assert not (await bot.call("sendChatAction", chat_id=1001, action="typing"))["ok"]
    await bot.result("sendMessage", chat_id=1002, text="a")
    other = Bot(bot.session, bot.url, "777:other")
    await other.result("sendMessage", chat_id=1001, text="a")
    (hold,) = (await view(bot))["holds"]
    assert (hold["calls"], hold["state"]) == (1, "holding")
    await bot.control("hold", chat=1001, seconds=0)
    await bot.result("sendMessage", chat_id=1001, text="a")


async def test_a_call_in_a_webhook_response_is_limited_too(
    simulator: Simulator, bot: Bot
) -> None:
    simulator.limits.enforce(LimitSettings(chat_burst=1))
    call = {"method": "sendMessage", "chat_id": 1001, "text": "a"}
    async with Receiver().serving() as receiver:
        receiver.answer = lambda _: web.json_response(call)
        simulator.set_webhook(receiver.url)
        await simulator.user_actions.burst(1001, 2)
        await wait_until(lambda: len(simulator.sent) == 2)
    assert [sent.status for sent in simulator.sent] == [200, 429]


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("limits", {}),
        ("limits", {"on": True, "chat_burst": 0}),
        ("limits", {"on": True, "chat_burst": 1.5}),
        ("limits", {"on": True, "speed": 1}),
        ("hold", {"chat": 1001}),
        ("hold", {"chat": 1001, "seconds": -1}),
        ("hold", {"chat": 1001, "seconds": 37, "bot": 5}),
    ],
)
async def test_what_cannot_be_is_refused(
    bot: Bot, what: str, fields: dict[str, object]
) -> None:
    status, answer = await bot.control(what, **fields)
    assert status == 400
    assert answer["error"]
