"""Several bots in one simulator: what they share, and what belongs to each of them."""

import aiohttp
import pytest
from aiohttp import web

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.simulated_bot import SimulatedBot
from gateway.sandbox.simulator.state.update_log import UpdateLog, UpdateRow
from gateway.sandbox.tracing.trace_model import UpdateTrace
from tests.integration.sandbox.bot import TOKEN, Bot
from tests.integration.sandbox.receiver import Receiver
from tests.support.waiting import wait_until

OTHER = "777:other-token"


@pytest.fixture
def other(simulator: Simulator) -> SimulatedBot:
    """A second bot."""
    return simulator.bots.add(OTHER, "Support", "support_bot")


@pytest.fixture
def caller(bot: Bot, other: SimulatedBot) -> Bot:
    """What calls the Bot API as the second bot."""
    return Bot(bot.session, bot.url, other.token)


async def test_methods_answer_for_the_bot_of_the_token(bot: Bot, caller: Bot) -> None:
    assert (await bot.result("getMe"))["username"] == "marmot_desk_bot"
    me = await caller.result("getMe")
    assert (me["id"], me["first_name"], me["username"]) == (
        777,
        "Support",
        "support_bot",
    )
    nobody = Bot(bot.session, bot.url, "777:wrong")
    assert (await nobody.call("getMe"))["error_code"] == 401


async def test_a_private_chat_belongs_to_a_bot_and_a_user(
    simulator: Simulator, other: SimulatedBot, bot: Bot, caller: Bot
) -> None:
    """Messages, edits, keyboards, commands and queries of one never reach the other."""
    keyboard = {"keyboard": [["Tea"]]}
    await bot.result("sendMessage", chat_id=1001, text="first")
    for text in ("second", "third"):
        await caller.result(
            "sendMessage", chat_id=1001, text=text, reply_markup=keyboard
        )
    await caller.result(
        "setMyCommands", commands=[{"command": "help", "description": "Help"}]
    )
    assert [each["text"] for each in simulator.messages(1001)] == ["first"]
    texts = [each["text"] for each in other.chats.messages(1001)]
    assert texts == ["second", "third"]
    error = await bot.error("editMessageText", chat_id=1001, message_id=2, text="x")
    assert error == "Bad Request: message to edit not found"
    first, second = (each.view(10) for each in simulator.bots)
    assert (first["asked"], first["commands"]) == ({}, [])
    assert second["asked"]["1001"]["markup"] == keyboard
    assert second["commands"][0]["command"] == "help"
    press = await other.user_actions.press(1001, 1001, 2, "x")
    query_id = press["callback_query_id"]
    await caller.result("answerCallbackQuery", callback_query_id=query_id)
    assert simulator.answers == []
    assert [call.bot_id for call in simulator.sent[:3]] == [123456, 777, 777]


async def test_a_press_is_answered_by_its_own_bot_alone() -> None:
    simulator = Simulator(TOKEN, strict=True)
    other = simulator.bots.add(OTHER, "Support", "support_bot")
    async with simulator.serve() as url, aiohttp.ClientSession() as session:
        bot, caller = Bot(session, url), Bot(session, url, OTHER)
        await caller.result("sendMessage", chat_id=1001, text="a")
        press = await other.user_actions.press(1001, 1001, 1, "x")
        query_id = press["callback_query_id"]
        error = await bot.error("answerCallbackQuery", callback_query_id=query_id)
        assert "query ID is invalid" in error
        await caller.result("answerCallbackQuery", callback_query_id=query_id)


async def test_who_blocks_one_bot_still_hears_from_the_other(
    simulator: Simulator, other: SimulatedBot, bot: Bot, caller: Bot
) -> None:
    await other.user_actions.block(1001, blocked=True)
    assert (await caller.call("sendMessage", chat_id=1001, text="a"))[
        "error_code"
    ] == 403
    await bot.result("sendMessage", chat_id=1001, text="a")
    assert (simulator.blocked, other.users.blocked) == (set(), {1001})
    await simulator.user_actions.add_user("Another Ada", user_id=1001)
    await caller.result("sendMessage", chat_id=1001, text="a")


async def test_users_are_the_same_for_all_bots(
    simulator: Simulator, other: SimulatedBot
) -> None:
    await other.user_actions.add_user("Barbara", user_id=77)
    assert (await simulator.user_actions.say(77, "hello"))["message_id"] == 1


async def test_each_bot_has_updates_of_its_own(
    simulator: Simulator, other: SimulatedBot, bot: Bot, caller: Bot
) -> None:
    """The same ids would not mix them up, and confirming some leaves the others."""
    said = await simulator.user_actions.say(1001, "to the first")
    await other.user_actions.say(1001, "to the second")
    (first,) = await bot.result("getUpdates", offset=said["update_id"])
    assert first["message"]["text"] == "to the first"
    await bot.result("getUpdates", offset=first["update_id"] + 1)
    (second,) = await caller.result("getUpdates")
    assert second["message"]["text"] == "to the second"
    rows = simulator.update_log.rows(10)
    assert [(row.bot_id, row.title) for row in rows] == [
        (123456, "to the first"),
        (777, "to the second"),
    ]


async def test_each_bot_has_a_webhook_of_its_own(
    simulator: Simulator, other: SimulatedBot, bot: Bot, caller: Bot
) -> None:
    """Also a bot that is added while the simulator runs."""
    late = simulator.bots.add("778:late", "Late", "late_bot")
    async with Receiver().serving() as first, Receiver().serving() as second:
        await bot.result("setWebhook", url=first.url)
        await caller.result("setWebhook", url=second.url, secret_token="s")
        await simulator.user_actions.say(1001, "to the first")
        await other.user_actions.say(1001, "to the second")
        await wait_until(lambda: first.arrived and second.arrived)
        late.deliveries.set_webhook({"url": first.url})
        await late.user_actions.say(1001, "to the third")
        await wait_until(lambda: len(first.arrived) == 2)
    info = await caller.result("getWebhookInfo")
    assert (info["url"], info["pending_update_count"]) == (second.url, 0)
    assert other.webhook.secret_token == "s"
    assert simulator.secret_token == ""


async def test_a_call_in_a_webhook_response_is_made_by_the_bot_of_the_webhook(
    simulator: Simulator, other: SimulatedBot, caller: Bot
) -> None:
    async with Receiver().serving() as receiver:
        call = {"method": "sendMessage", "chat_id": 1001, "text": "hi"}
        receiver.answer = lambda _: web.json_response(call)
        await caller.result("setWebhook", url=receiver.url)
        await other.user_actions.say(1001, "hello")
        await wait_until(lambda: len(other.chats.messages(1001)) == 2)
    assert simulator.messages(1001) == []
    assert simulator.sent[-1].bot_id == 777


async def test_files_belong_to_a_bot(
    simulator: Simulator, other: SimulatedBot, bot: Bot, caller: Bot
) -> None:
    """The page shows the files of all bots."""
    file_id = other.files.store(b"content")
    assert await bot.error("getFile", file_id=file_id) == "Bad Request: invalid file_id"
    path = (await caller.result("getFile", file_id=file_id))["file_path"]
    for address, status in (
        (f"/file/bot{OTHER}/{path}", 200),
        (f"/file/bot{TOKEN}/{path}", 404),
        (f"/file/bot777:wrong/{path}", 401),
        (f"/files/{file_id}", 200),
    ):
        async with bot.session.get(bot.url + address) as response:
            assert response.status == status


async def test_a_replaced_token_is_refused_at_once(
    other: SimulatedBot, caller: Bot
) -> None:
    """Its webhook is gone, and what is pending is kept."""
    status, answer = await caller.control("token", bot=777)
    assert status == 200
    assert (await caller.call("getMe"))["error_code"] == 401
    assert answer["token"].startswith("777:")
    replaced = Bot(caller.session, caller.url, answer["token"])
    await replaced.result(
        "setWebhook", url="http://127.0.0.1:9/", allowed_updates=["message"]
    )
    await other.user_actions.say(1001, "hello")
    status, answer = await caller.control("token", bot=777, token="777:newest")
    assert (status, answer["token"]) == (200, "777:newest")
    newest = Bot(caller.session, caller.url, "777:newest")
    info = await newest.result("getWebhookInfo")
    assert (info["url"], info["pending_update_count"]) == ("", 1)
    assert "allowed_updates" not in info
    (update,) = await newest.result("getUpdates")
    assert update["message"]["text"] == "hello"
    assert (await replaced.call("getMe"))["error_code"] == 401


async def test_a_bot_is_added_over_http(simulator: Simulator, bot: Bot) -> None:
    """With a token, a name and a username, or with defaults."""
    status, added = await bot.control(
        "bot", token=OTHER, name="Support", username="support_bot"
    )
    assert (status, added["token"]) == (200, OTHER)
    assert added["bot"]["username"] == "support_bot"
    _, another = await bot.control("bot")
    assert another["bot"]["id"] == 123457
    me = await Bot(bot.session, bot.url, another["token"]).result("getMe")
    assert me["username"] == "sandbox_123457_bot"
    assert [each.id for each in simulator.bots] == [123456, 777, 123457]


@pytest.mark.parametrize(
    ("name", "fields", "error"),
    [
        ("bot", {"token": "x"}, "token: should be ID:SECRET"),
        ("bot", {"token": "0:x"}, "token: should be ID:SECRET"),
        ("bot", {"token": TOKEN}, "there is a bot 123456"),
        ("bot", {"name": " "}, "name: 1 to 64 characters"),
        ("bot", {"username": "a b"}, "username: 1 to 32 letters"),
        ("bot", {"username": "Marmot_Desk_bot"}, "there is a bot @Marmot_Desk_bot"),
        ("token", {"bot": 5}, "there is no bot 5"),
        ("token", {"bot": 123456, "token": TOKEN}, "token: is the current one"),
        ("token", {"bot": 123456, "token": OTHER}, "token: begins with 123456"),
        ("say", {"user": 1001, "text": "a", "bot": 5}, "there is no bot 5"),
    ],
)
async def test_what_cannot_be_is_refused(
    bot: Bot, name: str, fields: dict[str, object], error: str
) -> None:
    status, answer = await bot.control(name, **fields)
    assert status == 400
    assert answer["error"].startswith(error)


async def test_actions_and_pages_name_the_bot(
    other: SimulatedBot, bot: Bot, caller: Bot
) -> None:
    """Without a name they are about the first one."""
    await bot.control("say", user=1001, text="to the second", bot=777)
    await bot.control("say", user=1001, text="to the first")
    await caller.result("sendMessage", chat_id=1001, text="from the second")
    assert "to the first" in await bot.page("/chats/1001")
    page = await bot.page("/chats/1001?bot=777")
    assert "to the second" in page
    assert "to the first" not in page
    assert "from the second" in await bot.page("/sent?bot=777")
    assert "from the second" not in await bot.page("/sent?bot=123456")
    async with bot.session.get(f"{bot.url}/chats/1001?bot=5") as response:
        assert response.status == 404


async def test_a_page_hears_which_bot_an_event_is_about(
    simulator: Simulator, other: SimulatedBot, bot: Bot, caller: Bot
) -> None:
    """And of a bot that is added later; never of a token."""
    await other.user_actions.say(1001, "hello")
    snapshot = simulator.snapshot()
    (shown,) = snapshot["other_bots"]
    assert shown["bot"] == other.profile
    assert [each["text"] for each in shown["messages"]["1001"]] == ["hello"]
    assert snapshot["messages"] == {}
    with simulator.events.listen(lambda: None) as listener:
        await caller.result("sendMessage", chat_id=1001, text="hi")
        heard = await listener.take(60)
        assert b'"type":"message","bot_id":777' in heard
        await bot.control("bot", token="778:secret-of-a-bot")
        heard = await listener.take(60)
    assert b'"type":"bot"' in heard
    assert b"secret-of-a-bot" not in heard
    assert "secret-of-a-bot" not in str(simulator.snapshot())


def _row(update_id: int, bot_id: int) -> UpdateRow:
    return UpdateRow(
        update_id=update_id,
        bot_id=bot_id,
        kind="message",
        user_id=7,
        chat_id=7,
        title=f"{bot_id}/{update_id}",
        sent_at=0,
    )


def test_updates_of_two_bots_with_one_id_are_two(simulator: Simulator) -> None:
    """A trace that names no bot belongs to the last one with this id."""
    log: UpdateLog = simulator.update_log
    for bot_id in (1, 2):
        log.record(_row(5, bot_id), b"{}")
    log.start_attempt(5, 1)
    log.end_attempt(5, 200, accepted=True, bot_id=1)
    log.drop(5, 2)
    log.add_trace(UpdateTrace(update_id=5, bot_id=1, outcome="done"))
    log.add_trace(UpdateTrace(update_id=5, outcome="limited"))
    assert [(row.state, row.outcome) for row in log.rows(2)] == [
        ("accepted", "done"),
        ("dropped", "limited"),
    ]
    assert [row.bot_id for row in log.rows(2, before=5)] == [1]
    assert log.rows(2, before=5, bot_id=1) == []
    log.add_trace(UpdateTrace(update_id=6))
    log.add_trace(UpdateTrace(update_id=6, bot_id=1, outcome="done"))
    assert [(row.bot_id, row.outcome) for row in log.rows(1)] == [(0, "done")]
    found = log.find(5)
    assert found
    assert found.row.bot_id == 2
