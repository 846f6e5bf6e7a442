"""The kinds of updates of Bot API 10.3 (Bot API: Update)."""

from msgspec import Struct
from msgspec.json import Decoder

from gateway.telegram.content import Message
from gateway.telegram.wire import (
    BusinessConnection,
    ByUser,
    CallbackQuery,
    ChatBoost,
    Edited,
    FromUser,
    Happening,
    InChat,
    Membership,
    Poll,
    PollAnswer,
    Posted,
    RemovedChatBoost,
    StoppedGeneration,
)


class Kind(Struct, frozen=True):
    """What the gateway knows of a kind of update.

    Attributes:
        name: Telegram's name, which is the key in the update.
        decoder: reads what stands under that key.
        exempt: True: never limited and never refused.
        useful_seconds: how long after its arrival an answer is of use. 0: without
            limit.
    """

    name: str
    decoder: Decoder[Happening]
    exempt: bool = False
    useful_seconds: float = 0


def _kind(
    name: str,
    shape: type[Happening],
    *,
    exempt: bool = False,
    useful_seconds: float = 0,
) -> Kind:
    return Kind(name, Decoder(shape), exempt, useful_seconds)


UNKNOWN = _kind("unknown", Happening)
"""A kind that is not in the list. What it holds is never looked at."""

KINDS = {
    kind.name: kind
    for kind in (
        _kind("message", Message),
        _kind("edited_message", Edited),
        _kind("channel_post", Posted),
        _kind("edited_channel_post", Edited),
        _kind("business_connection", BusinessConnection),
        _kind("business_message", Posted),
        _kind("edited_business_message", Edited),
        _kind("deleted_business_messages", InChat),
        _kind("guest_message", Posted),
        _kind("message_reaction", InChat),
        _kind("message_reaction_count", InChat),
        # Telegram itself keeps these three no longer than that.
        _kind("inline_query", FromUser, useful_seconds=30),
        _kind("callback_query", CallbackQuery, useful_seconds=150),
        _kind("shipping_query", FromUser, exempt=True, useful_seconds=150),
        # Bot API: answerPreCheckoutQuery.
        _kind("pre_checkout_query", FromUser, exempt=True, useful_seconds=10),
        _kind("chosen_inline_result", FromUser),
        _kind("purchased_paid_media", FromUser, exempt=True),
        _kind("poll", Poll),
        _kind("poll_answer", PollAnswer),
        _kind("my_chat_member", Membership, exempt=True),
        _kind("chat_member", Membership, exempt=True),
        _kind("chat_join_request", FromUser, exempt=True),
        _kind("chat_boost", ChatBoost),
        _kind("removed_chat_boost", RemovedChatBoost),
        _kind("managed_bot", ByUser),
        _kind("subscription", ByUser, exempt=True),
        _kind("stopped_message_generation", StoppedGeneration, exempt=True),
    )
}
