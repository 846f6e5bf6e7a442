"""Replies become calls that Telegram takes, and none of their text is lost."""

import pytest
from botgateway.chat.v1.context_pb2 import (
    CHAT_TYPE_GROUP,
    CHAT_TYPE_SUPERGROUP,
    RequestContext,
)
from botgateway.chat.v1.reply_pb2 import (
    MEDIA_TYPE_DOCUMENT,
    MEDIA_TYPE_PHOTO,
    MEDIA_TYPE_STICKER,
    MEDIA_TYPE_UNSPECIFIED,
    TEXT_FORMAT_HTML,
    TEXT_FORMAT_MARKDOWN_V2,
    CallbackAnswer,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    Media,
    MediaType,
    OutgoingMessage,
    Reply,
    TextFormat,
)
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import RejectedPart
from gateway.domain.reply_limits import MAX_TEXT
from gateway.domain.update import ButtonPress, Update
from gateway.telegram.outbound import renderer
from gateway.telegram.outbound.degrade import degrade
from gateway.telegram.outbound.renderer import render
from gateway.telegram.outbound.text_splitting import is_blank
from tests.factories import build_inline_button_press
from tests.unit.telegram.rendering import (
    CHAT,
    KEYBOARDS,
    MEDIA,
    OK_BUTTON,
    OK_MARKUP,
    PRESSED,
    build_message_update,
    build_press,
    composed,
    keyboard,
)
from tests.unit.telegram.texts import TEXTS, assert_nothing_lost, utf16

UPDATES = st.sampled_from(
    [
        build_message_update(),
        build_message_update(topic=5),
        build_message_update(chat_id=0),
        build_press(),
        build_press(topic=5),
        build_inline_button_press(),
    ]
)


MESSAGES = st.builds(
    OutgoingMessage,
    text=TEXTS,
    format=st.sampled_from(TextFormat.values()),
    inline_keyboard=KEYBOARDS,
    edit=st.booleans(),
    media=MEDIA,
)
REPLIES = st.builds(
    Reply,
    messages=st.lists(MESSAGES, max_size=3),
    callback_answer=st.none()
    | st.builds(
        CallbackAnswer, text=st.text(max_size=300) | TEXTS, show_alert=st.booleans()
    ),
)


def assert_takes(call: BotApiCall) -> None:
    """Fail where Telegram would refuse the call for a length."""
    parameters = call.parameters
    if call.method == "answerCallbackQuery":
        assert utf16(parameters.get("text", "")) <= 200
        return
    assert parameters.get("chat_id") or parameters["inline_message_id"]
    if call.method in {"sendMessage", "editMessageText"}:
        assert 1 <= utf16(parameters["text"]) <= 4096
        assert not is_blank(parameters["text"])
    assert utf16(parameters.get("caption", "")) <= 1024
    if "reply_markup" in parameters:
        rows = parameters["reply_markup"]["inline_keyboard"]
        assert rows
        assert all(rows)
        for button in (button for row in rows for button in row):
            assert not is_blank(button["text"])
            assert len(button) == 2
            assert 1 <= len(button.get("callback_data", "1").encode()) <= 64


@given(UPDATES, REPLIES)
def test_no_call_is_ever_refused_for_a_length(update: Update, reply: Reply) -> None:
    """Whatever a service replies, and however a call is amended."""
    for call in render(update, reply, lambda _: None):
        assert_takes(call)
        for fault in RejectedPart:
            if amended := degrade(call, fault):
                assert_takes(amended)


@given(
    st.sampled_from(
        [build_message_update(), build_message_update(topic=5), build_message_update(0)]
    ),
    st.builds(
        OutgoingMessage,
        text=st.builds(
            str.__mul__, st.sampled_from("a \u200b\U0001f642"), st.integers(0, 5000)
        )
        | st.text(max_size=9),
        format=st.just(0) | st.sampled_from(TextFormat.values()),
        inline_keyboard=st.none() | KEYBOARDS,
        edit=st.booleans(),
        media=st.just([]) | MEDIA,
    ),
)
@example(build_message_update(), OutgoingMessage(text="\U0001f642" * 2049))
@example(
    build_message_update(),
    OutgoingMessage(text="Go?", inline_keyboard=keyboard(OK_BUTTON)),
)
@example(build_message_update(), OutgoingMessage(text="Go?", disable_notification=True))
def test_a_message_alone_becomes_what_it_becomes_among_others(
    update: Update, message: OutgoingMessage
) -> None:
    """One plain text takes a short way; two of anything take the long one."""
    alone, faults = composed(update, message)
    assert composed(update, message, message) == (alone * 2, faults * 2)


@given(UPDATES, REPLIES)
def test_a_pressed_button_is_answered_once_and_first(
    update: Update, reply: Reply
) -> None:
    """The spinner ends before anything else is sent; other updates have none."""
    methods = [call.method for call in render(update, reply, lambda _: None)]
    answers = ["answerCallbackQuery"] if isinstance(update, ButtonPress) else []
    assert methods[: len(answers)] == answers
    assert methods.count("answerCallbackQuery") == len(answers)


@given(st.sampled_from([build_message_update(), build_press()]), MESSAGES)
def test_no_character_is_lost_and_the_keyboard_comes_last(
    update: Update, message: OutgoingMessage
) -> None:
    """The parts together are the text, and only the last one has buttons."""
    message.ClearField("format")  # the parts of formatted texts get marks
    calls, _ = composed(update, message)
    sent = [parameters for method, parameters in calls if method[:3] != "ans"]
    texts = (each.get("text") or each.get("caption") for each in sent)
    assert_nothing_lost(message.text, [text for text in texts if text])
    assert not any("reply_markup" in each for each in sent[:-1])
    if OK_BUTTON in [
        button for row in message.inline_keyboard.rows for button in row.buttons
    ]:
        assert all("reply_markup" in each for each in sent[-1:])


def test_a_plain_reply_is_one_message() -> None:
    """The common case has nothing that Telegram does not need."""
    calls, reported = composed(build_message_update(), OutgoingMessage(text="Hello"))
    assert calls == [("sendMessage", {"chat_id": CHAT, "text": "Hello"})]
    assert reported == []


def test_a_reply_stays_in_its_topic() -> None:
    """New messages go to the topic of the update."""
    calls, _ = composed(
        build_message_update(topic=5),
        OutgoingMessage(text="Hello"),
        OutgoingMessage(media=[Media(type=MEDIA_TYPE_PHOTO, file_id="AgAD")]),
    )
    assert [parameters["message_thread_id"] for _, parameters in calls] == [5, 5]


def test_a_reply_stays_in_its_topic_of_direct_messages() -> None:
    """Whatever it sends; an edit and the answer to a press name none."""
    context = RequestContext(
        chat_id=-100, chat_type=CHAT_TYPE_SUPERGROUP, direct_messages_topic_id=77
    )
    update = structs.replace(build_press(), context=context)
    photo = Media(type=MEDIA_TYPE_PHOTO, file_id="a")
    calls = [
        *render(
            structs.replace(build_message_update(), context=context),
            Reply(messages=[OutgoingMessage(text="Hi")]),
            pytest.fail,
        ),
        *render(
            update,
            Reply(
                messages=[
                    OutgoingMessage(text="New", edit=True),
                    OutgoingMessage(text="a", format=TEXT_FORMAT_HTML),
                    OutgoingMessage(media=[photo]),
                    OutgoingMessage(media=[photo] * 2, album=True),
                ]
            ),
            pytest.fail,
        ),
    ]
    topics = [
        (call.method, call.parameters.get("direct_messages_topic_id")) for call in calls
    ]
    assert topics == [
        ("sendMessage", 77),
        ("answerCallbackQuery", None),
        ("editMessageText", None),
        ("sendMessage", 77),
        ("sendPhoto", 77),
        ("sendMediaGroup", 77),
    ]
    degraded = degrade(calls[2], RejectedPart.EDIT)
    assert degraded is not None
    assert degraded.parameters["direct_messages_topic_id"] == 77


@pytest.mark.parametrize(
    ("text_format", "parse_mode"),
    [(TEXT_FORMAT_HTML, "HTML"), (TEXT_FORMAT_MARKDOWN_V2, "MarkdownV2")],
)
def test_each_part_says_its_format(
    text_format: "TextFormat.ValueType", parse_mode: str
) -> None:
    """Telegram reads every message by itself."""
    calls, _ = composed(
        build_message_update(), OutgoingMessage(text="word " * 1000, format=text_format)
    )
    assert [parameters["parse_mode"] for _, parameters in calls] == [parse_mode] * 2


class TestEphemeral:
    """What one member of a group asks unseen is answered unseen."""

    CONTEXT = RequestContext(
        chat_id=-100, chat_type=CHAT_TYPE_SUPERGROUP, telegram_user_id=7
    )
    PHOTO = Media(type=MEDIA_TYPE_PHOTO, file_id="a")

    def asked(self, update: Update) -> Update:
        """Make the update an ephemeral one."""
        return structs.replace(update, context=self.CONTEXT, ephemeral_message_id=8)

    def test_an_answer_is_for_its_user_alone(self) -> None:
        """Whatever it sends. An album is sent one by one: it can be for all only."""
        calls, reported = composed(
            self.asked(build_message_update()),
            OutgoingMessage(text="a"),
            OutgoingMessage(media=[self.PHOTO] * 2, album=True),
        )
        assert [method for method, _ in calls] == ["sendMessage", *["sendPhoto"] * 2]
        receiver = {"receiver_user_id": 7}
        for _, parameters in calls:
            assert parameters["ephemeral_message_parameters"] == receiver
        assert reported == ["album_unsupported_here"]

    def test_a_press_is_answered_and_edits_what_its_user_sees(self) -> None:
        """With the methods that such messages have; what cannot be edited is new."""
        edit = OutgoingMessage(text="New", edit=True)
        calls, _ = composed(
            self.asked(build_press()), edit, OutgoingMessage(text="More")
        )
        receiver = {"receiver_user_id": 7, "callback_query_id": "77"}
        shown = {"chat_id": -100, "receiver_user_id": 7, "ephemeral_message_id": 8}
        new = {"chat_id": -100, "ephemeral_message_parameters": receiver}
        assert calls == [
            ("answerCallbackQuery", {"callback_query_id": "77"}),
            ("editEphemeralMessageText", {**shown, "text": "New"}),
            ("sendMessage", {**new, "text": "More"}),
        ]
        whole = render(self.asked(build_press()), Reply(messages=[edit]), pytest.fail)
        degraded = degrade(whole[1], RejectedPart.EDIT)
        assert degraded == BotApiCall(
            method="sendMessage", parameters={**new, "text": "New"}
        )

    def test_a_keyboard_alone_is_edited_in_the_same_way(self) -> None:
        message = OutgoingMessage(inline_keyboard=keyboard(OK_BUTTON), edit=True)
        calls, _ = composed(self.asked(build_press()), message)
        assert calls[1][0] == "editEphemeralMessageReplyMarkup"

    def test_without_a_user_nothing_is_said_in_public(self) -> None:
        """What was asked unseen stays unseen."""
        update = structs.replace(build_message_update(), ephemeral_message_id=8)
        calls, reported = composed(update, OutgoingMessage(text="a"))
        assert (calls, reported) == ([], ["no_chat"])


class TestEdit:
    """`edit` replaces the message whose button was pressed."""

    def test_an_edit_replaces_text_and_keyboard(self) -> None:
        message = OutgoingMessage(
            text="New", inline_keyboard=keyboard(OK_BUTTON), edit=True
        )
        calls, _ = composed(build_press(), message)
        assert calls[1:] == [
            ("editMessageText", {**PRESSED, "text": "New", "reply_markup": OK_MARKUP})
        ]

    def test_an_edit_without_a_keyboard_removes_the_buttons(self) -> None:
        """Telegram removes them if the parameter is not there."""
        calls, _ = composed(build_press(), OutgoingMessage(text="New", edit=True))
        assert calls[1:] == [("editMessageText", {**PRESSED, "text": "New"})]
        calls, _ = composed(build_press(), OutgoingMessage(edit=True))
        assert calls[1:] == [("editMessageReplyMarkup", PRESSED)]

    def test_an_edit_without_a_text_replaces_the_keyboard(self) -> None:
        message = OutgoingMessage(inline_keyboard=keyboard(OK_BUTTON), edit=True)
        calls, _ = composed(build_press(), message)
        assert calls[1:] == [
            ("editMessageReplyMarkup", {**PRESSED, "reply_markup": OK_MARKUP})
        ]

    def test_what_does_not_fit_into_the_edit_follows_as_messages(self) -> None:
        """The first part edits, the keyboard is under the last part."""
        text = "x" * 4096 + "y"
        message = OutgoingMessage(
            text=text, inline_keyboard=keyboard(OK_BUTTON), edit=True
        )
        calls, _ = composed(build_press(), message)
        assert calls[1:] == [
            ("editMessageText", {**PRESSED, "text": "x" * 4096}),
            ("sendMessage", {"chat_id": CHAT, "text": "y", "reply_markup": OK_MARKUP}),
        ]

    def test_a_second_edit_is_a_new_message(self) -> None:
        """It would replace the text of the first one."""
        calls, _ = composed(
            build_press(),
            OutgoingMessage(text="First", edit=True),
            OutgoingMessage(text="Second", edit=True),
        )
        assert calls[1:] == [
            ("editMessageText", {**PRESSED, "text": "First"}),
            ("sendMessage", {"chat_id": CHAT, "text": "Second"}),
        ]

    def test_without_a_pressed_message_an_edit_is_a_new_message(self) -> None:
        calls, _ = composed(
            build_message_update(), OutgoingMessage(text="New", edit=True)
        )
        assert calls == [("sendMessage", {"chat_id": CHAT, "text": "New"})]

    def test_media_is_always_a_new_message(self) -> None:
        """Telegram cannot turn a text into media."""
        media = Media(type=MEDIA_TYPE_PHOTO, file_id="AgAD")
        calls, _ = composed(build_press(), OutgoingMessage(media=[media], edit=True))
        assert calls[1:] == [("sendPhoto", {"chat_id": CHAT, "photo": "AgAD"})]

    def test_an_edit_names_no_topic(self) -> None:
        """The message to edit is in its topic already."""
        calls, _ = composed(
            build_press(topic=5), OutgoingMessage(text="New", edit=True)
        )
        assert calls[1:] == [("editMessageText", {**PRESSED, "text": "New"})]

    def test_an_inline_message_is_edited_by_its_own_id(self) -> None:
        """It has no chat, so that nothing but the edit can be shown."""
        calls, reported = composed(
            build_inline_button_press(),
            OutgoingMessage(
                text="x" * 5000, inline_keyboard=keyboard(OK_BUTTON), edit=True
            ),
            OutgoingMessage(text="lost"),
            OutgoingMessage(media=[Media(file_id="AgAD")]),
        )
        edit = {"text": "x" * 4096, "reply_markup": OK_MARKUP}
        assert calls[1:] == [("editMessageText", {"inline_message_id": "AAQ", **edit})]
        assert reported == ["no_chat", "no_chat", "no_chat"]


class TestMedia:
    """Media is sent by reference, with its text as the caption if that fits."""

    @pytest.mark.parametrize("kind", MediaType.values())
    def test_each_kind_has_its_method(self, kind: "MediaType.ValueType") -> None:
        """What has no kind is a general file."""
        name = MediaType.Name(kind).removeprefix("MEDIA_TYPE_").lower()
        name = "document" if kind == MEDIA_TYPE_UNSPECIFIED else name
        media = Media(type=kind, url="https://example.com/file")
        calls, _ = composed(build_message_update(), OutgoingMessage(media=[media]))
        file = {"chat_id": CHAT, name: "https://example.com/file"}
        assert calls == [(f"send{name.capitalize()}", file)]

    def test_a_short_text_is_the_caption(self) -> None:
        """Up to 1024 units, with its format and the keyboard."""
        message = OutgoingMessage(
            text="x" * 1024,
            format=TEXT_FORMAT_HTML,
            inline_keyboard=keyboard(OK_BUTTON),
            media=[Media(type=MEDIA_TYPE_PHOTO, file_id="AgAD")],
        )
        calls, _ = composed(build_message_update(), message)
        caption = {"caption": "x" * 1024, "parse_mode": "HTML"}
        photo = {"chat_id": CHAT, "photo": "AgAD", **caption, "reply_markup": OK_MARKUP}
        assert calls == [("sendPhoto", photo)]

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            pytest.param(MEDIA_TYPE_DOCUMENT, "x" * 1025, id="long text"),
            pytest.param(MEDIA_TYPE_STICKER, "short", id="sticker"),
        ],
    )
    def test_a_text_that_is_no_caption_follows_its_media(
        self, kind: "MediaType.ValueType", text: str
    ) -> None:
        """The keyboard is under the text."""
        media = Media(type=kind, file_id="AgAD")
        message = OutgoingMessage(
            text=text, inline_keyboard=keyboard(OK_BUTTON), media=[media]
        )
        calls, _ = composed(build_message_update(), message)
        name = "document" if kind == MEDIA_TYPE_DOCUMENT else "sticker"
        follows = {"chat_id": CHAT, "text": text, "reply_markup": OK_MARKUP}
        assert calls == [
            (f"send{name.capitalize()}", {"chat_id": CHAT, name: "AgAD"}),
            ("sendMessage", follows),
        ]

    def test_several_media_follow_each_other(self) -> None:
        """The text is the caption of the last one; what has no source is left out."""
        sources = ("one", "", "two")
        media = [Media(type=MEDIA_TYPE_PHOTO, file_id=source) for source in sources]
        calls, reported = composed(
            build_message_update(), OutgoingMessage(text="Both", media=media)
        )
        assert calls == [
            ("sendPhoto", {"chat_id": CHAT, "photo": "one"}),
            ("sendPhoto", {"chat_id": CHAT, "photo": "two", "caption": "Both"}),
        ]
        assert reported == ["media_without_source"]

    def test_an_endless_reply_is_cut(self) -> None:
        """One odd reply must not keep everybody waiting."""
        many = [OutgoingMessage(text="x")] * 500
        calls, reported = composed(build_message_update(), *many)
        assert (len(calls), reported) == (100, ["too_many_messages"])
        calls, reported = composed(
            build_message_update(), OutgoingMessage(text="x" * 10**6)
        )
        assert (len(calls), reported) == (100, ["text_too_long"])

    def test_the_texts_of_all_messages_are_limited_together(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is over the limit is not even looked at."""
        rendered = 0

        def count(text: str, _: object, limit: int) -> list[str]:
            nonlocal rendered
            rendered += len(text)
            return [text[:limit]]

        monkeypatch.setattr(renderer, "split_formatted_text", count)
        bold = OutgoingMessage(text="<b>x</b>" * 50_000, format=TEXT_FORMAT_HTML)
        _, reported = composed(build_message_update(), *[bold] * 100)
        assert rendered == MAX_TEXT
        assert reported[0] == "text_too_long"

    def test_messages_behind_the_last_call_are_not_rendered(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The calls of the first ones are all that is made."""
        rendered: list[str] = []

        def count(text: str, _: object, limit: int) -> list[str]:
            rendered.append(text)
            return [text[:limit]] * 60

        monkeypatch.setattr(renderer, "split_formatted_text", count)
        calls, reported = composed(
            build_message_update(), *[OutgoingMessage(text="x")] * 50
        )
        assert (len(calls), reported) == (100, ["too_many_messages"])
        assert len(rendered) == 2

    @pytest.mark.parametrize("rows", [1, 500])
    def test_an_endless_keyboard_is_cut(self, rows: int) -> None:
        """To about as many buttons as Telegram takes."""
        row = InlineKeyboardRow(buttons=[OK_BUTTON] * (500 // rows))
        message = OutgoingMessage(
            text="x", inline_keyboard=InlineKeyboard(rows=[row] * rows)
        )
        calls, reported = composed(build_message_update(), message)
        markup = calls[0][1]["reply_markup"]["inline_keyboard"]
        assert sum(len(buttons) for buttons in markup) == 100
        assert reported == ["too_many_buttons"]

    def test_without_a_source_the_text_is_sent_alone(self) -> None:
        message = OutgoingMessage(text="Look", media=[Media(type=MEDIA_TYPE_PHOTO)])
        calls, reported = composed(build_message_update(), message)
        assert calls == [("sendMessage", {"chat_id": CHAT, "text": "Look"})]
        assert reported == ["media_without_source"]


class TestAnswer:
    """A pressed button is answered, with what fits into the answer."""

    def test_an_empty_reply_ends_the_spinner(self) -> None:
        calls, _ = composed(build_press())
        assert calls == [("answerCallbackQuery", {"callback_query_id": "77"})]

    def test_a_short_text_is_shown_in_the_answer(self) -> None:
        """As a passing notice, or as a dialog."""
        answer = CallbackAnswer(text="x" * 200)
        calls, _ = composed(build_press(), answer=answer)
        shown = {"callback_query_id": "77", "text": "x" * 200}
        assert calls == [("answerCallbackQuery", shown)]
        answer.show_alert = True
        calls, _ = composed(build_press(), answer=answer)
        assert calls == [("answerCallbackQuery", {**shown, "show_alert": True})]

    def test_a_long_text_is_the_first_message(self) -> None:
        calls, _ = composed(
            build_press(),
            OutgoingMessage(text="Second"),
            answer=CallbackAnswer(text="x" * 201, show_alert=True),
        )
        assert calls == [
            ("answerCallbackQuery", {"callback_query_id": "77"}),
            ("sendMessage", {"chat_id": CHAT, "text": "x" * 201}),
            ("sendMessage", {"chat_id": CHAT, "text": "Second"}),
        ]

    def test_without_a_chat_a_long_text_is_shortened(self) -> None:
        """A start of it is better than nothing."""
        answer = CallbackAnswer(text="😀" * 101)
        calls, reported = composed(build_inline_button_press(), answer=answer)
        shown = {"callback_query_id": "77", "text": "😀" * 99 + "…"}
        assert calls == [("answerCallbackQuery", shown)]
        assert reported == ["answer_too_long"]

    def test_other_updates_are_not_answered(self) -> None:
        """The contract says that the field is ignored there."""
        calls, _ = composed(build_message_update(), answer=CallbackAnswer(text="x"))
        assert calls == []


class TestButtons:
    """A button that Telegram refuses is left out, and the rest is sent."""

    @pytest.mark.parametrize(
        ("button", "fault"),
        [
            (
                InlineKeyboardButton(text="B", callback_data="ö" * 33),
                "button_data_too_long",
            ),
            (InlineKeyboardButton(text="B", callback_data=""), "button_without_action"),
            (InlineKeyboardButton(text="B", url=""), "button_without_action"),
            (InlineKeyboardButton(text="B", web_app_url=""), "button_without_action"),
            (InlineKeyboardButton(text="B"), "button_without_action"),
            (InlineKeyboardButton(text=" ", callback_data="x"), "button_without_text"),
        ],
    )
    def test_a_bad_button_is_left_out(
        self, button: InlineKeyboardButton, fault: str
    ) -> None:
        """Empty rows and keyboards vanish with it."""
        update = build_message_update()
        message = OutgoingMessage(
            text="Hi", inline_keyboard=keyboard(button, OK_BUTTON)
        )
        calls, reported = composed(update, message)
        assert calls[0][1]["reply_markup"] == OK_MARKUP
        assert reported == [fault]
        calls, _ = composed(
            update, OutgoingMessage(text="Hi", inline_keyboard=keyboard(button))
        )
        assert calls == [("sendMessage", {"chat_id": CHAT, "text": "Hi"})]

    def test_good_buttons_keep_their_rows(self) -> None:
        web_app = InlineKeyboardButton(
            text="App", web_app_url="https://example.com/app"
        )
        url = InlineKeyboardButton(text="Page", url="tg://resolve")
        data = InlineKeyboardButton(text="Data", callback_data="ö" * 32)
        rows = [
            InlineKeyboardRow(buttons=[web_app]),
            InlineKeyboardRow(),
            InlineKeyboardRow(buttons=[url, data]),
        ]
        message = OutgoingMessage(text="Hi", inline_keyboard=InlineKeyboard(rows=rows))
        calls, reported = composed(build_message_update(), message)
        assert calls[0][1]["reply_markup"]["inline_keyboard"] == [
            [{"text": "App", "web_app": {"url": "https://example.com/app"}}],
            [
                {"text": "Page", "url": "tg://resolve"},
                {"text": "Data", "callback_data": "ö" * 32},
            ],
        ]
        assert reported == []

    def test_a_web_app_is_for_private_chats(self) -> None:
        """Anywhere else Telegram refuses the whole message."""
        button = InlineKeyboardButton(text="App", web_app_url="https://example.com/app")
        message = OutgoingMessage(text="Hi", inline_keyboard=keyboard(button))
        calls, reported = composed(build_press(chat_type=CHAT_TYPE_GROUP), message)
        assert "reply_markup" not in calls[1][1]
        assert reported == ["button_web_app_outside_private_chat"]


@pytest.mark.parametrize("text", ["", " \n", "\u200b"])
def test_a_message_without_content_is_skipped(text: str) -> None:
    """A keyboard alone cannot be sent."""
    message = OutgoingMessage(text=text, inline_keyboard=keyboard(OK_BUTTON))
    calls, reported = composed(build_message_update(), message)
    assert calls == []
    assert reported == ["message_empty"]


class TestAmend:
    """A refused call is changed in the part that was at fault."""

    def sent(self, update: Update, message: OutgoingMessage) -> BotApiCall:
        """Compose the call that Telegram will refuse."""
        return render(update, Reply(messages=[message]), lambda _: None)[-1]

    def test_the_part_at_fault_is_taken_out(self) -> None:
        """The rest stays as it is, and each part is taken out once."""
        call = self.sent(
            build_message_update(topic=5),
            OutgoingMessage(
                text="<b>", format=TEXT_FORMAT_HTML, inline_keyboard=keyboard(OK_BUTTON)
            ),
        )
        for fault, part in [
            (RejectedPart.FORMAT, "parse_mode"),
            (RejectedPart.KEYBOARD, "reply_markup"),
            (RejectedPart.TOPIC, "message_thread_id"),
        ]:
            amended = degrade(call, fault)
            assert amended is not None
            assert {**call.parameters} == {
                **amended.parameters,
                part: call.parameters[part],
            }
            assert part not in amended.parameters
            assert degrade(amended, fault) is None

    def test_a_caption_loses_its_format_too(self) -> None:
        media = Media(type=MEDIA_TYPE_PHOTO, file_id="AgAD")
        message = OutgoingMessage(text="<b>", format=TEXT_FORMAT_HTML, media=[media])
        amended = degrade(
            self.sent(build_message_update(), message), RejectedPart.FORMAT
        )
        photo = {"chat_id": CHAT, "photo": "AgAD", "caption": "<b>"}
        assert amended == BotApiCall(method="sendPhoto", parameters=photo)

    @pytest.mark.parametrize("topic", [0, 5])
    def test_what_cannot_be_edited_is_sent_again(self, topic: int) -> None:
        """With the same text, format and keyboard, into the same topic."""
        message = OutgoingMessage(
            text="<i>new</i>",
            format=TEXT_FORMAT_HTML,
            inline_keyboard=keyboard(OK_BUTTON),
            edit=True,
        )
        expected = {
            "chat_id": CHAT,
            "text": "<i>new</i>",
            "parse_mode": "HTML",
            "reply_markup": OK_MARKUP,
        }
        if topic:
            expected["message_thread_id"] = topic
        edit = self.sent(build_press(topic=topic), message)
        assert degrade(edit, RejectedPart.EDIT) == BotApiCall(
            method="sendMessage", parameters=expected
        )
        # An edit that lost its format first still knows its topic.
        plain = degrade(edit, RejectedPart.FORMAT)
        assert plain is not None
        del expected["parse_mode"]
        assert degrade(plain, RejectedPart.EDIT) == BotApiCall(
            method="sendMessage", parameters=expected
        )

    @pytest.mark.parametrize("fault", [RejectedPart.EDIT, RejectedPart.KEYBOARD])
    def test_an_edit_of_the_keyboard_alone_is_given_up(
        self, fault: RejectedPart
    ) -> None:
        """Without its keyboard it would remove the old one."""
        message = OutgoingMessage(inline_keyboard=keyboard(OK_BUTTON), edit=True)
        assert degrade(self.sent(build_press(), message), fault) is None

    def test_an_inline_message_cannot_be_sent_again(self) -> None:
        """There is no chat to send it to."""
        message = OutgoingMessage(text="new", edit=True)
        assert (
            degrade(self.sent(build_inline_button_press(), message), RejectedPart.EDIT)
            is None
        )

    @pytest.mark.parametrize(
        "fault", [RejectedPart.OTHER, RejectedPart.TOO_LATE, RejectedPart.EDIT]
    )
    def test_other_faults_are_final(self, fault: RejectedPart) -> None:
        """Nothing can be taken out that would help."""
        call = self.sent(build_message_update(), OutgoingMessage(text="Hi"))
        assert degrade(call, fault) is None
