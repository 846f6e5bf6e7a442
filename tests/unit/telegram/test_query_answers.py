"""Answers to inline, payment, join and guest queries."""

from collections import Counter
from typing import Any

import pytest
from botgateway.chat.v1.context_pb2 import CHAT_TYPE_CHANNEL
from botgateway.chat.v1.reply_pb2 import (
    JOIN_DECISION_APPROVE,
    JOIN_DECISION_DECLINE,
    JOIN_DECISION_UNSPECIFIED,
    LINK_PREVIEW_SIZE_SMALL,
    MEDIA_TYPE_ANIMATION,
    MEDIA_TYPE_AUDIO,
    MEDIA_TYPE_DOCUMENT,
    MEDIA_TYPE_PHOTO,
    MEDIA_TYPE_STICKER,
    MEDIA_TYPE_VIDEO,
    MEDIA_TYPE_VOICE,
    TEXT_FORMAT_HTML,
    InlineAnswer,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    InlineQueryResult,
    JoinDecision,
    LabeledPrice,
    LinkPreviewOptions,
    Media,
    MediaType,
    OutgoingMessage,
    PreCheckoutAnswer,
    Reply,
    ReplyKeyboard,
    ReplyKeyboardButton,
    ReplyKeyboardRow,
    ShippingAnswer,
    ShippingOption,
    TextFormat,
    Upload,
)
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import APOLOGY_TEXT, RejectedPart
from gateway.domain.update import OtherUpdate, Update
from gateway.sandbox.simulator.validation import query_rules
from gateway.telegram.outbound.degrade import degrade
from gateway.telegram.outbound.renderer import render
from tests.factories import build_update

ANNA, FANS = 5510000001, -1002100000077
URL = "https://example.com/a"


def build_query(kind: str, **fields: Any) -> OtherUpdate:  # noqa: ANN401 - any field
    """Build an update of a user who asks something."""
    if kind in {"chat_join_request", "guest_message"}:
        fields["chat_id"] = FANS
    query: dict[str, Any] = {"update_type": kind, "trigger_name": kind, "query_id": "q"}
    return build_update(OtherUpdate, telegram_user_id=ANNA, **query | fields)


def composed(update: Update, reply: Reply) -> tuple[list[BotApiCall], Counter[str]]:
    """Compose a reply; return the calls and what was left out."""
    faults: Counter[str] = Counter()
    calls = render(update, reply, lambda fault: faults.update([fault]))
    return calls, faults


def answer_to(update: Update, reply: Reply) -> dict[str, Any]:
    """Return the parameters of the only call."""
    [call], _ = composed(update, reply)
    return call.parameters


def results_of(
    *results: InlineQueryResult,
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Return the results of an inline query as Telegram gets them."""
    reply = Reply(inline_answer=InlineAnswer(results=results))
    [call], faults = composed(build_query("inline_query"), reply)
    assert call.method == "answerInlineQuery"
    query_rules.results(call.parameters)  # Telegram would take it
    shown: list[dict[str, Any]] = call.parameters["results"]
    return shown, faults


def an_article(
    result_id: str = "1",
    title: str = "title",
    **fields: Any,  # noqa: ANN401 - any field
) -> InlineQueryResult:
    """Make a result that is a text."""
    message = OutgoingMessage(**({"text": "text"} | fields))
    return InlineQueryResult(result_id=result_id, title=title, message=message)


def a_file(kind: "MediaType.ValueType", **fields: Any) -> InlineQueryResult:  # noqa: ANN401 - any field
    """Make a result that is a file with a caption."""
    media = Media(type=kind, **{n: v for n, v in fields.items() if n != "thumb"})
    return InlineQueryResult(
        result_id="1",
        title="title",
        description="more",
        thumbnail_url=fields.get("thumb", ""),
        message=OutgoingMessage(text="caption", media=[media]),
    )


class TestInline:
    """Results of inline queries."""

    def test_an_article_is_sent_as_its_text_with_all_that_belongs_to_it(self) -> None:
        """Format, buttons, preview, description and picture."""
        button = InlineKeyboardButton(text="b", callback_data="d")
        result = an_article(
            text="<b>x</b>",
            format=TEXT_FORMAT_HTML,
            inline_keyboard=InlineKeyboard(rows=[InlineKeyboardRow(buttons=[button])]),
            link_preview_options=LinkPreviewOptions(
                url=URL, size=LINK_PREVIEW_SIZE_SMALL, show_above_text=True
            ),
        )
        result.description, result.thumbnail_url = "more", URL
        [shown], faults = results_of(result)
        assert shown == {
            "id": "1",
            "type": "article",
            "title": "title",
            "description": "more",
            "thumbnail_url": URL,
            "input_message_content": {
                "message_text": "<b>x</b>",
                "parse_mode": "HTML",
                "link_preview_options": {
                    "url": URL,
                    "prefer_small_media": True,
                    "show_above_text": True,
                },
            },
            "reply_markup": {
                "inline_keyboard": [[{"text": "b", "callback_data": "d"}]]
            },
        }
        assert not faults

    def test_a_preview_can_be_switched_off(self) -> None:
        preview = LinkPreviewOptions(is_disabled=True, url=URL)
        [shown], _ = results_of(an_article(link_preview_options=preview))
        options = shown["input_message_content"]["link_preview_options"]
        assert options == {"is_disabled": True}

    @pytest.mark.parametrize(
        ("kind", "fields", "shown"),
        [
            (MEDIA_TYPE_PHOTO, {"file_id": "f"}, {"photo_file_id": "f"}),
            (
                MEDIA_TYPE_PHOTO,
                {"url": URL},
                {"photo_url": URL, "thumbnail_url": URL},
            ),
            (MEDIA_TYPE_DOCUMENT, {"file_id": "f"}, {"document_file_id": "f"}),
            (
                MEDIA_TYPE_DOCUMENT,
                {"url": f"{URL}.pdf?x=1"},
                {"document_url": f"{URL}.pdf?x=1", "mime_type": "application/pdf"},
            ),
            (MEDIA_TYPE_VOICE, {"url": URL}, {"voice_url": URL}),
            (MEDIA_TYPE_VOICE, {"file_id": "f"}, {"voice_file_id": "f"}),
            (MEDIA_TYPE_AUDIO, {"url": URL}, {"audio_url": URL}),
            (MEDIA_TYPE_VIDEO, {"file_id": "f"}, {"video_file_id": "f"}),
            (
                MEDIA_TYPE_VIDEO,
                {"url": URL, "thumb": f"{URL}.jpg"},
                {
                    "video_url": URL,
                    "mime_type": "video/mp4",
                    "thumbnail_url": f"{URL}.jpg",
                },
            ),
            (MEDIA_TYPE_ANIMATION, {"file_id": "f"}, {"mpeg4_file_id": "f"}),
            (
                MEDIA_TYPE_ANIMATION,
                {"url": URL},
                {
                    "mpeg4_url": URL,
                    "thumbnail_url": URL,
                    "thumbnail_mime_type": "video/mp4",
                },
            ),
            (
                MEDIA_TYPE_ANIMATION,
                {"url": f"{URL}.gif", "thumb": URL},
                {"gif_url": f"{URL}.gif", "thumbnail_url": URL},
            ),
        ],
    )
    def test_media_comes_with_what_telegram_needs_for_it(
        self,
        kind: "MediaType.ValueType",
        fields: dict[str, Any],
        shown: dict[str, Any],
    ) -> None:
        """By its id or address, with its caption."""
        [result], faults = results_of(a_file(kind, **fields))
        assert shown.items() <= result.items()
        assert (result["title"], result["caption"]) == ("title", "caption")
        assert not faults

    def test_a_sticker_has_no_words(self) -> None:
        [result], faults = results_of(a_file(MEDIA_TYPE_STICKER, file_id="f"))
        assert result == {"id": "1", "type": "sticker", "sticker_file_id": "f"}
        assert faults == {"result_caption_unsupported": 1}

    @pytest.mark.parametrize("title", ["", "Song"])
    def test_music_by_its_id_has_the_title_of_its_file(self, title: str) -> None:
        """Bot API, InlineQueryResultCachedAudio: there is no other."""
        media = Media(type=MEDIA_TYPE_AUDIO, file_id="f")
        message = OutgoingMessage(text="Listen", media=[media])
        result = InlineQueryResult(result_id="1", title=title, message=message)
        [shown], faults = results_of(result)
        assert shown == {
            "id": "1",
            "type": "audio",
            "audio_file_id": "f",
            "caption": "Listen",
        }
        assert not faults

    @pytest.mark.parametrize(
        ("result", "fault"),
        [
            (an_article(result_id=""), "result_id_invalid"),
            (an_article(result_id="ä" * 33), "result_id_invalid"),
            (an_article(text=" "), "result_empty"),
            (an_article(text="<b> </b>", format=TEXT_FORMAT_HTML), "result_empty"),
            (a_file(MEDIA_TYPE_PHOTO, url="a.jpg"), "result_media_unsupported"),
            (
                a_file(MEDIA_TYPE_VOICE, url="http://localhost/a"),
                "result_media_unsupported",
            ),
            (
                InlineQueryResult(result_id="1", message=OutgoingMessage(text="x")),
                "result_without_title",
            ),
            (an_article(title="\x85"), "result_without_title"),
            (a_file(MEDIA_TYPE_STICKER, url=URL), "result_media_unsupported"),
            (a_file(MEDIA_TYPE_VIDEO, url=URL), "result_media_unsupported"),
            (a_file(MEDIA_TYPE_DOCUMENT, url=URL), "result_media_unsupported"),
            (
                a_file(MEDIA_TYPE_PHOTO, upload=Upload(content=b"x")),
                "result_media_unsupported",
            ),
        ],
    )
    def test_what_telegram_would_refuse_is_left_out(
        self, result: InlineQueryResult, fault: str
    ) -> None:
        """It would take the other results along."""
        shown, faults = results_of(result, an_article("other"))
        assert [each["id"] for each in shown] == ["other"]
        assert faults == {fault: 1}

    @pytest.mark.parametrize(
        ("fields", "fault"),
        [
            (
                {"link_preview_options": LinkPreviewOptions(url="nowhere")},
                "link_preview_url_invalid",
            ),
            ({"remove_keyboard": True}, "remove_keyboard_unsupported_here"),
        ],
    )
    def test_a_bad_part_is_left_out_of_its_result(
        self, fields: dict[str, Any], fault: str
    ) -> None:
        shown, faults = results_of(an_article(**fields))
        assert shown == results_of(an_article())[0]
        assert faults == {fault: 1}

    def test_a_bad_thumbnail_is_left_out_of_its_result(self) -> None:
        """The article is shown without it; a photo is its own."""
        article = an_article()
        article.thumbnail_url = "nowhere"
        photo = a_file(MEDIA_TYPE_PHOTO, url=URL, thumb="nowhere")
        photo.result_id = "2"
        (shown, other), faults = results_of(article, photo)
        assert "thumbnail_url" not in shown
        assert other["thumbnail_url"] == URL
        assert faults == {"thumbnail_url_invalid": 2}

    def test_the_50_best_results_are_shown(self) -> None:
        """More would be refused, and so would the same id twice."""
        shown, faults = results_of(*(an_article(str(n)) for n in range(60)))
        assert [each["id"] for each in shown] == [str(n) for n in range(50)]
        assert faults == {"too_many_results": 1}
        shown, faults = results_of(an_article("1"), an_article("1"))
        assert len(shown) == 1
        assert faults == {"result_id_taken": 1}

    def test_a_text_that_is_too_long_is_cut(self) -> None:
        """A result is one message."""
        [shown], faults = results_of(an_article(text="word " * 1000))
        assert len(shown["input_message_content"]["message_text"]) <= 4096
        assert faults == {"text_too_long": 1}

    def test_offset_and_times_stay_within_telegrams_limits(self) -> None:
        """An unset answer has no results, and is not kept."""
        query = build_query("inline_query")
        assert answer_to(query, Reply()) == {
            "inline_query_id": "q",
            "results": [],
            "cache_time": 0,
        }
        wanted = InlineAnswer(cache_seconds=-1, next_offset="x" * 65)
        [call], faults = composed(query, Reply(inline_answer=wanted))
        assert call.parameters["cache_time"] == 0
        assert "next_offset" not in call.parameters
        assert faults == {"next_offset_too_long": 1}

    def test_a_refused_format_is_taken_out_of_all_results(self) -> None:
        """They are sent as plain text, like any other message."""
        results = [an_article(str(n), format=TEXT_FORMAT_HTML) for n in range(2)]
        reply = Reply(inline_answer=InlineAnswer(results=results))
        [call], _ = composed(build_query("inline_query"), reply)
        amended = degrade(call, RejectedPart.FORMAT)
        assert amended is not None
        assert "parse_mode" not in str(amended.parameters)
        query_rules.results(amended.parameters)
        assert degrade(amended, RejectedPart.FORMAT) is None
        assert degrade(call, RejectedPart.KEYBOARD) is None
        assert degrade(call, RejectedPart.TOPIC) is None


class TestPayments:
    """Pre-checkout and shipping queries."""

    def test_a_payment_goes_on_only_if_the_service_says_so(self) -> None:
        """Unset, or without a reason, it is declined with the apology."""
        query = build_query("pre_checkout_query")
        good = Reply(pre_checkout_answer=PreCheckoutAnswer(ok=True))
        assert answer_to(query, good) == {"pre_checkout_query_id": "q", "ok": True}
        why = PreCheckoutAnswer(error_message="sold out")
        for reply, reason in (
            (Reply(), APOLOGY_TEXT),
            (Reply(pre_checkout_answer=PreCheckoutAnswer()), APOLOGY_TEXT),
            (Reply(pre_checkout_answer=why), "sold out"),
        ):
            parameters = answer_to(query, reply)
            assert (parameters["ok"], parameters["error_message"]) == (False, reason)

    def test_a_parcel_travels_in_the_ways_that_are_whole(self) -> None:
        """Without one the address is declined."""
        query = build_query("shipping_query")
        price = LabeledPrice(label="post", amount=-5)
        good = ShippingOption(option_id="p", title="Post", prices=[price])
        bad = ShippingOption(option_id="b", title="Boat")
        reply = Reply(shipping_answer=ShippingAnswer(options=[good, bad]))
        [call], faults = composed(query, reply)
        query_rules.shipping(call.parameters)
        assert call.parameters["shipping_options"] == [
            {
                "id": "p",
                "title": "Post",
                "prices": [{"label": "post", "amount": -5}],
            }
        ]
        assert faults == {"shipping_option_incomplete": 1}
        for answer, reason in (
            (ShippingAnswer(options=[bad]), APOLOGY_TEXT),
            (ShippingAnswer(error_message="too far"), "too far"),
        ):
            parameters = answer_to(query, Reply(shipping_answer=answer))
            assert (parameters["ok"], parameters["error_message"]) == (False, reason)

    def test_messages_go_to_the_private_chat(self) -> None:
        """A query has no chat of its own."""
        query = build_query("pre_checkout_query", reply_chat_id=ANNA)
        reply = Reply(messages=[OutgoingMessage(text="Thank you")])
        (_, message), _ = composed(query, reply)
        assert message.parameters == {"chat_id": ANNA, "text": "Thank you"}

    @pytest.mark.parametrize("kind", ["pre_checkout_query", "chat_join_request"])
    def test_the_private_chat_has_all_that_private_chats_have(self, kind: str) -> None:
        """Whatever the chat is that the update is from."""
        query = build_query(kind, reply_chat_id=ANNA)
        query.context.chat_type = CHAT_TYPE_CHANNEL
        app = InlineKeyboardButton(text="b", web_app_url="https://example.com")
        number = ReplyKeyboardButton(text="n", request_contact=True)
        reply = Reply(
            messages=[
                OutgoingMessage(
                    text="one",
                    inline_keyboard=InlineKeyboard(
                        rows=[InlineKeyboardRow(buttons=[app])]
                    ),
                ),
                OutgoingMessage(
                    text="two",
                    reply_keyboard=ReplyKeyboard(
                        rows=[ReplyKeyboardRow(buttons=[number])]
                    ),
                ),
            ]
        )
        (_, one, two), faults = composed(query, reply)
        assert "inline_keyboard" in one.parameters["reply_markup"]
        assert "keyboard" in two.parameters["reply_markup"]
        assert not faults


class TestJoining:
    """Requests to join."""

    @pytest.mark.parametrize(
        ("decision", "word", "method"),
        [
            (JOIN_DECISION_APPROVE, "approve", "approveChatJoinRequest"),
            (JOIN_DECISION_DECLINE, "decline", "declineChatJoinRequest"),
            (JOIN_DECISION_UNSPECIFIED, "queue", ""),
        ],
    )
    def test_a_decision_goes_the_way_that_the_request_came(
        self, decision: "JoinDecision.ValueType", word: str, method: str
    ) -> None:
        """With a query it is answered, without one it is made; or left to others."""
        reply = Reply(join_decision=decision)
        assert answer_to(build_query("chat_join_request"), reply) == {
            "chat_join_request_query_id": "q",
            "result": word,
        }
        calls, _ = composed(build_query("chat_join_request", query_id=None), reply)
        assert [(call.method, call.parameters) for call in calls] == (
            [(method, {"chat_id": FANS, "user_id": ANNA})] if method else []
        )


class TestGuests:
    """Messages in chats that the bot is not in."""

    def test_a_guest_gets_the_first_message_with_its_keyboard(self) -> None:
        """What follows has no chat to go to."""
        button = InlineKeyboardButton(text="b", callback_data="d")
        first = OutgoingMessage(
            text="one",
            inline_keyboard=InlineKeyboard(rows=[InlineKeyboardRow(buttons=[button])]),
        )
        reply = Reply(messages=[first, OutgoingMessage(text="two")])
        [call], faults = composed(build_query("guest_message"), reply)
        assert call.method == "answerGuestQuery"
        query_rules.guest_result(call.parameters)
        assert "reply_markup" in call.parameters["result"]
        assert faults == {"no_chat": 1}

    def test_a_guest_gets_the_text_of_a_file_that_cannot_be_a_result(self) -> None:
        """What cannot be shown is left out; the rest arrives."""
        file = Media(type=MEDIA_TYPE_PHOTO, upload=Upload(content=b"x"))
        reply = Reply(messages=[OutgoingMessage(text="one", media=[file])])
        [call], faults = composed(build_query("guest_message"), reply)
        query_rules.guest_result(call.parameters)
        content = call.parameters["result"]["input_message_content"]
        assert content == {"message_text": "one"}
        assert faults == {"result_media_unsupported": 1}

    def test_silence_is_an_answer_too(self) -> None:
        """And without a query there is none."""
        assert composed(build_query("guest_message"), Reply())[0] == []
        reply = Reply(messages=[OutgoingMessage(text="one")])
        calls, faults = composed(build_query("guest_message", query_id=None), reply)
        assert (calls, faults) == ([], {"no_chat": 1})


TEXTS = st.text(max_size=40) | st.sampled_from(["", " ", "<b>x", "x" * 5000, URL])
ADDRESSES = st.sampled_from(
    ["", URL, f"{URL}.gif", f"{URL}.zip", f"{URL}.pdf", "a.jpg", "ftp://a.b/c.gif"]
)
MEDIA = st.builds(
    Media,
    type=st.sampled_from(MediaType.values()),
    file_id=st.sampled_from(["", "f"]),
) | st.builds(Media, type=st.sampled_from(MediaType.values()), url=ADDRESSES)
RESULTS = st.builds(
    InlineQueryResult,
    result_id=TEXTS,
    title=TEXTS,
    description=TEXTS,
    thumbnail_url=ADDRESSES,
    message=st.builds(
        OutgoingMessage,
        text=TEXTS,
        format=st.sampled_from(TextFormat.values()[:1]),
        media=st.lists(MEDIA, max_size=2),
    ),
)


@given(st.lists(RESULTS, max_size=60))
def test_no_results_are_refused_whatever_a_service_gives(
    results: list[InlineQueryResult],
) -> None:
    """What Telegram refuses of one result would leave the user without any."""
    results_of(*results)
