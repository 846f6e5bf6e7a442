"""What the gateway says of its own accord, in the way that fits the update."""

from typing import Any

import pytest
from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.chat.v1.reply_pb2 import (
    CallbackAnswer,
    OutgoingMessage,
    PreCheckoutAnswer,
    Reply,
    ShippingAnswer,
)

from gateway.actors.replies.user_notices import (
    BUSY_TEXT,
    build_error_reply,
    build_notice,
)
from gateway.domain.errors import APOLOGY_TEXT, ServiceFailed
from gateway.domain.update import (
    ButtonPress,
    OtherUpdate,
    Update,
    UpdateBase,
    UserMessage,
)

SAID = Reply(messages=[OutgoingMessage(text="sorry")])


def an_update(kind: str) -> Update:
    """Make an update of a kind."""
    common: dict[str, Any] = {
        "update_id": 1,
        "update_type": kind,
        "ordering_key": "7",
        "context": RequestContext(),
    }
    match kind:
        case "message":
            return UserMessage(**common, message=IncomingMessage(text="hi"))
        case "callback_query":
            return ButtonPress(**common, callback_query_id="9")
        case _:
            return OtherUpdate(**common, trigger_name=kind)


@pytest.mark.parametrize(
    ("update", "reply"),
    [
        (an_update("message"), SAID),
        (an_update("guest_message"), SAID),
        (
            an_update("callback_query"),
            Reply(callback_answer=CallbackAnswer(text="sorry")),
        ),
        (
            an_update("pre_checkout_query"),
            Reply(pre_checkout_answer=PreCheckoutAnswer(error_message="sorry")),
        ),
        (
            an_update("shipping_query"),
            Reply(shipping_answer=ShippingAnswer(error_message="sorry")),
        ),
        (an_update("inline_query"), Reply()),
        (an_update("edited_message"), Reply()),
        (an_update("channel_post"), Reply()),
        (an_update("business_message"), Reply()),
        (an_update("chat_join_request"), Reply()),
        (an_update("unknown"), Reply()),
    ],
    ids=lambda part: part.update_type if isinstance(part, UpdateBase) else "",
)
def test_only_who_spoke_to_the_bot_is_told(update: Update, reply: Reply) -> None:
    """In the field of the reply that Telegram shows there."""
    assert build_notice(update, "sorry") == reply


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, APOLOGY_TEXT),
        (0.2, BUSY_TEXT.format(time="a second")),
        (30.5, BUSY_TEXT.format(time="31 seconds")),
        (91, BUSY_TEXT.format(time="2 minutes")),
        (5401, BUSY_TEXT.format(time="2 hours")),
        (48 * 3600, BUSY_TEXT.format(time="48 hours")),
        (1e12, APOLOGY_TEXT),
    ],
)
def test_a_user_is_told_when_to_come_back(seconds: float, words: str) -> None:
    """As people say it; what no service can mean is left out."""
    reply = build_error_reply(
        an_update("message"), ServiceFailed("text: RESOURCE_EXHAUSTED", "", seconds)
    )
    assert [message.text for message in reply.messages] == [words]
