"""How messages are sent: answers, silence, protection, previews, accounts."""

from typing import Any

import pytest
from botgateway.chat.v1.reply_pb2 import (
    LINK_PREVIEW_SIZE_LARGE,
    LINK_PREVIEW_SIZE_SMALL,
    LinkPreviewOptions,
    Media,
    OutgoingMessage,
    Reply,
)

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import CallRejected, RejectedPart
from gateway.domain.update import Update
from gateway.telegram.bot_api.responses import build_error, parse_response
from gateway.telegram.outbound.degrade import degrade
from gateway.telegram.outbound.renderer import render
from tests.factories import build_inline_button_press
from tests.unit.telegram.rendering import (
    CHAT,
    build_message_update,
    build_press,
    composed,
)

ANSWER = {"message_id": 9, "allow_sending_without_reply": True}
OFF = {"is_disabled": True}
LONG = "x" * 4096 + "y"


def sent(message: OutgoingMessage, update: Update | None = None) -> list[Any]:
    """Return the parameters of all calls but the answer to a button."""
    calls, _ = composed(update or build_message_update(), message)
    return [parameters for method, parameters in calls if method[:3] != "ans"]


def test_silence_and_protection_hold_for_all_parts() -> None:
    """Also for media, and for the text behind it."""
    options = {"disable_notification": True, "protect_content": True}
    for message in (
        OutgoingMessage(text=LONG, disable_notification=True, protect_content=True),
        OutgoingMessage(
            text=LONG,
            media=[Media(file_id="A")],
            disable_notification=True,
            protect_content=True,
        ),
    ):
        for parameters in sent(message):
            assert options.items() <= parameters.items()


def test_only_the_first_part_answers_a_message() -> None:
    """It is sent also where that message is gone."""
    for message in (
        OutgoingMessage(text=LONG, reply_to_message_id=9),
        OutgoingMessage(text=LONG, media=[Media(file_id="A")], reply_to_message_id=9),
    ):
        first, *others = sent(message)
        assert first["reply_parameters"] == ANSWER
        assert others
        assert not any("reply_parameters" in each for each in others)


def test_every_message_says_itself_what_it_answers() -> None:
    """What one has, the next one does not inherit."""
    calls, _ = composed(
        build_message_update(),
        OutgoingMessage(text="a", reply_to_message_id=9, disable_notification=True),
        OutgoingMessage(text="b"),
    )
    assert calls[1] == ("sendMessage", {"chat_id": CHAT, "text": "b"})


@pytest.mark.parametrize("number", [-1, 0, 2**31])
def test_a_number_that_no_message_has_is_left_out(number: int) -> None:
    message = OutgoingMessage(text="a", reply_to_message_id=number)
    calls, reported = composed(build_message_update(), message)
    assert calls == [("sendMessage", {"chat_id": CHAT, "text": "a"})]
    assert reported == ["reply_to_message_id_invalid"]


@pytest.mark.parametrize(
    ("preview", "expected"),
    [
        (LinkPreviewOptions(), None),
        (LinkPreviewOptions(is_disabled=True), OFF),
        (
            LinkPreviewOptions(size=LINK_PREVIEW_SIZE_SMALL),
            {"prefer_small_media": True},
        ),
        (
            LinkPreviewOptions(size=LINK_PREVIEW_SIZE_LARGE),
            {"prefer_large_media": True},
        ),
        (LinkPreviewOptions(show_above_text=True), {"show_above_text": True}),
        (LinkPreviewOptions(url="https://a.org/"), {"url": "https://a.org/"}),
    ],
)
def test_each_choice_of_a_preview_has_its_parameter(
    preview: LinkPreviewOptions, expected: dict[str, Any] | None
) -> None:
    message = OutgoingMessage(text="a", link_preview_options=preview)
    assert sent(message)[0].get("link_preview_options") == expected
    message.edit = True
    (edited,) = sent(message, build_press())
    assert edited["message_id"] == 12
    assert edited.get("link_preview_options") == expected


def test_a_link_is_previewed_once() -> None:
    """Below the last part of a long text, or above its first one."""
    message = OutgoingMessage(
        text=LONG, link_preview_options=LinkPreviewOptions(url="https://a.org")
    )
    shown = [each["link_preview_options"] for each in sent(message)]
    assert shown == [OFF, {"url": "https://a.org"}]
    message.link_preview_options.show_above_text = True
    shown = [each["link_preview_options"] for each in sent(message)]
    assert shown == [{"url": "https://a.org", "show_above_text": True}, OFF]


def test_what_is_sent_nowhere_has_no_preview() -> None:
    """An inline message was pressed, and there is no chat for a new one."""
    preview = LinkPreviewOptions(url="https://a.org")
    message = OutgoingMessage(text="a", link_preview_options=preview)
    calls, reported = composed(build_inline_button_press(), message)
    assert (len(calls), reported) == (1, ["no_chat"])


def test_a_link_that_is_none_is_left_out() -> None:
    preview = LinkPreviewOptions(url="nonsense", show_above_text=True)
    message = OutgoingMessage(text="a", link_preview_options=preview)
    calls, reported = composed(build_message_update(), message)
    assert calls[0][1]["link_preview_options"] == {"show_above_text": True}
    assert reported == ["link_preview_url_invalid"]


def business(update: Update) -> Update:
    """Let the update come through a business account."""
    update.context.business_connection_id = "b-1"
    return update


def test_everything_goes_through_the_business_account() -> None:
    """Texts, media and edits; an inline message belongs to no account."""
    message = OutgoingMessage(text=LONG, media=[Media(file_id="A")])
    for parameters in sent(message, business(build_message_update(topic=5))):
        assert parameters["business_connection_id"] == "b-1"
        assert parameters["message_thread_id"] == 5
    edit = OutgoingMessage(text=LONG, edit=True)
    for parameters in sent(edit, business(build_press())):
        assert parameters["business_connection_id"] == "b-1"
    calls, _ = composed(business(build_press()))
    assert calls == [("answerCallbackQuery", {"callback_query_id": "77"})]
    (parameters,) = sent(
        OutgoingMessage(text="a", edit=True), business(build_inline_button_press())
    )
    assert "business_connection_id" not in parameters


def test_an_edit_takes_none_of_it_and_its_substitute_all() -> None:
    """A message in the place of one that cannot be edited is sent as was asked."""
    message = OutgoingMessage(
        text="a",
        edit=True,
        disable_notification=True,
        protect_content=True,
        reply_to_message_id=9,
    )
    reply = Reply(messages=[message])
    edit = render(business(build_press(topic=5)), reply, lambda _: None)[-1]
    place = {"chat_id": CHAT, "business_connection_id": "b-1", "text": "a"}
    assert edit.parameters == {**place, "message_id": 12}
    assert degrade(edit, RejectedPart.EDIT) == BotApiCall(
        method="sendMessage",
        parameters={
            **place,
            "message_thread_id": 5,
            "disable_notification": True,
            "protect_content": True,
            "reply_parameters": ANSWER,
        },
    )


def test_a_message_that_is_gone_is_not_answered() -> None:
    """In another topic Telegram refuses the answer in spite of what was asked."""
    said = b'{"ok":false,"error_code":400,"description":'
    said += b'"Bad Request: message to be replied not found"}'
    error = build_error("sendMessage", parse_response(400, "", said))
    assert isinstance(error, CallRejected)
    reply = Reply(messages=[OutgoingMessage(text="a", reply_to_message_id=9)])
    (call,) = render(build_message_update(), reply, lambda _: None)
    amended = degrade(call, error.part)
    assert amended is not None
    assert amended.parameters == {"chat_id": CHAT, "text": "a"}
