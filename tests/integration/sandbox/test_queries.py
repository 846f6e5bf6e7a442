"""Questions other than pressed buttons: how they come up, and what Telegram refuses."""

from typing import Any

import pytest
from aiohttp import web

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.actions.message_builder import InvalidInput
from gateway.sandbox.simulator.validation.rules import ApiError
from tests.integration.sandbox.bot import TOKEN, Bot
from tests.integration.sandbox.receiver import Receiver
from tests.support.waiting import wait_until

ADA = 1001
OLD = (
    "Bad Request: query is too old and response timeout expired or query ID is invalid"
)
RESULT = "can't parse inline query result: "
ARTICLE = {
    "type": "article",
    "id": "1",
    "title": "t",
    "input_message_content": {"message_text": "x"},
}
ADDRESS = "https://example.com/a"
FILE = {"type": "photo", "id": "1", "photo_url": ADDRESS, "thumbnail_url": ADDRESS}
DOCUMENT = {
    "type": "document",
    "id": "1",
    "title": "t",
    "document_url": ADDRESS,
    "mime_type": "application/pdf; charset=x",
}
LOCATION = {"type": "location", "id": "1", "latitude": 1.5, "longitude": 2}
LOCATION = LOCATION | {"title": "Here"}
VENUE = LOCATION | {"type": "venue", "address": "Ring 1"}
CONTACT = {"type": "contact", "id": "1", "phone_number": "1", "first_name": "A"}
GAME = {"type": "game", "id": "1", "game_short_name": "g"}
PRICE = {"label": "post", "amount": 1}
OPTION = {"id": "p", "title": "Post", "prices": [PRICE]}
INVOICE = {
    "title": "t",
    "description": "d",
    "payload": "p",
    "currency": "XTR",
    "prices": [PRICE],
}


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """Take a field away."""
    return {each: value for each, value in fields.items() if each != name}


OLD_ARTICLE = without(ARTICLE, "input_message_content") | {"message_text": "x"}
ERROR_MESSAGE = 'parameter "error_message" is required'
OPTIONS = "can't parse shipping option: "
PRICES = "Can't parse shipping option prices: "
BUTTON = "can't parse inline query results button: "


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
    asked = await simulator.manual_updates.make(ADA, kind)
    query = {field: asked["content"]["id"]}
    assert await bot.result(method, **query, **answer)
    assert await bot.error(method, **query, **answer) == OLD
    assert await bot.error(method, **{field: "0"}, **answer) == OLD
    assert simulator.queries.answers == [(method, query | answer)]


async def test_a_guest_and_who_wants_to_join_are_answered_once(
    simulator: Simulator, bot: Bot
) -> None:
    """By the query where there is one, else by the decision."""
    guest = (await simulator.manual_updates.make(ADA, "guest_message"))["content"]
    query = {"guest_query_id": guest["guest_query_id"], "result": ARTICLE}
    assert "inline_message_id" in await bot.result("answerGuestQuery", **query)
    assert await bot.error("answerGuestQuery", **query) == OLD
    joining = await simulator.manual_updates.make(
        ADA, "chat_join_request", {"query_id": "9"}
    )
    query = {"chat_join_request_query_id": "9", "result": "queue"}
    assert await bot.result("answerChatJoinRequestQuery", **query)
    who = {"chat_id": joining["content"]["chat"]["id"], "user_id": ADA}
    assert await bot.result("approveChatJoinRequest", **who)
    missing = "Bad Request: HIDE_REQUESTER_MISSING"
    assert await bot.error("declineChatJoinRequest", **who) == missing


@pytest.mark.parametrize(
    ("results", "error"),
    [
        ({}, "expected an Array of inline query results"),
        (
            [ARTICLE | {"id": str(n)} for n in range(51)],
            "too many inline query results specified",
        ),
        ([ARTICLE, ARTICLE], "RESULT_ID_DUPLICATE"),
        ([ARTICLE | {"id": "x" * 65}], "RESULT_ID_INVALID"),
        ([1], f"{RESULT}Inline query result must be an object"),
        (
            [{"type": "moon", "id": "1"}],
            f'{RESULT}type "moon" is unsupported for the inline query result',
        ),
        ([without(ARTICLE, "title")], f'{RESULT}Can\'t find field "title"'),
        ([ARTICLE | {"title": []}], f'{RESULT}Field "title" must be of type String'),
        ([ARTICLE | {"title": " "}], "ARTICLE_TITLE_EMPTY"),
        (
            [without(ARTICLE, "input_message_content")],
            f'{RESULT}Can\'t find field "message_text"',
        ),
        (
            [ARTICLE | {"input_message_content": {"message_text": ""}}],
            f"{RESULT}Input message content is not specified",
        ),
        (
            [ARTICLE | {"input_message_content": "x"}],
            f'{RESULT}Field "input_message_content" must be of type Object',
        ),
        (
            [ARTICLE | {"input_message_content": {"phone_number": "1"}}],
            f'{RESULT}Can\'t find field "first_name"',
        ),
        (
            [ARTICLE | {"input_message_content": INVOICE | {"prices": []}}],
            f"{RESULT}There must be at least one price",
        ),
        (
            [FILE | {"caption": "<b", "parse_mode": "HTML"}],
            f"{RESULT}Can't parse entities: Unclosed start tag at byte offset 0",
        ),
        (
            [FILE | {"reply_markup": {"inline_keyboard": [[{"text": "A"}]]}}],
            (
                f"{RESULT}Can't parse inline keyboard button: Text buttons are "
                "unallowed in the inline keyboard"
            ),
        ),
        ([without(FILE, "thumbnail_url")], "PHOTO_THUMB_URL_EMPTY"),
        ([FILE | {"thumbnail_url": "x"}], "WEBDOCUMENT_URL_INVALID"),
        ([FILE | {"photo_url": "x"}], "WEBDOCUMENT_URL_INVALID"),
        (
            [without(FILE, "photo_url")],
            f'{RESULT}Can\'t find field "photo_file_id"',
        ),
        (
            [{"type": "voice", "id": "1", "voice_file_id": "f"}],
            f'{RESULT}Can\'t find field "title"',
        ),
        (
            [DOCUMENT | {"mime_type": "text/plain"}],
            "unallowed document MIME type",
        ),
        (
            [without(DOCUMENT, "mime_type")],
            f'{RESULT}Can\'t find field "mime_type"',
        ),
        (
            [{"type": "sticker", "id": "1"}],
            f'{RESULT}Can\'t find field "sticker_file_id"',
        ),
        (
            [{"type": "sticker", "id": "1", "sticker_file_id": "http://a.b"}],
            "wrong sticker_file_id specified",
        ),
        (
            [LOCATION | {"latitude": "1"}],
            f'{RESULT}Field "latitude" must be of type Number',
        ),
        ([without(VENUE, "address")], f'{RESULT}Can\'t find field "address"'),
        (
            [CONTACT | {"first_name": " "}],
            'field "first_name" must be non-empty',
        ),
        ([{"type": "game", "id": "1"}], f'{RESULT}Can\'t find field "game_short_name"'),
    ],
)
async def test_results_are_refused_as_telegram_does(
    simulator: Simulator, bot: Bot, results: object, error: str
) -> None:
    """One bad result takes all along, and the question stays open."""
    asked = await simulator.manual_updates.make(ADA, "inline_query")
    query = {"inline_query_id": asked["content"]["id"]}
    found = await bot.error("answerInlineQuery", **query, results=results)
    assert found == f"Bad Request: {error}"
    assert await bot.result("answerInlineQuery", **query, results=[])


@pytest.mark.parametrize(
    ("method", "answer", "error"),
    [
        ("answerPreCheckoutQuery", {"ok": False}, ERROR_MESSAGE),
        ("answerShippingQuery", {"ok": False}, ERROR_MESSAGE),
        (
            "answerShippingQuery",
            {"ok": True},
            'parameter "shipping_options" is required',
        ),
        (
            "answerShippingQuery",
            {"ok": True, "shipping_options": {}},
            "expected an Array of shipping options",
        ),
        (
            "answerShippingQuery",
            {"ok": True, "shipping_options": []},
            "there must be at least one shipping option",
        ),
        (
            "answerShippingQuery",
            {"ok": True, "shipping_options": [1]},
            f"{OPTIONS}ShippingOption must be an Object",
        ),
        (
            "answerShippingQuery",
            {"ok": True, "shipping_options": [OPTION | {"title": ""}]},
            f"{OPTIONS}ShippingOption title must be non-empty",
        ),
        (
            "answerShippingQuery",
            {"ok": True, "shipping_options": [without(OPTION, "prices")]},
            f'{OPTIONS}Can\'t find field "prices"',
        ),
        (
            "answerShippingQuery",
            {"ok": True, "shipping_options": [OPTION | {"prices": []}]},
            f"{OPTIONS}{PRICES}There must be at least one price",
        ),
        (
            "answerShippingQuery",
            {"ok": True, "shipping_options": [OPTION | {"prices": [1]}]},
            (
                f"{OPTIONS}{PRICES}Can't parse labeled price: "
                "LabeledPrice must be an Object"
            ),
        ),
        (
            "answerGuestQuery",
            {},
            "result isn't specified",
        ),
        (
            "answerGuestQuery",
            {"result": ARTICLE | {"type": "moon"}},
            'type "moon" is unsupported for the inline query result',
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
    queries = ("pre_checkout_query_id", "shipping_query_id", "guest_query_id")
    ids = dict.fromkeys((*queries, "chat_join_request_query_id"), "7")
    with pytest.raises(ApiError) as caught:
        simulator.queries.methods[method](ids | answer)
    assert caught.value.description == f"Bad Request: {error}"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"results": []},
        {"results": ""},
        {"results": [ARTICLE, FILE | {"id": "2"}, DOCUMENT | {"id": "3"}]},
        {"results": [LOCATION, VENUE | {"id": "2"}, CONTACT | {"id": "3"}]},
        {"results": [GAME]},
        {"results": [{"type": "audio", "id": "1", "audio_file_id": "f"}]},
        {"results": [{"type": "photo", "id": 1, "photo_file_id": "f"}]},
        {"results": [ARTICLE | {"input_message_content": INVOICE}]},
        {"results": [ARTICLE | {"input_message_content": without(VENUE, "type")}]},
        {"results": [ARTICLE | {"input_message_content": without(CONTACT, "type")}]},
        {
            "results": [
                without(ARTICLE, "input_message_content") | {"message_text": "x"}
            ]
        },
        {"button": {"text": "Go", "start_parameter": "a-b_1"}},
        {"button": {"text": "Go", "web_app": {"url": "https://a.example"}}},
    ],
)
async def test_results_of_all_kinds_are_taken(
    simulator: Simulator, bot: Bot, answer: dict[str, Any]
) -> None:
    """Also none, and those of old libraries."""
    asked = await simulator.manual_updates.make(ADA, "inline_query")
    query = {"inline_query_id": asked["content"]["id"]}
    assert await bot.result("answerInlineQuery", **query, **answer)


@pytest.mark.parametrize(
    ("button", "error"),
    [
        (1, f"{BUTTON}InlineQueryResultsButton must be an Object"),
        ({}, f'{BUTTON}Can\'t find field "text"'),
        (
            {"text": "Go"},
            f"{BUTTON}InlineQueryResultsButton must have exactly one optional field",
        ),
        ({"text": "Go", "start_parameter": ""}, "can't use empty start_parameter"),
        (
            {"text": "Go", "start_parameter": "x" * 65},
            "too long start_parameter specified",
        ),
        (
            {"text": "Go", "start_parameter": "ä"},
            "unallowed characters in start_parameter are used",
        ),
        (
            {"text": "Go", "web_app": 1},
            f'{BUTTON}Field "web_app" must be of type Object',
        ),
        (
            {"text": "Go", "web_app": {"url": "http://a.example"}},
            (
                "inline query button Web App URL 'http://a.example' is invalid: "
                "Only HTTPS links are allowed"
            ),
        ),
    ],
)
async def test_buttons_above_results_are_refused_as_telegram_does(
    bot: Bot, button: object, error: str
) -> None:
    """Before anything is said of the query."""
    found = await bot.error("answerInlineQuery", inline_query_id="0", button=button)
    assert found == f"Bad Request: {error}"


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
    with pytest.raises(InvalidInput):
        await simulator.manual_updates.make(user, kind, content)
