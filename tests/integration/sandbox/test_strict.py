"""A strict simulator: what Telegram refuses because it knows who and what exists."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.state.webhook import Webhook
from gateway.sandbox.simulator.validation.rules import ApiError
from tests.integration.sandbox.bot import TOKEN, Bot

TOO_OLD = (
    "Bad Request: query is too old and response timeout expired or query ID is invalid"
)


@pytest.fixture
def simulator() -> Simulator:
    """A strict one, in the place of the lenient one."""
    return Simulator(TOKEN, strict=True)


@pytest.fixture
async def bot(simulator: Simulator) -> AsyncIterator[Bot]:
    """A bot on that simulator."""
    async with simulator.serve() as url, aiohttp.ClientSession() as session:
        yield Bot(session, url)


async def test_a_chat_that_nobody_has_is_not_found(
    simulator: Simulator, bot: Bot
) -> None:
    """A user is known from the start or once added; a group once somebody wrote."""
    for method, call in (
        ("sendMessage", {"text": "a"}),
        ("sendPhoto", {"photo": "p"}),
        ("sendChatAction", {"action": "typing"}),
        ("editMessageText", {"message_id": 1, "text": "a"}),
    ):
        error = await bot.error(method, chat_id=77, **call)
        assert error == "Bad Request: chat not found"
    await bot.result("sendMessage", chat_id=1001, text="a")
    await simulator.user_actions.add_user("Barbara", user_id=77)
    await bot.result("sendMessage", chat_id=77, text="a")
    error = await bot.error("sendMessage", chat_id=-5, text="a")
    assert error == "Bad Request: chat not found"
    await simulator.user_actions.say(1001, "hello", chat=-5)
    await bot.result("sendMessage", chat_id=-5, text="a")


async def test_a_press_that_never_was_cannot_be_answered(
    simulator: Simulator, bot: Bot
) -> None:
    assert await bot.error("answerCallbackQuery", callback_query_id="77") == TOO_OLD
    assert simulator.answers == []
    message = await bot.result("sendMessage", chat_id=1001, text="a")
    press = await simulator.user_actions.press(1001, 1001, message["message_id"], "x")
    query_id = press["callback_query_id"]
    await bot.result("answerCallbackQuery", callback_query_id=query_id)
    assert await bot.error("answerCallbackQuery", callback_query_id=query_id) == TOO_OLD


async def test_a_hasty_set_webhook_has_to_wait(bot: Bot) -> None:
    """Telegram allows one a second; deleting is always allowed."""
    await bot.result("setWebhook", url="http://127.0.0.1:9/")
    answer = await bot.call("setWebhook", url="http://127.0.0.1:9/other")
    assert answer["error_code"] == 429
    assert answer["description"] == "Too Many Requests: retry after 1"
    assert answer["parameters"] == {"retry_after": 1}
    assert (await bot.result("getWebhookInfo"))["url"] == "http://127.0.0.1:9/"
    await bot.result("setWebhook", url="")
    await bot.result("deleteWebhook")


def test_a_webhook_may_be_set_again_after_a_second() -> None:
    """A call that was refused does not make the wait longer."""
    webhook, call = Webhook(), {"url": "http://127.0.0.1:9/"}
    webhook.hold_back(call, 10.0)
    with pytest.raises(ApiError):
        webhook.hold_back(call, 10.9)
    webhook.hold_back(call, 11.0)
