"""What the user sees in the end, through a Bot API that refuses what it can."""

import logging
from collections.abc import AsyncIterator

import pytest
from botgateway.chat.v1.reply_pb2 import (
    MEDIA_TYPE_PHOTO,
    TEXT_FORMAT_HTML,
    CallbackAnswer,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    LinkPreviewOptions,
    Media,
    OutgoingMessage,
    Reply,
)
from msgspec import structs

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import CallRejected, RecipientBlocked
from gateway.domain.update import ButtonPress, Update
from gateway.sandbox.server import Simulator
from gateway.telegram.bot_api.client import BotApiClient, open_bot_api
from gateway.telegram.messenger import TelegramMessenger
from tests.factories import build_button_press

TOKEN = "4711:AA-token"
CHAT = 99
KEYBOARD = InlineKeyboard(
    rows=[
        InlineKeyboardRow(
            buttons=[InlineKeyboardButton(text="Yes", callback_data="ACCEPT:1")]
        )
    ]
)
BAD_KEYBOARD = "Bad Request: BUTTON_URL_INVALID"
"""Telegram knows more of addresses than can be told from them."""


def press(message_id: int | None = None) -> ButtonPress:
    """Build the press of a button under a message of the bot."""
    return build_button_press(user=CHAT, message_id=message_id)


class Harness:
    """A messenger with its Bot API, and what it observed."""

    def __init__(self, simulator: Simulator, api: BotApiClient) -> None:
        self.simulator = simulator
        self.timed: list[str] = []
        self.faults: list[str] = []
        self.messenger = TelegramMessenger(
            api, observe_call=self._observe, count_dropped_part=self.faults.append
        )

    def _observe(self, method: str, seconds: float) -> None:
        assert 0 < seconds < 10
        self.timed.append(method)

    async def reply(self, update: Update, *messages: OutgoingMessage) -> None:
        """Send a reply as an actor does."""
        for call in self.messenger.render(update, Reply(messages=messages)):
            await self.messenger.send(call)

    def texts(self) -> list[str]:
        """Return what the chat shows."""
        return [message["text"] for message in self.simulator.messages(CHAT)]


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    """Yield a messenger over real HTTP."""
    simulator = Simulator(TOKEN)

    async def sleep(_: float) -> None:
        pass

    async with simulator.serve() as url, open_bot_api(TOKEN, url, sleep=sleep) as api:
        yield Harness(simulator, api)


async def test_a_long_reply_arrives_in_order_and_whole(harness: Harness) -> None:
    text = "".join(f"Paragraph {number}.\n\n" for number in range(1000))
    await harness.reply(press(), OutgoingMessage(text=text, inline_keyboard=KEYBOARD))
    parts = harness.texts()
    assert len(parts) > 3
    assert " ".join(parts).split() == text.split()
    marks = ["reply_markup" in each for each in harness.simulator.messages(CHAT)]
    assert marks == [False] * (len(parts) - 1) + [True]


async def test_an_edit_replaces_the_pressed_message(harness: Harness) -> None:
    """The chat shows the new text in the place of the old one."""
    await harness.reply(press(), OutgoingMessage(text="old", inline_keyboard=KEYBOARD))
    await harness.reply(press(1), OutgoingMessage(text="new", edit=True))
    assert harness.texts() == ["new"]
    assert "reply_markup" not in harness.simulator.messages(CHAT)[0]
    # Pressed twice: nothing changes, and that is no fault.
    await harness.reply(press(1), OutgoingMessage(text="new", edit=True))
    assert harness.texts() == ["new"]


async def test_what_cannot_be_edited_any_more_is_sent_again(harness: Harness) -> None:
    """The message may be gone."""
    await harness.reply(press(1), OutgoingMessage(text="new", edit=True))
    assert harness.texts() == ["new"]


async def test_a_text_that_cannot_be_parsed_is_sent_as_plain_text(
    harness: Harness,
) -> None:
    message = OutgoingMessage(text="<b>1 < 2</i>", format=TEXT_FORMAT_HTML)
    await harness.reply(press(), message)
    assert harness.texts() == ["<b>1 < 2</i>"]


async def test_a_long_html_text_is_shown_formatted(harness: Harness) -> None:
    """Telegram parses each of its parts."""
    text = "<pre>" + "line of code\n" * 1000 + "</pre>"
    await harness.reply(press(), OutgoingMessage(text=text, format=TEXT_FORMAT_HTML))
    assert {call.error for call in harness.simulator.sent} == {""}
    assert all("pre" not in text for text in harness.texts())


@pytest.mark.parametrize("album", [False, True])
@pytest.mark.parametrize(
    "fault", ["failed to get HTTP URL content", "file is too big", "PHOTO_EXT_INVALID"]
)
async def test_the_text_arrives_where_its_media_is_refused(
    harness: Harness, fault: str, *, album: bool
) -> None:
    """In its format, with all that is said of how it is sent."""
    for method in ("sendPhoto", "sendMediaGroup"):
        harness.simulator.fail(method, 400, description=f"Bad Request: {fault}")
    photo = Media(type=MEDIA_TYPE_PHOTO, url="https://example.com/gone.jpg")
    message = OutgoingMessage(
        text="<b>Look</b>",
        format=TEXT_FORMAT_HTML,
        media=[photo] * (2 if album else 1),
        album=album,
        disable_notification=True,
    )
    await harness.reply(press(), message)
    assert harness.texts() == ["Look"]
    assert harness.simulator.sent[-1].parameters == {
        "chat_id": CHAT,
        "disable_notification": True,
        "text": "<b>Look</b>",
        "parse_mode": "HTML",
    }
    alone = OutgoingMessage(media=[photo])
    harness.simulator.fail("sendPhoto", 400, description=f"Bad Request: {fault}")
    with pytest.raises(CallRejected):
        await harness.reply(press(), alone)


async def test_two_faults_of_one_call_are_amended(harness: Harness) -> None:
    """The keyboard first, then the format; the text arrives."""
    harness.simulator.fail("sendMessage", 400, description=BAD_KEYBOARD)
    message = OutgoingMessage(
        text="<b>", format=TEXT_FORMAT_HTML, inline_keyboard=KEYBOARD
    )
    await harness.reply(press(), message)
    assert harness.texts() == ["<b>"]
    assert harness.timed == ["answerCallbackQuery"] + ["sendMessage"] * 3


async def test_a_third_fault_is_final(harness: Harness) -> None:
    """A call is not made for ever."""
    harness.simulator.fail("editMessageText", 400, description=BAD_KEYBOARD)
    message = OutgoingMessage(
        text="<b>", format=TEXT_FORMAT_HTML, inline_keyboard=KEYBOARD, edit=True
    )
    with pytest.raises(CallRejected):
        await harness.reply(press(1), message)
    assert harness.timed == ["answerCallbackQuery"] + ["editMessageText"] * 3


async def test_a_fault_that_cannot_be_amended_is_final(harness: Harness) -> None:
    harness.simulator.fail(
        "sendMessage", 400, description="Bad Request: chat not found"
    )
    with pytest.raises(CallRejected):
        await harness.reply(press(), OutgoingMessage(text="Hello"))
    assert harness.timed == ["answerCallbackQuery", "sendMessage"]


async def test_a_late_answer_to_a_button_is_no_fault(harness: Harness) -> None:
    """The spinner has ended by itself; the messages are still sent."""
    harness.simulator.fail(
        "answerCallbackQuery", 400, description="Bad Request: query is too old and ..."
    )
    await harness.reply(press(), OutgoingMessage(text="Hello"))
    assert harness.texts() == ["Hello"]


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("answerPreCheckoutQuery", {"pre_checkout_query_id": "7", "ok": True}),
        ("answerInlineQuery", {"inline_query_id": "7", "results": []}),
        ("approveChatJoinRequest", {"chat_id": -5, "user_id": 7}),
    ],
)
async def test_an_answer_whose_fate_is_not_known_is_given_again(
    harness: Harness, method: str, parameters: dict[str, object]
) -> None:
    """That it was given already, as Telegram says then, is no fault."""
    harness.simulator.fail(method, 200, drop=True)
    await harness.messenger.send(BotApiCall(method=method, parameters=parameters), 120)
    assert [call.status for call in harness.simulator.sent] == [0, 400]
    assert len(harness.simulator.queries.answers) == 1


async def test_a_text_arrives_without_the_media_that_telegram_refuses(
    harness: Harness,
) -> None:
    """In words that the gateway does not know, too."""
    refused = "Bad Request: photo has unsupported extension"
    harness.simulator.fail("sendPhoto", 400, description=refused)
    photo = Media(type=MEDIA_TYPE_PHOTO, file_id="a")
    await harness.reply(press(), OutgoingMessage(text="Look", media=[photo]))
    assert harness.texts() == ["Look"]


async def test_a_text_arrives_without_the_preview_that_telegram_refuses(
    harness: Harness,
) -> None:
    """What is previewed is not worth the text."""
    refused = "Bad Request: WEBPAGE_URL_INVALID"
    harness.simulator.fail("sendMessage", 400, description=refused)
    preview = LinkPreviewOptions(url="https://example.com")
    await harness.reply(
        press(), OutgoingMessage(text="Look", link_preview_options=preview)
    )
    assert harness.texts() == ["Look"]
    assert "link_preview_options" not in harness.simulator.sent[-1].parameters


async def test_a_user_who_blocked_the_bot_is_distinguished(harness: Harness) -> None:
    """The actor reports it to the service that keeps track."""
    harness.simulator.blocked.add(CHAT)
    with pytest.raises(RecipientBlocked):
        await harness.reply(press(), OutgoingMessage(text="Hello"))


async def test_what_is_left_out_is_counted_and_logged_without_its_text(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """With the request id, so that the service's author finds it."""
    button = InlineKeyboardButton(
        text="private words", callback_data="private words" * 9
    )
    keyboard = InlineKeyboard(rows=[InlineKeyboardRow(buttons=[button])])
    message = OutgoingMessage(text="private words", inline_keyboard=keyboard)
    with caplog.at_level(logging.DEBUG):
        await harness.reply(press(), message)
    assert harness.faults == ["button_data_too_long"]
    record = next(each for each in caplog.records if each.levelname == "WARNING")
    assert record.__dict__["request_id"] == "1-1"
    assert record.__dict__["dropped_parts"] == {"button_data_too_long": 1}
    assert "private" not in str([vars(each) for each in caplog.records])


async def test_telegrams_words_for_a_fault_are_not_logged(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """They may quote the user."""
    message = OutgoingMessage(text="<private>", format=TEXT_FORMAT_HTML)
    with caplog.at_level(logging.DEBUG):
        await harness.reply(press(), message)
    assert "private" in harness.simulator.sent[1].error
    assert "private" not in str([vars(each) for each in caplog.records])


async def test_the_answer_to_a_button_is_shown(harness: Harness) -> None:
    answer = CallbackAnswer(text="Connected", show_alert=True)
    [call] = harness.messenger.render(press(), Reply(callback_answer=answer))
    assert isinstance(call, BotApiCall)
    await harness.messenger.send(call)
    assert harness.simulator.answers == [
        {"callback_query_id": "77", "text": "Connected", "show_alert": True}
    ]


async def test_typing_names_no_topic_of_direct_messages(harness: Harness) -> None:
    """Bot API, sendChatAction: it has no such parameter."""
    update = press()
    update.context.direct_messages_topic_id = 77
    await harness.messenger.show_typing(update)
    (call,) = harness.simulator.sent
    assert call.parameters == {"chat_id": CHAT, "action": "typing"}


async def test_nobody_sees_typing_for_what_only_one_user_sees(harness: Harness) -> None:
    """The whole group would."""
    await harness.messenger.show_typing(
        structs.replace(press(), ephemeral_message_id=8)
    )
    assert harness.simulator.sent == []


async def test_the_sender_learns_which_message_was_sent(harness: Harness) -> None:
    """The result of the call, also of one that was changed and made again."""
    [call] = harness.messenger.render(
        press(), Reply(messages=[OutgoingMessage(text="<b", format=TEXT_FORMAT_HTML)])
    )[1:]
    sent = await harness.messenger.send(call)
    [shown] = harness.simulator.messages(CHAT)
    assert sent["message_id"] == shown["message_id"]
    assert sent["chat"]["id"] == CHAT
