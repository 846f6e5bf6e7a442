"""What the gateway says of its own accord, in the way that fits the update."""

import pytest
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
from tests.factories import build_update

SAID = Reply(messages=[OutgoingMessage(text="sorry")])


def build(kind: str) -> Update:
    """Build an update of a kind."""
    match kind:
        case "message":
            return build_update(UserMessage)
        case "callback_query":
            return build_update(ButtonPress)
        case _:
            return build_update(OtherUpdate, update_type=kind, trigger_name=kind)


@pytest.mark.parametrize(
    ("update", "reply"),
    [
        (build("message"), SAID),
        (build("guest_message"), SAID),
        (
            build("callback_query"),
            Reply(callback_answer=CallbackAnswer(text="sorry")),
        ),
        (
            build("pre_checkout_query"),
            Reply(pre_checkout_answer=PreCheckoutAnswer(error_message="sorry")),
        ),
        (
            build("shipping_query"),
            Reply(shipping_answer=ShippingAnswer(error_message="sorry")),
        ),
        (build("inline_query"), Reply()),
        (build("edited_message"), Reply()),
        (build("channel_post"), Reply()),
        (build("business_message"), Reply()),
        (build("chat_join_request"), Reply()),
        (build("unknown"), Reply()),
    ],
    ids=lambda part: part.update_type if isinstance(part, UpdateBase) else "",
)
def test_only_who_spoke_to_the_bot_is_reported(update: Update, reply: Reply) -> None:
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
        build("message"), ServiceFailed("text: RESOURCE_EXHAUSTED", "", seconds)
    )
    assert [message.text for message in reply.messages] == [words]
