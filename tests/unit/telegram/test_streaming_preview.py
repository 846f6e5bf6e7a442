"""An answer in Telegram while it is still being written."""

from typing import Any

import pytest
from botgateway.chat.v1.context_pb2 import (
    CHAT_TYPE_PRIVATE,
    CHAT_TYPE_SUPERGROUP,
    RequestContext,
)
from botgateway.chat.v1.reply_pb2 import (
    CallbackAnswer,
    ForceReply,
    Media,
    OutgoingMessage,
    Reply,
)
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import BotApiUnavailable, CallRejected, RejectedPart
from gateway.domain.reply_limits import MAX_TEXT_LENGTH
from gateway.domain.update import ButtonPress, OtherUpdate, Update, UserMessage
from gateway.telegram.outbound.renderer import render
from gateway.telegram.outbound.streaming_preview import (
    DRAFT_INTERVAL_SECONDS,
    EDIT_INTERVAL_SECONDS,
    FINAL_PATIENCE_SECONDS,
    SLOW_EDIT_INTERVAL_SECONDS,
    TelegramPreview,
)
from gateway.telegram.outbound.text_splitting import count_utf16_units
from tests.factories import build_update

PRIVATE = RequestContext(chat_id=7, chat_type=CHAT_TYPE_PRIVATE)
GROUP = RequestContext(
    chat_id=-100, chat_type=CHAT_TYPE_SUPERGROUP, message_thread_id=3
)
BUSINESS = RequestContext(
    chat_id=7, chat_type=CHAT_TYPE_PRIVATE, business_connection_id="b"
)


class Telegram:
    """Takes calls, and refuses as told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.errors: dict[str, Exception] = {}

    async def attempt(self, method: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - as the real one
        """Take a call."""
        self.calls.append((method, parameters))
        if method in self.errors:
            raise self.errors[method]
        return {"message_id": 50} if method == "sendMessage" else True

    def preview(self, context: RequestContext, **fields: Any) -> TelegramPreview:  # noqa: ANN401 - fields of Update
        """Return the preview of an answer."""
        update: Update
        if "callback_query_id" in fields:
            update = build_update(ButtonPress, update_id=11, **fields)
        elif fields.keys() & {"reply_chat_id", "trigger_name"}:
            update = build_update(OtherUpdate, update_id=11, **fields)
        else:
            update = build_update(UserMessage, update_id=11, **fields)
        update = structs.replace(update, context=context)
        return TelegramPreview(update, self.attempt, _compose)


def _compose(
    update: Update,
    reply: Reply,
    *,
    edited_message_id: int | None = None,
    is_press_answered: bool = False,
) -> list[BotApiCall]:
    return render(
        update,
        reply,
        pytest.fail,
        edited_message_id=edited_message_id,
        is_press_answered=is_press_answered,
    )


def say(text: str, **fields: Any) -> Reply:  # noqa: ANN401 - fields of OutgoingMessage
    """Make a reply of one message."""
    return Reply(messages=[OutgoingMessage(text=text, **fields)])


@pytest.fixture
def telegram() -> Telegram:
    return Telegram()


async def test_a_private_chat_gets_drafts_that_can_be_stopped(
    telegram: Telegram,
) -> None:
    """Always the same draft, which is that of the update, and then a message."""
    preview = telegram.preview(PRIVATE)
    await preview.show("one")
    await preview.show("one two")
    assert preview.min_interval == DRAFT_INTERVAL_SECONDS
    draft = {"chat_id": 7, "draft_id": 11, "can_stop": True, "keep_on_stop": True}
    assert telegram.calls == [
        ("sendMessageDraft", {**draft, "text": "one"}),
        ("sendMessageDraft", {**draft, "text": "one two"}),
    ]
    [call] = preview.finalize(say("whole"))
    assert call.method == "sendMessage"
    assert call.parameters == {"chat_id": 7, "text": "whole"}


async def test_a_group_gets_a_message_that_is_edited(telegram: Telegram) -> None:
    """In its topic; the whole answer takes its place."""
    preview = telegram.preview(GROUP)
    await preview.show("one")
    await preview.show("one two")
    assert preview.min_interval == EDIT_INTERVAL_SECONDS
    assert telegram.calls == [
        ("sendMessage", {"chat_id": -100, "message_thread_id": 3, "text": "one"}),
        ("editMessageText", {"chat_id": -100, "message_id": 50, "text": "one two"}),
    ]
    first, second = preview.finalize(
        Reply(messages=[OutgoingMessage(text="whole"), OutgoingMessage(text="more")])
    )
    assert (first.method, first.parameters["message_id"]) == ("editMessageText", 50)
    assert (second.method, second.parameters["text"]) == ("sendMessage", "more")


async def test_an_ephemeral_message_has_no_preview(telegram: Telegram) -> None:
    """It cannot be edited as others are; the whole answer is sent at the end."""
    context = RequestContext(
        chat_id=-100, chat_type=CHAT_TYPE_SUPERGROUP, telegram_user_id=7
    )
    preview = telegram.preview(context, ephemeral_message_id=8)
    await preview.show("one")
    assert telegram.calls == []
    (call,) = preview.finalize(say("whole"))
    assert "ephemeral_message_parameters" in call.parameters


async def test_a_preview_in_direct_messages_stays_in_its_topic(
    telegram: Telegram,
) -> None:
    context = RequestContext(
        chat_id=-100, chat_type=CHAT_TYPE_SUPERGROUP, direct_messages_topic_id=77
    )
    preview = telegram.preview(context)
    await preview.show("one")
    await preview.show("one two")
    assert telegram.calls == [
        (
            "sendMessage",
            {"chat_id": -100, "direct_messages_topic_id": 77, "text": "one"},
        ),
        ("editMessageText", {"chat_id": -100, "message_id": 50, "text": "one two"}),
    ]


@pytest.mark.parametrize(
    ("context", "slower"),
    [(GROUP, SLOW_EDIT_INTERVAL_SECONDS), (BUSINESS, EDIT_INTERVAL_SECONDS)],
)
async def test_in_a_group_a_long_answer_is_edited_less_often(
    telegram: Telegram, context: RequestContext, slower: float
) -> None:
    """Else it would earn a 429, and the whole answer would wait for that."""
    preview = telegram.preview(context)
    paces = []
    for number in range(8):
        await preview.show(f"text {number}")
        paces.append(preview.min_interval)
    assert paces == [EDIT_INTERVAL_SECONDS] * 5 + [slower] * 3


async def test_a_message_that_shows_the_text_already_is_left_alone(
    telegram: Telegram,
) -> None:
    """Only drafts have to be shown again; an edit counts, also for nothing."""
    preview = telegram.preview(GROUP)
    for text in ("one", "one", "one two", "one two"):
        await preview.show(text)
    methods = [method for method, _ in telegram.calls]
    assert methods == ["sendMessage", "editMessageText"]


async def test_where_drafts_are_refused_a_message_is_edited(
    telegram: Telegram,
) -> None:
    telegram.errors["sendMessageDraft"] = CallRejected("x", 400, RejectedPart.OTHER)
    preview = telegram.preview(PRIVATE)
    await preview.show("one")
    await preview.show("two")
    methods = [method for method, _ in telegram.calls]
    assert methods == ["sendMessageDraft", "sendMessage", "editMessageText"]
    assert preview.min_interval == EDIT_INTERVAL_SECONDS


async def test_a_draft_that_only_came_too_often_is_tried_again(
    telegram: Telegram,
) -> None:
    """A 429 does not turn drafts into edits, which would earn more of them."""
    telegram.errors["sendMessageDraft"] = BotApiUnavailable("429", 3)
    preview = telegram.preview(PRIVATE)
    for _ in range(2):
        with pytest.raises(BotApiUnavailable):
            await preview.show("one")
    assert {method for method, _ in telegram.calls} == {"sendMessageDraft"}


async def test_a_business_chat_has_no_drafts(telegram: Telegram) -> None:
    """The Bot API has no such parameter; messages go through the connection."""
    preview = telegram.preview(BUSINESS)
    await preview.show("one")
    await preview.show("two")
    assert [
        (method, call["business_connection_id"]) for method, call in telegram.calls
    ] == [
        ("sendMessage", "b"),
        ("editMessageText", "b"),
    ]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(),
        say("caption", media=[Media(file_id="f")]),
        say("now", force_reply=ForceReply()),
        say("instead of the button's message", edit=True),
        say("not to be forwarded", protect_content=True),
    ],
    ids=["nothing", "media", "force reply", "an edit of another message", "protected"],
)
async def test_an_answer_that_fits_no_edit_replaces_the_message(
    telegram: Telegram, reply: Reply
) -> None:
    """The answer comes as it is; only then the message that showed the text goes."""
    preview = telegram.preview(GROUP)
    await preview.show("one")
    *others, last = preview.finalize(reply)
    assert last.method == "deleteMessage"
    assert last.parameters == {"chat_id": -100, "message_id": 50}
    assert len(others) == len(reply.messages)
    assert all(call.method.startswith("send") for call in others)


async def test_a_pressed_button_is_answered_before_its_text_is_shown(
    telegram: Telegram,
) -> None:
    """Its spinner would turn for as long as the answer is written."""
    preview = telegram.preview(PRIVATE, callback_query_id="q")
    await preview.show("one")
    await preview.show("two")
    methods = [method for method, _ in telegram.calls]
    assert methods == ["answerCallbackQuery", "sendMessageDraft", "sendMessageDraft"]
    assert [call.method for call in preview.finalize(say("whole"))] == ["sendMessage"]


async def test_words_for_a_press_that_was_answered_follow_as_a_message(
    telegram: Telegram,
) -> None:
    """Such as why the text breaks off: a press is answered once."""
    preview = telegram.preview(PRIVATE, callback_query_id="q")
    await preview.show("half of")
    reply = say("half of")
    reply.callback_answer.text = "Please try again."
    calls = preview.finalize(reply)
    assert [call.parameters["text"] for call in calls] == [
        "half of",
        reply.callback_answer.text,
    ]
    assert {call.method for call in calls} == {"sendMessage"}


async def test_a_press_whose_text_nobody_sees_is_answered_at_the_end(
    telegram: Telegram,
) -> None:
    """Under an inline message there is no chat: the answer is all there is."""
    preview = telegram.preview(
        RequestContext(), callback_query_id="q", inline_message_id="i"
    )
    await preview.show("one")
    reply = Reply(callback_answer=CallbackAnswer(text="done"))
    [call] = preview.finalize(reply)
    assert call.parameters == {"callback_query_id": "q", "text": "done"}


async def test_the_message_of_the_button_is_edited_all_the_same(
    telegram: Telegram,
) -> None:
    """By any message of the reply that says so; the preview is another message."""
    preview = telegram.preview(GROUP, callback_query_id="q", message_id=40)
    await preview.show("one")
    edit = OutgoingMessage(text="instead", edit=True)
    reply = Reply(messages=[OutgoingMessage(text="whole"), edit])
    made = [
        (call.method, call.parameters.get("message_id"))
        for call in preview.finalize(reply)
    ]
    assert made == [
        ("sendMessage", None),
        ("editMessageText", 40),
        ("deleteMessage", 50),
    ]


async def test_a_spinner_that_ended_by_itself_does_not_keep_the_text_back(
    telegram: Telegram,
) -> None:
    """A query is too old after a while."""
    telegram.errors["answerCallbackQuery"] = CallRejected(
        "x", 400, RejectedPart.TOO_LATE
    )
    await telegram.preview(PRIVATE, callback_query_id="q").show("one")
    assert telegram.calls[-1][0] == "sendMessageDraft"


async def test_the_complete_answer_waits_out_what_its_edits_earned(
    telegram: Telegram,
) -> None:
    """Minutes, where another message would be given up."""
    preview = telegram.preview(GROUP)
    await preview.show("one")
    assert {call.min_patience for call in preview.finalize(say("whole"))} == {
        FINAL_PATIENCE_SECONDS
    }


async def test_a_pressed_button_whose_text_was_never_shown_is_answered_at_the_end(
    telegram: Telegram,
) -> None:
    preview = telegram.preview(PRIVATE, callback_query_id="q")
    reply = Reply(callback_answer=CallbackAnswer(text="done"))
    assert [call.method for call in preview.finalize(reply)] == ["answerCallbackQuery"]


@pytest.mark.parametrize("text", ["", " \n"])
async def test_a_text_without_a_visible_character_is_not_shown(
    telegram: Telegram, text: str
) -> None:
    """Telegram would refuse the message."""
    await telegram.preview(GROUP).show(text)
    assert telegram.calls == []


@given(st.integers(1, 40), st.sampled_from([PRIVATE, GROUP]))
async def test_a_long_text_is_shown_by_its_last_part(
    paragraphs: int, context: RequestContext
) -> None:
    """As far as Telegram takes it: what is being written now is what one reads."""
    text = "\n\n".join(f"{number} " + "wörd 👍 " * 60 for number in range(paragraphs))
    telegram = Telegram()
    await telegram.preview(context).show(text)
    [(_, parameters)] = telegram.calls
    assert count_utf16_units(parameters["text"]) <= MAX_TEXT_LENGTH
    assert text.strip().endswith(parameters["text"].strip())


@pytest.mark.parametrize(
    ("context", "fields"),
    [
        (GROUP, {"reply_chat_id": 7}),
        (GROUP, {"trigger_name": "guest_message"}),
        (RequestContext(), {}),
    ],
    ids=["a request to join", "a guest's chat", "no chat"],
)
async def test_nothing_is_shown_where_the_answer_does_not_go(
    context: RequestContext, fields: dict[str, Any]
) -> None:
    """A group does not read what is meant for one user."""
    telegram = Telegram()
    await telegram.preview(context, **fields).show("some text")
    assert telegram.calls == []


async def test_a_message_that_may_have_arrived_is_not_sent_again(
    telegram: Telegram,
) -> None:
    """Nobody could take the first one away any more."""
    telegram.errors["sendMessage"] = BotApiUnavailable("no answer")
    preview = telegram.preview(GROUP)
    with pytest.raises(BotApiUnavailable):
        await preview.show("one")
    await preview.show("one two")
    assert [method for method, _ in telegram.calls] == ["sendMessage"]


async def test_a_message_that_came_too_early_is_sent_later(telegram: Telegram) -> None:
    """After a 429 it has not arrived for sure."""
    telegram.errors["sendMessage"] = BotApiUnavailable("429", 3)
    preview = telegram.preview(GROUP)
    with pytest.raises(BotApiUnavailable):
        await preview.show("one")
    del telegram.errors["sendMessage"]
    await preview.show("one two")
    assert telegram.calls[-1][1]["text"] == "one two"


async def test_in_a_business_chat_the_message_goes_by_a_method_of_its_own(
    telegram: Telegram,
) -> None:
    """Bot API: deleteMessage knows no connection."""
    preview = telegram.preview(BUSINESS)
    await preview.show("one")
    *_, gone = preview.finalize(say("caption", media=[Media(file_id="f")]))
    assert gone.method == "deleteBusinessMessages"
    assert gone.parameters == {"business_connection_id": "b", "message_ids": [50]}


async def test_a_spinner_goes_on_until_there_is_something_to_see(
    telegram: Telegram,
) -> None:
    """Till then it may still be answered with a text."""
    preview = telegram.preview(PRIVATE, callback_query_id="q")
    await preview.show("\n")
    reply = Reply(callback_answer=CallbackAnswer(text="sorry"))
    [call] = preview.finalize(reply)
    assert call.parameters == {"callback_query_id": "q", "text": "sorry"}
