"""What the Bot API refuses, and in which words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.validation import text_rules
from gateway.sandbox.simulator.validation.rules import ApiError
from tests.integration.sandbox.bot import Bot


def key(**fields: object) -> dict[str, Any]:
    """Make the reply markup with this one button in the place of the letters."""
    return {"keyboard": [[fields]]}


def button(**fields: object) -> dict[str, Any]:
    """Make the reply markup with this one button."""
    return {"inline_keyboard": [[fields]]}


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no chat": ("sendMessage", {"chat_id": ""}, "chat_id is empty"),
    "chat zero": ("sendMessage", {"chat_id": 0}, "chat not found"),
    "chat that is no number": ("sendMessage", {"chat_id": "me"}, "chat not found"),
    "chat that is no integer": ("sendMessage", {"chat_id": True}, "chat not found"),
    "chat that is a list": (
        "sendMessage",
        {"chat_id": [1]},
        "chat not found",
    ),
    "entities that are no list": (
        "sendMessage",
        {"entities": {}},
        "can't parse entities: expected an Array",
    ),
    "entity that is no object": (
        "sendMessage",
        {"entities": [1]},
        "can't parse MessageEntity: expected an Object",
    ),
    "entity without a type": (
        "sendMessage",
        {"entities": [{"offset": 0, "length": 1}]},
        "can't parse MessageEntity: Can't find field \"type\"",
    ),
    "entity without a length": (
        "sendMessage",
        {"entities": [{"type": "bold", "offset": 0}]},
        "can't parse MessageEntity: Can't find field \"length\"",
    ),
    "entity before the text": (
        "sendMessage",
        {"entities": [{"type": "bold", "offset": -1, "length": 1}]},
        "receive an entity with incorrect offset -1",
    ),
    "empty entity": (
        "sendMessage",
        {"entities": [{"type": "bold", "offset": 0, "length": 0}]},
        "receive an entity with incorrect length 0",
    ),
    "entity beyond the text": (
        "sendMessage",
        {"text": "hello", "entities": [{"type": "bold", "offset": 3, "length": 3}]},
        (
            "entity beginning at UTF-16 offset 3 ends after the end of "
            "the text at UTF-16 offset 6"
        ),
    ),
    "button whose data is null": (
        "sendMessage",
        {"reply_markup": button(text="A", callback_data=None)},
        (
            "can't parse inline keyboard button: Text buttons are "
            "unallowed in the inline keyboard"
        ),
    ),
    "button whose data is a list": (
        "sendMessage",
        {"reply_markup": button(text="A", callback_data=["a"])},
        (
            'can\'t parse inline keyboard button: Field "callback_data" '
            "must be of type String"
        ),
    ),
    "reply to nothing": (
        "sendMessage",
        {"reply_parameters": {"message_id": 77}},
        "message to be replied not found",
    ),
    "reply that is no object": (
        "sendMessage",
        {"reply_parameters": [1]},
        "object expected as reply parameters",
    ),
    "keyboard that is no list of lists": (
        "sendMessage",
        {"reply_markup": {"keyboard": [{"text": "A"}]}},
        'field "keyboard" must be an Array of Arrays',
    ),
    "keyboard button that is a number": (
        "sendMessage",
        {"reply_markup": {"keyboard": [[1]]}},
        "can't parse keyboard button: KeyboardButton must be a String or an Object",
    ),
    "keyboard button without a text": (
        "sendMessage",
        {"reply_markup": key(request_contact=True)},
        "can't parse keyboard button: Can't find field \"text\"",
    ),
    "keyboard button with a blank text": (
        "sendMessage",
        {"reply_markup": key(text=" ")},
        "keyboard button text must be non-empty",
    ),
    "keyboard button with two actions": (
        "sendMessage",
        {"reply_markup": key(text="A", request_contact=True, request_location=True)},
        "can't parse keyboard button: At most one action must be specified",
    ),
    "phone number asked for in a group": (
        "sendMessage",
        {"chat_id": -5, "reply_markup": key(text="A", request_contact=True)},
        "phone number can be requested in private chats only",
    ),
    "place asked for in a group": (
        "sendPhoto",
        {
            "chat_id": -5,
            "photo": "p",
            "reply_markup": key(text="A", request_location=True),
        },
        "location can be requested in private chats only",
    ),
    "web app on a keyboard in a group": (
        "sendMessage",
        {
            "chat_id": -5,
            "reply_markup": key(text="A", web_app={"url": "https://a.org"}),
        },
        "web App buttons can be used in private chats only",
    ),
    "web app on a keyboard by HTTP": (
        "sendMessage",
        {"reply_markup": key(text="A", web_app={"url": "http://a.org"})},
        (
            "keyboard button Web App URL 'http://a.org' is invalid: "
            "Only HTTPS links are allowed"
        ),
    ),
    "keyboard of a business account": (
        "sendMessage",
        {"business_connection_id": "b", "reply_markup": key(text="A")},
        "BUSINESS_PEER_INVALID",
    ),
    "long placeholder": (
        "sendMessage",
        {"reply_markup": {"force_reply": True, "input_field_placeholder": "x" * 65}},
        "input_field_placeholder must be 1-64 characters long",
    ),
    "style of a rich message": (
        "sendMessage",
        {"reply_markup": button(text="A", callback_data="x", style="link")},
        "invalid button style specified",
    ),
    "icon that is an emoji": (
        "sendMessage",
        {"reply_markup": button(text="A", callback_data="x", icon_custom_emoji_id="A")},
        "invalid custom emoji identifier specified",
    ),
    "web app for a business account": (
        "sendMessage",
        {
            "business_connection_id": "b",
            "reply_markup": button(text="A", web_app={"url": "https://a.org"}),
        },
        "BUTTON_TYPE_INVALID",
    ),
    "edit with a reply keyboard": (
        "editMessageText",
        {"message_id": 1, "text": "a", "reply_markup": key(text="A")},
        "inline keyboard expected",
    ),
    "preview of nothing": (
        "sendMessage",
        {"link_preview_options": {"url": "x"}},
        "WEBPAGE_URL_INVALID",
    ),
    "preview both small and large": (
        "sendMessage",
        {
            "link_preview_options": {
                "prefer_small_media": True,
                "prefer_large_media": True,
            }
        },
        "link preview can't be both small and large",
    ),
    "preview that is no object": (
        "sendMessage",
        {"link_preview_options": [1]},
        "object expected as link preview options",
    ),
    "no text": ("sendMessage", {"text": None}, "message text is empty"),
    "empty text": ("sendMessage", {"text": ""}, "message text is empty"),
    "blank text": ("sendMessage", {"text": " \n "}, "text must be non-empty"),
    "text that is all markup": (
        "sendMessage",
        {"text": "<b></b>", "parse_mode": "HTML"},
        "text must be non-empty",
    ),
    "long text": ("sendMessage", {"text": "x" * 4097}, "message is too long"),
    "text long in UTF-16": (
        "sendMessage",
        {"text": "😀" * 2049},
        "message is too long",
    ),
    "long source": (
        "sendMessage",
        {"text": "<b></b>" * 4682, "parse_mode": "HTML"},
        "text is too long",
    ),
    "unknown format": (
        "sendMessage",
        {"parse_mode": "RTF"},
        "unsupported parse_mode",
    ),
    "bad HTML": (
        "sendMessage",
        {"text": "<b>x", "parse_mode": "html"},
        "can't parse entities: Can't find end tag corresponding to start tag \"b\"",
    ),
    "bad MarkdownV2": (
        "sendMessage",
        {"text": "So.", "parse_mode": "markdownv2"},
        (
            "can't parse entities: Character '.' is reserved and must be escaped with "
            "the preceding '\\'"
        ),
    ),
    "bad Markdown": (
        "sendMessage",
        {"text": "so _this", "parse_mode": "Markdown"},
        "can't parse entities: Can't find end of the entity starting at byte offset 3",
    ),
    "long draft": (
        "sendMessageDraft",
        {"draft_id": 1, "text": "x" * 4097},
        "message is too long",
    ),
    "draft in a group": (
        "sendMessageDraft",
        {"draft_id": 1, "chat_id": -5},
        "TEXTDRAFT_PEER_INVALID",
    ),
    "draft without a number": (
        "sendMessageDraft",
        {},
        "draft_id must be non-zero",
    ),
    "file that did not come along": (
        "sendDocument",
        {"document": "attach://report"},
        "wrong file identifier/HTTP URL specified",
    ),
    "long caption": (
        "sendPhoto",
        {"photo": "abc", "caption": "x" * 1025},
        "message caption is too long",
    ),
    "no photo": ("sendPhoto", {}, "there is no photo in the request"),
    "no voice": ("sendVoice", {"voice": ""}, "there is no voice in the request"),
    "photo from nowhere": (
        "sendPhoto",
        {"photo": "ftp://example.org/a.png"},
        "wrong file identifier/HTTP URL specified",
    ),
    "keyboard that is no JSON": (
        "sendMessage",
        {"reply_markup": "{"},
        "can't parse reply keyboard markup JSON object",
    ),
    "keyboard that is no object": (
        "sendMessage",
        {"reply_markup": [1]},
        "object expected as reply markup",
    ),
    "keyboard without rows": (
        "sendMessage",
        {"reply_markup": {"inline_keyboard": [{"text": "A"}]}},
        (
            'field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of '
            "Arrays"
        ),
    ),
    "keyboard of 101 buttons": (
        "sendMessage",
        {
            "reply_markup": {
                "inline_keyboard": [[{"text": "A", "callback_data": "a"}]] * 101
            }
        },
        "reply markup is too long",
    ),
    "button without text": (
        "sendMessage",
        {"reply_markup": button(callback_data="a")},
        "can't parse inline keyboard button: Can't find field \"text\"",
    ),
    "button with blank text": (
        "sendMessage",
        {"reply_markup": button(text=" ", callback_data="a")},
        "inline keyboard button text must be non-empty",
    ),
    "button without action": (
        "sendMessage",
        {"reply_markup": button(text="A", callback_data="")},
        (
            "can't parse inline keyboard button: Text buttons are unallowed in "
            "the inline keyboard"
        ),
    ),
    "button with two actions": (
        "sendMessage",
        {"reply_markup": button(text="A", callback_data="a", url="https://a.example")},
        "can't parse inline keyboard button: Exactly one action must be specified",
    ),
    "callback data of 65 bytes": (
        "sendMessage",
        {"reply_markup": button(text="A", callback_data="é" * 32 + "x")},
        "BUTTON_DATA_INVALID",
    ),
    "button to a file": (
        "sendMessage",
        {"reply_markup": button(text="A", url="file:///etc/motd")},
        (
            "inline keyboard button URL 'file:///etc/motd' is invalid: "
            "Unsupported URL protocol"
        ),
    ),
    "button to a local host": (
        "sendMessage",
        {"reply_markup": button(text="A", url="http://localhost/")},
        "inline keyboard button URL 'http://localhost/' is invalid: Wrong HTTP URL",
    ),
    "web app without TLS": (
        "sendMessage",
        {"reply_markup": button(text="A", web_app={"url": "http://a.example/"})},
        (
            "inline keyboard button Web App URL 'http://a.example/' is invalid: "
            "Only HTTPS links are allowed"
        ),
    ),
    "web app in a group": (
        "sendMessage",
        {
            "chat_id": -5,
            "reply_markup": button(text="A", web_app={"url": "https://a.example/"}),
        },
        "BUTTON_TYPE_INVALID",
    ),
    "edit of no message": (
        "editMessageText",
        {"chat_id": None},
        "message identifier is not specified",
    ),
    "edit of an unknown message": (
        "editMessageText",
        {"message_id": 5},
        "message to edit not found",
    ),
    "edit without a message's number": (
        "editMessageReplyMarkup",
        {},
        "message to edit not found",
    ),
    "unknown chat action": (
        "sendChatAction",
        {"action": "singing"},
        "wrong parameter action in request",
    ),
    "answer to no button": (
        "answerCallbackQuery",
        {"callback_query_id": ""},
        "query is too old and response timeout expired or query ID is invalid",
    ),
    "long answer to a button": (
        "answerCallbackQuery",
        {"callback_query_id": "1", "text": "x" * 201},
        "MESSAGE_TOO_LONG",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_telegram_refuses_is_refused_in_its_words(
    simulator: Simulator, bot: Bot, case: str
) -> None:
    method, parameters, description = REFUSED[case]
    call = {"chat_id": 7, "text": "Hello"} | parameters
    assert await bot.error(method, **call) == f"Bad Request: {description}"
    assert simulator.messages(7) == []
    assert simulator.sent[-1].error == f"Bad Request: {description}"


ACCEPTED: dict[str, tuple[str, dict[str, Any]]] = {
    "longest text": ("sendMessage", {"text": "😀" * 2048}),
    "longest text without its markup": (
        "sendMessage",
        {"text": f"<b>{'x' * 4096}</b>", "parse_mode": "HTML"},
    ),
    "longest caption": ("sendVideo", {"video": "abc", "caption": "x" * 1024}),
    "media without a caption": ("sendDocument", {"document": "abc", "caption": ""}),
    "media by address": ("sendAnimation", {"animation": "https://a.example/a.mp4"}),
    "callback data of 64 bytes": (
        "sendMessage",
        {"reply_markup": button(text="A", callback_data="é" * 32)},
    ),
    "button to an address": (
        "sendMessage",
        {"reply_markup": button(text="A", url="https://a.example/?b=c")},
    ),
    "button to a place in Telegram": (
        "sendMessage",
        {"reply_markup": button(text="A", url="tg://resolve?domain=a")},
    ),
    "web app in a private chat": (
        "sendMessage",
        {"reply_markup": button(text="A", web_app={"url": "https://a.example/"})},
    ),
    "no keyboard": ("sendMessage", {"reply_markup": {"inline_keyboard": []}}),
    "keyboard of an empty row": ("sendMessage", {"reply_markup": {"keyboard": [[]]}}),
    "old names of actions": ("sendChatAction", {"action": "record_audio"}),
    "the other old name": ("sendChatAction", {"action": "Upload_Audio"}),
    "an older name of a place": ("sendChatAction", {"action": "pick_up_location"}),
    "chat action": ("sendChatAction", {"action": "typing"}),
    "longest answer": (
        "answerCallbackQuery",
        {"callback_query_id": "1", "text": "x" * 200},
    ),
    "draft": ("sendMessageDraft", {"draft_id": 1}),
    "draft without a text yet": ("sendMessageDraft", {"draft_id": "7", "text": ""}),
    "legacy Markdown": ("sendMessage", {"text": "*a*.", "parse_mode": "Markdown"}),
    "group": ("sendMessage", {"chat_id": "-1001234567890"}),
}


@pytest.mark.parametrize("case", ACCEPTED)
async def test_what_telegram_takes_is_taken(bot: Bot, case: str) -> None:
    method, parameters = ACCEPTED[case]
    assert await bot.result(method, **{"chat_id": 7, "text": "Hello"} | parameters)


async def test_a_user_who_blocked_the_bot_cannot_be_reached(
    simulator: Simulator, bot: Bot
) -> None:
    """403 for every method that writes to the chat, until the user unblocks."""
    simulator.blocked.add(7)
    calls: dict[str, dict[str, Any]] = {
        "sendMessage": {"text": "a"},
        "sendSticker": {"sticker": "abc"},
        "sendChatAction": {"action": "typing"},
        "sendMessageDraft": {"draft_id": 1, "text": "a"},
        "editMessageText": {"text": "a", "message_id": 1},
    }
    for method, parameters in calls.items():
        error = await bot.error(method, chat_id=7, **parameters)
        assert error == "Forbidden: bot was blocked by the user"
    simulator.blocked.discard(7)
    assert await bot.result("sendMessage", chat_id=7, text="a")


PIECES = ["a", " ", "\n", "\r", "😀", "<b>", "</b>", "<a href='a.b'>", "</a>", "&lt"]
PIECES += ["*", "_", "__", "~", "||", "`", "```", "[", "](a.b)", "![", ">", "\\", "."]


@given(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.sampled_from(["HTML", "MarkdownV2", "Markdown", ""]),
)
def test_any_text_is_understood_or_refused(source: str, mode: str) -> None:
    """No text makes the parsers fail in another way."""
    try:
        read = text_rules.text({"text": source, "parse_mode": mode})
    except ApiError:
        return
    assert read["text"] == read["text"].strip() != ""


def nested(*pairs: tuple[str, str]) -> st.SearchStrategy[str]:
    """Make texts with markup around some of their parts."""
    return st.recursive(
        st.sampled_from(["a", " ", "\n", "😀"]),
        lambda inner: st.tuples(
            st.sampled_from(pairs), st.lists(inner, max_size=4)
        ).map(lambda part: part[0][0] + "".join(part[1]) + part[0][1]),
    )


@given(
    st.one_of(
        nested(("<b>", "</b>"), ("<i>", "</i>"), ("", "")).map(lambda it: (it, "HTML")),
        nested(("*", "*"), ("~", "~"), ("", "")).map(lambda it: (it, "MarkdownV2")),
    )
)
def test_entities_lie_inside_of_the_text(formatted: tuple[str, str]) -> None:
    """Also where white space around the text was taken away."""
    source, mode = formatted
    try:
        read = text_rules.text({"text": source, "parse_mode": mode})
    except ApiError:
        return
    length = len(read["text"].encode("utf-16-le")) // 2
    for entity in read.get("entities", []):
        assert entity["offset"] >= 0
        assert entity["length"] > 0
        assert entity["offset"] + entity["length"] <= length


async def test_given_entities_move_with_their_text(bot: Bot) -> None:
    """White space that goes at the front is taken off their offsets."""
    bold = {"type": "bold", "offset": 2, "length": 3}
    sent = await bot.result("sendMessage", chat_id=7, text="  abc", entities=[bold])
    assert sent["text"] == "abc"
    assert sent["entities"] == [bold | {"offset": 0}]


async def test_a_message_of_the_chat_can_be_replied_to(bot: Bot) -> None:
    """Another one only if the bot says that it may be missing."""
    await bot.result("sendMessage", chat_id=7, text="a")
    call: dict[str, Any] = {"chat_id": 7, "text": "b"}
    await bot.result("sendMessage", reply_parameters={"message_id": 1}, **call)
    lenient = {"message_id": 77, "allow_sending_without_reply": True}
    await bot.result("sendMessage", reply_parameters=lenient, **call)


async def test_a_chat_page_with_a_huge_number_is_empty(bot: Bot) -> None:
    assert "Nothing was sent" in await bot.page(f"/chats/{'9' * 5000}")
