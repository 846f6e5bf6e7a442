"""Questions other than pressed buttons: how they come up, and what Telegram refuses."""

from typing import Any

import pytest
from aiohttp import web

from gateway.sandbox.rules import Refused
from gateway.sandbox.simulator import Simulator
from gateway.sandbox.writing import BadInput
from tests.sandbox.conftest import TOKEN, Bot
from tests.sandbox.receiver import Receiver
from tests.waiting import wait_until

ADA = 1001
OLD = (
    "Bad Request: query is too old and response timeout expired or query ID is invalid"
)
RESULT = "Bad Request: can't parse inline query result: "
ARTICLE = {
    "type": "article",
    "id": "1",
    "title": "t",
    "input_message_content": {"message_text": "x"},
}
FILE = {"type": "photo", "id": "1", "photo_url": "https://example.com/a.jpg"}
PRICE = {"label": "post", "amount": 1}
OPTION = {"id": "p", "title": "Post", "prices": [PRICE]}


@pytest.fixture
def simulator() -> Simulator:
    """A simulator that knows which questions it asked."""
    return Simulator(TOKEN, strict=True)


@pytest.mark.parametrize(
    ("kind", "method", "field", "answer"),
    [
        ("inline_query", "answerInlineQuery", "inline_query_id", {"results": []}),
        (
            "pre_checkout_query",
            "answerPreCheckoutQuery",
            "pre_checkout_query_id",
            {"ok": True},
        ),
        (
            "shipping_query",
            "answerShippingQuery",
            "shipping_query_id",
            {"ok": False, "error_message": "no"},
        ),
    ],
)
async def test_a_question_is_answered_once(
    simulator: Simulator,
    bot: Bot,
    kind: str,
    method: str,
    field: str,
    answer: Any,  # noqa: ANN401 - any parameters
) -> None:
    """A second answer, or one to no question, comes too late."""
    asked = await simulator.others.make(ADA, kind)
    query = {field: asked["content"]["id"]}
    assert await bot.result(method, **query, **answer)
    assert await bot.error(method, **query, **answer) == OLD
    assert await bot.error(method, **{field: "0"}, **answer) == OLD
    assert simulator.queries.answers == [(method, query | answer)]


async def test_a_guest_and_who_wants_to_join_are_answered_once(
    simulator: Simulator, bot: Bot
) -> None:
    """By the query where there is one, else by the decision."""
    guest = (await simulator.others.make(ADA, "guest_message"))["content"]
    query = {"guest_query_id": guest["guest_query_id"], "result": ARTICLE}
    assert "inline_message_id" in await bot.result("answerGuestQuery", **query)
    assert await bot.error("answerGuestQuery", **query) == OLD
    joining = await simulator.others.make(ADA, "chat_join_request", {"query_id": "9"})
    query = {"chat_join_request_query_id": "9", "result": "queue"}
    assert await bot.result("answerChatJoinRequestQuery", **query)
    who = {"chat_id": joining["content"]["chat"]["id"], "user_id": ADA}
    assert await bot.result("approveChatJoinRequest", **who)
    missing = "Bad Request: HIDE_REQUESTER_MISSING"
    assert await bot.error("declineChatJoinRequest", **who) == missing


@pytest.mark.parametrize(
    ("results", "error"),
    [
        ({}, "Bad Request: expected an Array of inline query results"),
        (
            [ARTICLE | {"id": str(n)} for n in range(51)],
            "Bad Request: RESULTS_TOO_MUCH",
        ),
        ([ARTICLE, ARTICLE], "Bad Request: RESULT_ID_DUPLICATE"),
        ([ARTICLE | {"id": "x" * 65}], "Bad Request: RESULT_ID_INVALID"),
        ([1], f"{RESULT}expected an Object"),
        ([ARTICLE | {"type": "moon"}], f"{RESULT}unsupported type specified"),
        ([ARTICLE | {"title": " "}], f'{RESULT}Can\'t find field "title"'),
        (
            [ARTICLE | {"input_message_content": None}],
            f'{RESULT}Can\'t find field "input_message_content"',
        ),
        (
            [ARTICLE | {"input_message_content": {"message_text": ""}}],
            "Bad Request: message text is empty",
        ),
        ([FILE], f'{RESULT}Can\'t find field "thumbnail_url"'),
        ([FILE | {"thumbnail_url": "x"}], "Bad Request: WEBDOCUMENT_URL_INVALID"),
        (
            [{"type": "voice", "id": "1", "voice_file_id": "f"}],
            f'{RESULT}Can\'t find field "title"',
        ),
        (
            [{"type": "sticker", "id": "1"}],
            f'{RESULT}Can\'t find field "sticker_file_id"',
        ),
    ],
)
async def test_results_are_refused_as_telegram_does(
    simulator: Simulator, bot: Bot, results: object, error: str
) -> None:
    """One bad result takes all along, and the question stays open."""
    asked = await simulator.others.make(ADA, "inline_query")
    query = {"inline_query_id": asked["content"]["id"]}
    found = await bot.error("answerInlineQuery", **query, results=results)
    assert found.lower() == error.lower()
    assert await bot.result("answerInlineQuery", **query, results=[])


@pytest.mark.parametrize(
    ("method", "answer", "error"),
    [
        ("answerPreCheckoutQuery", {"ok": False}, "ERROR_TEXT_EMPTY"),
        ("answerShippingQuery", {"ok": False}, "ERROR_TEXT_EMPTY"),
        ("answerShippingQuery", {"ok": True}, "there are no shipping options"),
        (
            "answerShippingQuery",
            {"ok": True, "shipping_options": [OPTION | {"prices": [1]}]},
            "can't parse shipping option: expected an Object",
        ),
        (
            "answerShippingQuery",
            {"ok": True, "shipping_options": [OPTION | {"title": ""}]},
            "can't parse shipping option: Can't find field \"title\"",
        ),
        (
            "answerChatJoinRequestQuery",
            {"result": "maybe"},
            "wrong query result specified",
        ),
    ],
)
async def test_other_answers_are_refused_as_telegram_does(
    method: str, answer: dict[str, Any], error: str
) -> None:
    """What would leave the user without a reason, or a way."""
    simulator = Simulator(TOKEN)
    queries = ("pre_checkout_query_id", "shipping_query_id")
    ids = dict.fromkeys((*queries, "chat_join_request_query_id"), "7")
    with pytest.raises(Refused) as caught:
        simulator.queries.methods[method](ids | answer)
    assert caught.value.description == f"Bad Request: {error}"


async def test_updates_of_any_kind_reach_the_bot(
    simulator: Simulator, bot: Bot
) -> None:
    """Known ones as Telegram sends them, others as somebody wrote them down."""
    updates: list[dict[str, Any]] = []

    def take(update: dict[str, Any]) -> web.Response:
        updates.append(update)
        return web.Response()

    receiver = Receiver()
    receiver.answer = take
    async with receiver.serving():
        simulator.set_webhook(receiver.url)
        for kind in ("poll_answer", "edited_message", "hologram_call"):
            fields = {"user": ADA, "kind": kind, "content": {"extra": 1}}
            url = f"{bot.url}/do/update"
            async with bot.session.post(url, json=fields) as response:
                assert (await response.json())["update_id"]
        await wait_until(lambda: len(updates) == 3)
    for update in updates:
        [kind] = update.keys() - {"update_id"}
        who = update[kind].get("from") or update[kind]["user"]
        assert (who["id"], update[kind]["extra"]) == (ADA, 1)


@pytest.mark.parametrize(
    ("user", "kind", "content"),
    [
        (7, "poll_answer", {}),
        (ADA, "message", {}),
        (ADA, "callback_query", {}),
        (ADA, "", {}),
        (ADA, "update_id", {}),
        (ADA, "poll_answer", {"user": 3}),
        (ADA, "hologram", {"chat": {"id": "x"}}),
        (ADA, "hologram", {"text": 3}),
    ],
)
async def test_updates_that_cannot_be_made_are_refused(
    simulator: Simulator, user: int, kind: str, content: dict[str, Any]
) -> None:
    """In one line, instead of a fault of the simulator."""
    with pytest.raises(BadInput):
        await simulator.others.make(user, kind, content)
