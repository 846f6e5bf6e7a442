"""Managed bots: a manager learns of them, gets their tokens and replaces them."""

from typing import Any

import pytest

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.simulated_bot import SimulatedBot
from tests.integration.sandbox.bot import Bot

MANAGED = 777


@pytest.fixture
def managed(simulator: Simulator) -> SimulatedBot:
    """A bot that the first one manages for Ada."""
    bot = simulator.bots.add("777:first-token", "Brand", "brand_bot")
    simulator.bots.manage(bot, simulator.bots.first, 1001)
    return bot


async def updates_of(bot: Bot) -> list[dict[str, Any]]:
    """Return the bot's updates, and confirm them."""
    updates: list[dict[str, Any]] = await bot.result("getUpdates")
    if updates:
        await bot.result("getUpdates", offset=updates[-1]["update_id"] + 1)
    return updates


async def test_a_manager_learns_of_a_new_bot_and_gets_its_token(
    bot: Bot, managed: SimulatedBot
) -> None:
    (update,) = await updates_of(bot)
    assert update["managed_bot"]["user"]["id"] == 1001
    assert update["managed_bot"]["bot"] == managed.profile
    assert "first-token" not in str(update)
    token = await bot.result("getManagedBotToken", user_id=MANAGED)
    assert token == "777:first-token"
    me = await Bot(bot.session, bot.url, token).result("getMe")
    assert me["username"] == "brand_bot"


async def test_a_manager_replaces_a_token(bot: Bot, managed: SimulatedBot) -> None:
    """The old one is refused at once; the manager is not told what it did itself."""
    await updates_of(bot)
    token = await bot.result("replaceManagedBotToken", user_id=str(MANAGED))
    assert token.startswith("777:")
    assert await bot.result("getManagedBotToken", user_id=MANAGED) == token
    old = Bot(bot.session, bot.url, "777:first-token")
    assert (await old.call("getMe"))["error_code"] == 401
    assert (await Bot(bot.session, bot.url, token).result("getMe"))["id"] == MANAGED
    assert await updates_of(bot) == []


async def test_a_manager_learns_that_somebody_replaced_a_token(
    bot: Bot, managed: SimulatedBot
) -> None:
    await updates_of(bot)
    await bot.control("token", bot=MANAGED, token="777:second-token")
    (update,) = await updates_of(bot)
    assert update["managed_bot"]["bot"]["id"] == MANAGED
    token = await bot.result("getManagedBotToken", user_id=MANAGED)
    assert token == "777:second-token"


async def test_nobody_else_gets_the_token(
    simulator: Simulator, bot: Bot, managed: SimulatedBot
) -> None:
    """Neither another bot nor the managed bot itself."""
    simulator.bots.add("778:other", "Other", "other_bot")
    for token in ("778:other", managed.token):
        caller = Bot(bot.session, bot.url, token)
        for method in ("getManagedBotToken", "replaceManagedBotToken"):
            error = await caller.error(method, user_id=MANAGED)
            assert error == "Bad Request: BOT_INVALID"
    assert managed.token == "777:first-token"
    for user, error in (
        (1001, "Bad Request: BOT_INVALID"),
        (778, "Bad Request: BOT_INVALID"),
        (5, "Bad Request: user not found"),
        (0, "Bad Request: invalid user_id specified"),
        (None, "Bad Request: invalid user_id specified"),
    ):
        assert await bot.error("getManagedBotToken", user_id=user) == error


async def test_a_managed_bot_is_added_over_http(simulator: Simulator, bot: Bot) -> None:
    status, added = await bot.control(
        "bot", token="777:brand", manager=123456, owner=1002
    )
    assert status == 200
    (update,) = await updates_of(bot)
    assert update["managed_bot"]["user"]["first_name"] == "Grace"
    assert update["managed_bot"]["bot"] == added["bot"]
    for manager, owner, error in (
        (5, 1001, "there is no bot 5"),
        (123456, 5, "owner: there is no user 5"),
    ):
        status, answer = await bot.control("bot", manager=manager, owner=owner)
        assert (status, answer["error"]) == (400, error)
    assert len(list(simulator.bots)) == 2


def test_what_cannot_be_managed_is_refused(
    simulator: Simulator, managed: SimulatedBot
) -> None:
    first = simulator.bots.first
    with pytest.raises(ValueError, match="there is no user 5"):
        simulator.bots.manage(managed, first, 5)
    with pytest.raises(ValueError, match="cannot manage itself"):
        simulator.bots.manage(first, first, 1001)
