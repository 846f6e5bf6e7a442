"""The Bot API's methods: what they change and give back."""

import io
from typing import Any

import aiohttp
import pytest

from gateway.sandbox.server import Simulator
from tests.integration.sandbox.bot import TOKEN, Bot

KEYBOARD = {"inline_keyboard": [[{"text": "A", "callback_data": "a"}]]}


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("sendPhoto", "photo"),
        ("sendDocument", "document"),
        ("sendVoice", "voice"),
        ("sendAudio", "audio"),
        ("sendVideo", "video"),
        ("sendAnimation", "animation"),
        ("sendSticker", "sticker"),
    ],
)
async def test_media_shows_with_its_caption_and_buttons(
    simulator: Simulator, bot: Bot, method: str, kind: str
) -> None:
    """Only a sticker has no caption."""
    call: dict[str, Any] = {kind: "file-1", "caption": "Look", "reply_markup": KEYBOARD}
    await bot.result(method, chat_id=7, **call)
    (message,) = simulator.messages(7)
    file = message[kind][0] if kind == "photo" else message[kind]
    assert file["file_id"] == "file-1"
    assert message.get("caption") == (None if kind == "sticker" else "Look")
    assert message["reply_markup"] == KEYBOARD


async def test_an_edit_replaces_text_and_keyboard_in_place(
    simulator: Simulator, bot: Bot
) -> None:
    """The message keeps its number and place; a keyboard that is not named goes."""
    await bot.result("sendMessage", chat_id=7, text="a", reply_markup=KEYBOARD)
    await bot.result("sendMessage", chat_id=7, text="b")
    edited = await bot.result("editMessageText", chat_id=7, message_id=1, text="c")
    assert [shown["text"] for shown in simulator.messages(7)] == ["c", "b"]
    assert edited["message_id"] == 1
    assert "reply_markup" not in edited


async def test_a_deleted_message_is_gone(simulator: Simulator, bot: Bot) -> None:
    """Once, and from its own chat only."""
    for text in ("a", "b"):
        await bot.result("sendMessage", chat_id=7, text=text)
    gone = "Bad Request: message to delete not found"
    assert await bot.error("deleteMessage", chat_id=8, message_id=1) == gone
    assert await bot.result("deleteMessage", chat_id=7, message_id=1) is True
    assert [shown["text"] for shown in simulator.messages(7)] == ["b"]
    assert await bot.error("deleteMessage", chat_id=7, message_id=1) == gone


async def test_an_edit_that_changes_nothing_is_refused(bot: Bot) -> None:
    """Text, entities and keyboard count; white space around the text does not."""
    await bot.result("sendMessage", chat_id=7, text="a", reply_markup=KEYBOARD)
    edit: dict[str, Any] = {"chat_id": 7, "message_id": 1, "reply_markup": KEYBOARD}
    for text in ("a", " a\n"):
        error = await bot.error("editMessageText", text=text, **edit)
        assert error.startswith("Bad Request: message is not modified: ")
    await bot.result("editMessageText", text="<b>a</b>", parse_mode="HTML", **edit)
    await bot.result("editMessageText", text="a", **edit)
    assert await bot.error("editMessageReplyMarkup", **edit)
    await bot.result("editMessageReplyMarkup", chat_id=7, message_id=1)
    assert await bot.error("editMessageReplyMarkup", chat_id=7, message_id=1)


async def test_text_and_captions_are_edited_by_their_own_methods(bot: Bot) -> None:
    """A photo has no text, and a text no caption."""
    await bot.result("sendMessage", chat_id=7, text="a")
    await bot.result("sendPhoto", chat_id=7, photo="p", caption="b")
    await bot.result("editMessageCaption", chat_id=7, message_id=2, caption="c")
    error = await bot.error("editMessageText", chat_id=7, message_id=2, text="d")
    assert error == "Bad Request: there is no text in the message to edit"
    error = await bot.error("editMessageCaption", chat_id=7, message_id=1, caption="d")
    assert error == "Bad Request: there is no caption in the message to edit"


async def test_messages_of_another_chat_cannot_be_edited(bot: Bot) -> None:
    """A message is found by its chat and number."""
    await bot.result("sendMessage", chat_id=7, text="a")
    error = await bot.error("editMessageText", chat_id=8, message_id=1, text="b")
    assert error == "Bad Request: message to edit not found"


async def test_messages_of_users_cannot_be_edited(
    simulator: Simulator, bot: Bot
) -> None:
    await simulator.user_actions.say(1001, "hello")
    error = await bot.error("editMessageText", chat_id=1001, message_id=1, text="b")
    assert error == "Bad Request: message can't be edited"


async def test_a_draft_is_no_message(simulator: Simulator, bot: Bot) -> None:
    """It is a preview that pages show for a while."""
    assert await bot.result("sendMessageDraft", chat_id=7, draft_id=1, text="I th")
    assert simulator.messages(7) == []


@pytest.mark.parametrize("name", ["document", "report"])
async def test_files_come_along_with_a_call(
    simulator: Simulator, bot: Bot, name: str
) -> None:
    """In the field itself, or in another one that it names."""
    form = aiohttp.FormData({"chat_id": "7", "caption": "Look"})
    if name != "document":
        form.add_field("document", f"attach://{name}")
    content = b"%PDF" * 500_000
    kind = "application/pdf"
    form.add_field(name, io.BytesIO(content), filename="a.pdf", content_type=kind)
    url = f"{bot.url}/bot{TOKEN}/sendDocument"
    async with bot.session.post(url, data=form) as response:
        assert response.status == 200
    (message,) = simulator.messages(7)
    file = message["document"]
    assert (file["file_name"], file["mime_type"]) == ("a.pdf", "application/pdf")
    assert file["file_size"] == len(content)
    assert '"file_size": 2000000' in await bot.page("/sent")


async def test_an_empty_file_is_refused(bot: Bot) -> None:
    form = aiohttp.FormData({"chat_id": "7"})
    form.add_field("photo", b"", filename="a.png", content_type="image/png")
    url = f"{bot.url}/bot{TOKEN}/sendPhoto"
    async with bot.session.post(url, data=form) as response:
        answer = await response.json()
    assert answer["description"] == "Bad Request: file must be non-empty"


async def test_a_file_that_is_too_large_is_refused(
    monkeypatch: pytest.MonkeyPatch, simulator: Simulator
) -> None:
    """With 413, as Telegram's HTTP reader does."""
    monkeypatch.setattr("gateway.sandbox.server._LARGEST_BODY", 1000)
    async with simulator.serve() as url, aiohttp.ClientSession() as session:
        form = aiohttp.FormData({"chat_id": "7"})
        form.add_field("photo", b"x" * 2000, filename="a.png")
        async with session.post(f"{url}/bot{TOKEN}/sendPhoto", data=form) as response:
            assert response.status == 413
            assert (await response.json())["error_code"] == 413


async def test_business_messages_are_deleted(simulator: Simulator, bot: Bot) -> None:
    """Those of the account, whatever chat they lie in; others stay."""
    place = {"text": "Hello", "business_connection_id": "b"}
    one = await bot.result("sendMessage", chat_id=7, **place)
    two = await bot.result("sendMessage", chat_id=8, **place)
    other = await bot.result("sendMessage", chat_id=7, text="Stays")
    ids = [each["message_id"] for each in (one, two, other)] + [99]
    call = {"business_connection_id": "b", "message_ids": ids}
    assert await bot.result("deleteBusinessMessages", **call) is True
    assert simulator.messages(7) == [other]
    assert simulator.messages(8) == []


@pytest.mark.parametrize(
    ("message_ids", "error"),
    [
        (None, "message identifiers are not specified"),
        ("[", "can't parse message_ids JSON object"),
        (7, "expected an Array of message identifiers"),
        ([1] * 101, "too many message identifiers specified"),
        ([[]], "message identifier must be a Number"),
        ([True], "message identifier must be a Number"),
        ([0], "invalid message identifier specified"),
        ([7], "business connection not found"),
    ],
)
async def test_message_ids_are_refused_as_telegram_does(
    bot: Bot, message_ids: object, error: str
) -> None:
    """telegram-bot-api, Client.cpp: get_message_ids; TDLib, BusinessConnection."""
    found = await bot.error("deleteBusinessMessages", message_ids=message_ids)
    assert found == f"Bad Request: {error}"


async def test_inline_messages_are_edited_without_being_seen(
    simulator: Simulator, bot: Bot
) -> None:
    """Telegram answers true: the chat is not the bot's."""
    assert await bot.result("editMessageText", inline_message_id="i", text="a") is True
    assert await bot.error("editMessageText", inline_message_id="i", text=" ")
    assert simulator.messages(0) == []


async def test_answers_to_buttons_are_kept(simulator: Simulator, bot: Bot) -> None:
    await bot.result("answerCallbackQuery", callback_query_id="5", text="Done")
    assert simulator.answers == [{"callback_query_id": "5", "text": "Done"}]


async def test_get_me_tells_who_the_bot_is(bot: Bot) -> None:
    """The id is the public half of the token."""
    me = await bot.result("getMe")
    assert (me["id"], me["username"], me["is_bot"]) == (123456, "marmot_desk_bot", True)


async def test_the_command_menu_is_kept_for_each_audience(bot: Bot) -> None:
    """A scope and a language have a menu of their own."""
    menu = [{"command": "start", "description": "Start the bot"}]
    await bot.result("setMyCommands", commands=menu)
    await bot.result("setMyCommands", commands=[], language_code="de")
    assert await bot.result("getMyCommands", scope={"type": "default"}) == menu
    assert await bot.result("getMyCommands", language_code="de") == []
    assert await bot.result("getMyCommands", scope={"type": "chat", "chat_id": 7}) == []


@pytest.mark.parametrize(
    ("name", "description", "error"),
    [
        ("/", "d", "command must be non-empty"),
        ("s" * 33, "d", "command length must not exceed 32"),
        ("Start", "d", "BOT_COMMAND_INVALID"),
        ("start", " ", "command description must be non-empty"),
        ("start", "d" * 257, "command description length must not exceed 256"),
        ("start", None, "can't parse BotCommand: Can't find field \"description\""),
    ],
)
async def test_a_command_menu_that_is_wrong_is_refused(
    bot: Bot, name: str, description: str, error: str
) -> None:
    """And leaves the old one in place."""
    await bot.result("setMyCommands", commands=[{"command": "a", "description": "b"}])
    menu = [{"command": name, "description": description}]
    assert await bot.error("setMyCommands", commands=menu) == f"Bad Request: {error}"
    assert len(await bot.result("getMyCommands")) == 1


async def test_a_webhook_is_kept_and_deleted(simulator: Simulator, bot: Bot) -> None:
    """Its secret is not shown; what it wants to hear outlives it."""
    assert (await bot.result("getWebhookInfo"))["url"] == ""
    await bot.result(
        "setWebhook",
        url="https://bot.example/hook",
        secret_token="s-1_A",
        max_connections=1000,
        allowed_updates=["Message", "future_thing"],
    )
    info = await bot.result("getWebhookInfo")
    assert info["url"] == "https://bot.example/hook"
    assert info["max_connections"] == 100
    assert info["allowed_updates"] == ["message"]
    assert "s-1_A" not in str(info)
    assert simulator.secret_token == "s-1_A"
    await bot.result("deleteWebhook")
    info = await bot.result("getWebhookInfo")
    assert (info["url"], info["allowed_updates"]) == ("", ["message"])
    assert simulator.secret_token == ""
    await bot.result("setWebhook", url="https://bot.example/", allowed_updates=[])
    assert "allowed_updates" not in await bot.result("getWebhookInfo")


async def test_waiting_updates_are_dropped_only_on_request(
    simulator: Simulator, bot: Bot
) -> None:
    """A new webhook inherits what the old one was not told, but not its errors."""
    await bot.result("setWebhook", url="https://a.example/")
    simulator.webhook.update(pending_update_count=5, last_error_date=1)
    await bot.result("setWebhook", url="https://b.example/")
    assert simulator.webhook["pending_update_count"] == 5
    assert "last_error_date" not in simulator.webhook
    await bot.result("deleteWebhook", drop_pending_updates=True)
    assert simulator.webhook["pending_update_count"] == 0


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"url": "ftp://bot.example/"}, "invalid webhook URL specified"),
        ({"url": "https://[bot/"}, "invalid webhook URL specified"),
        (
            {"url": "http://bot.example/"},
            "bad webhook: An HTTPS URL must be provided for webhook",
        ),
        (
            {"url": "https://bot.example:8000/"},
            "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443",
        ),
        ({"secret_token": "a b"}, "secret token contains unallowed characters"),
        ({"secret_token": "a\n"}, "secret token contains unallowed characters"),
        ({"secret_token": "a" * 257}, "secret token is too long"),
    ],
)
async def test_a_webhook_that_is_wrong_is_refused(
    bot: Bot, parameters: dict[str, str], error: str
) -> None:
    """And leaves the old one in place."""
    await bot.result("setWebhook", url="https://old.example/")
    call = {"url": "https://bot.example/"} | parameters
    assert await bot.error("setWebhook", **call) == f"Bad Request: {error}"
    assert (await bot.result("getWebhookInfo"))["url"] == "https://old.example/"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/", "http://localhost/", "https://[::1]:9/"]
)
async def test_loopback_webhooks_are_taken(bot: Bot, url: str) -> None:
    """The sandbox lives there, on any port and without TLS."""
    assert await bot.result("setWebhook", url=url)
