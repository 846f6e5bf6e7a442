"""The Bot API over HTTP: what it keeps, and how it fails when it is told to."""

import asyncio
import time

import aiohttp
import pytest

from gateway.sandbox.server import Simulator
from tests.integration.sandbox.bot import TOKEN, Bot
from tests.support.waiting import wait_until


async def test_what_is_sent_shows_in_its_chat_and_in_the_list(
    simulator: Simulator, bot: Bot
) -> None:
    """A message is one entry in the chat and one in the list of calls."""
    before = time.time()
    message = await bot.result("sendMessage", chat_id=7, text="Hello")
    assert [shown["text"] for shown in simulator.messages(7)] == ["Hello"]
    assert simulator.messages(8) == []
    assert message["chat"] == {"id": 7, "type": "private"}
    assert message["from"]["username"] == "marmot_desk_bot"
    (sent,) = simulator.sent
    assert (sent.method, sent.status, sent.error) == ("sendMessage", 200, "")
    assert sent.parameters == {"chat_id": 7, "text": "Hello"}
    assert before <= sent.time <= time.time()


async def test_every_form_of_parameters_is_read(simulator: Simulator, bot: Bot) -> None:
    """Query, form and multipart work like JSON; nested values are JSON in a text."""
    address = f"{bot.url}/bot{TOKEN}/SENDmessage"
    said = {"text": "Hello"}
    plain = {"chat_id": "7", **said}
    nested = {
        **plain,
        "reply_markup": '{"inline_keyboard": [[{"text": "A", "callback_data": "a"}]]}',
    }
    multipart = aiohttp.FormData(plain, default_to_multipart=True)
    async with (
        bot.session.get(address, params=plain) as by_query,
        bot.session.post(address, params={"chat_id": "7"}, json=said) as by_both,
        bot.session.post(address, data=nested) as by_form,
        bot.session.post(address, data=multipart) as by_multipart,
    ):
        answers = [by_query, by_both, by_form, by_multipart]
        assert [answer.status for answer in answers] == [200] * 4
    assert [shown["text"] for shown in simulator.messages(7)] == ["Hello"] * 4
    assert [sent.method for sent in simulator.sent] == ["sendMessage"] * 4
    keyboard = simulator.messages(7)[2]["reply_markup"]["inline_keyboard"]
    assert keyboard == [[{"text": "A", "callback_data": "a"}]]


@pytest.mark.parametrize(
    ("path", "status", "description"),
    [
        (f"/bot{TOKEN}x/getMe", 401, "Unauthorized"),
        (f"/bot{TOKEN}/getYou", 404, "Not Found: method not found"),
        (f"/bot{TOKEN}/getMe", 200, None),
    ],
)
async def test_wrong_tokens_and_methods_are_distinguished(
    bot: Bot, path: str, status: int, description: str | None
) -> None:
    """A token that is wrong gives 401, a method that is wrong 404."""
    async with bot.session.get(bot.url + path) as response:
        answer = await response.json()
    assert (response.status, answer.get("description")) == (status, description)


@pytest.mark.parametrize("body", ["{", "[1]", '"text"', '{"text": "\\ud83d"}'])
async def test_a_body_that_is_no_object_is_a_bad_request(bot: Bot, body: str) -> None:
    """Broken JSON is answered, not crashed on."""
    headers = {"Content-Type": "application/json"}
    address = f"{bot.url}/bot{TOKEN}/sendMessage"
    async with bot.session.post(address, data=body, headers=headers) as response:
        answer = await response.json()
    assert response.status == 400
    assert answer["description"].startswith("Bad Request: ")


async def test_a_fault_hits_the_calls_it_is_meant_for(
    simulator: Simulator, bot: Bot
) -> None:
    """Method, chat and number of times select the calls that fail."""
    simulator.fail("sendmessage", 500, chat_id=7, times=2)
    simulator.fail("setWebhook", 500)
    assert (await bot.call("getMe"))["ok"]
    assert (await bot.call("sendMessage", chat_id=8, text="a"))["ok"]
    for _ in range(2):
        error = await bot.error("sendMessage", chat_id=7, text="a")
        assert error == "Internal Server Error"
    assert (await bot.call("sendMessage", chat_id=7, text="a"))["ok"]
    assert len(simulator.messages(7)) == 1
    assert [sent.status for sent in simulator.sent] == [200, 200, 500, 500, 200]


async def test_faults_are_met_in_the_order_in_which_they_were_asked_for(
    simulator: Simulator, bot: Bot
) -> None:
    """Two faults that fit the same call come one after the other."""
    simulator.fail(status=502)
    simulator.fail("getMe", 403, description="Forbidden: user is deactivated")
    assert await bot.error("getMe") == "Bad Gateway"
    assert await bot.error("getMe") == "Forbidden: user is deactivated"
    assert (await bot.call("getMe"))["ok"]


async def test_a_429_says_how_long_to_wait(simulator: Simulator, bot: Bot) -> None:
    """The seconds are in the description, the parameters and the header."""
    simulator.fail(retry_after=17)
    async with bot.session.get(f"{bot.url}/bot{TOKEN}/getMe") as response:
        answer = await response.json()
    assert response.status == 429
    assert response.headers["Retry-After"] == "17"
    assert answer["parameters"] == {"retry_after": 17}
    assert answer["description"] == "Too Many Requests: retry after 17"


async def test_an_upgraded_group_names_its_new_chat(
    simulator: Simulator, bot: Bot
) -> None:
    """The new id comes in the parameters of a 400."""
    simulator.fail(migrate_to_chat_id=-1001234, chat_id=-5)
    answer = await bot.call("sendMessage", chat_id=-5, text="a")
    assert answer["error_code"] == 400
    assert answer["parameters"] == {"migrate_to_chat_id": -1001234}


async def test_a_dropped_call_has_no_effect_unless_it_was_to_succeed(
    simulator: Simulator, bot: Bot
) -> None:
    """An error and a lost answer look alike to the bot, but not in the chat."""
    for status, messages in ((500, 0), (200, 1)):
        simulator.fail("sendMessage", status, drop=True)
        with pytest.raises(aiohttp.ClientError):
            await bot.call("sendMessage", chat_id=7, text="a")
        assert len(simulator.messages(7)) == messages
        assert simulator.sent[-1].status == 0


async def test_a_late_answer_takes_effect_at_once(
    simulator: Simulator, bot: Bot
) -> None:
    """The call counts when it was read; only its answer waits."""
    simulator.fail("sendMessage", 200, delay=0.3)
    start = time.monotonic()
    call = asyncio.create_task(bot.result("sendMessage", chat_id=7, text="a"))
    await wait_until(lambda: simulator.messages(7))
    assert not call.done()
    assert (await call)["text"] == "a"
    assert time.monotonic() - start >= 0.3


async def test_the_end_does_not_wait_for_late_answers(simulator: Simulator) -> None:
    """A simulator that still owes an answer stops at once."""
    simulator.fail(status=200, delay=3600)
    async with aiohttp.ClientSession() as session:
        async with simulator.serve() as url:
            call = asyncio.create_task(session.get(f"{url}/bot{TOKEN}/getMe"))
            await wait_until(lambda: simulator.sent)
        with pytest.raises(aiohttp.ClientError):
            await call


async def test_a_raw_body_goes_out_as_it_is(simulator: Simulator, bot: Bot) -> None:
    """A proxy's page instead of JSON can be played."""
    simulator.fail(status=502, body="<html>Bad Gateway</html>")
    async with bot.session.get(f"{bot.url}/bot{TOKEN}/getMe") as response:
        assert (response.status, await response.text()) == (
            502,
            "<html>Bad Gateway</html>",
        )


async def test_it_can_be_served_again_after_an_outage(simulator: Simulator) -> None:
    """The second time on the same port, with everything it kept."""
    async with simulator.serve() as url, aiohttp.ClientSession() as session:
        await Bot(session, url).result("sendMessage", chat_id=7, text="a")
    port = int(url.rpartition(":")[2])
    async with simulator.serve(port=port) as again, aiohttp.ClientSession() as session:
        await Bot(session, again).result("sendMessage", chat_id=7, text="b")
    assert again == url
    assert [shown["text"] for shown in simulator.messages(7)] == ["a", "b"]


async def test_only_the_newest_calls_and_messages_are_kept(
    monkeypatch: pytest.MonkeyPatch, simulator: Simulator, bot: Bot
) -> None:
    """Memory is bounded; the oldest entries go first."""
    monkeypatch.setattr("gateway.sandbox.simulator.dispatcher.MAX_CALLS", 3)
    monkeypatch.setattr("gateway.sandbox.simulator.state.chats.MAX_MESSAGES", 2)
    monkeypatch.setattr(
        "gateway.sandbox.simulator.state.callback_queries.MAX_QUERIES", 2
    )
    for text in "abcd":
        await bot.result("sendMessage", chat_id=7, text=text)
        await bot.result("answerCallbackQuery", callback_query_id=text)
    assert [sent.parameters.get("text") for sent in simulator.sent] == [None, "d", None]
    assert [shown["text"] for shown in simulator.messages(7)] == ["c", "d"]
    assert [answer["callback_query_id"] for answer in simulator.answers] == ["c", "d"]


async def test_a_person_can_look_at_a_chat(bot: Bot) -> None:
    """The page shows texts, attachments, edits and buttons."""
    assert "Nothing was sent" in await bot.page("/chats/7")
    keyboard = {"inline_keyboard": [[{"text": "Skip", "callback_data": "SKIP:1"}]]}
    await bot.result("sendMessage", chat_id=7, text="one\ntwo", reply_markup=keyboard)
    await bot.result("sendPhoto", chat_id=7, photo="abc", caption="Look")
    await bot.result("editMessageCaption", chat_id=7, message_id=2, caption="Looked")
    assert await bot.page("/chats/7") == (
        "#1  one\n    two\n    [Skip -> SKIP:1]\n\n#2 (edited)  (photo) Looked\n"
    )


async def test_a_person_can_filter_the_calls(simulator: Simulator, bot: Bot) -> None:
    """By chat, and by the time of the last call that was seen."""
    await bot.result("sendMessage", chat_id=7, text="to seven")
    await bot.result("sendMessage", chat_id=-8, text="to eight")
    assert "to seven" in await bot.page("/sent")
    page = await bot.page("/sent?chat_id=-8")
    assert "to eight" in page
    assert "to seven" not in page
    page = await bot.page(f"/sent?after={simulator.sent[0].time!r}")
    assert "to eight" in page
    assert "to seven" not in page
    async with bot.session.get(f"{bot.url}/sent?after=noon") as response:
        assert response.status == 400


async def test_the_first_page_says_what_this_is(bot: Bot) -> None:
    """Somebody who finds the port learns what listens there."""
    assert "/chats/{chat_id}" in await bot.page("/about")
