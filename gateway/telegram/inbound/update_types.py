"""The kinds of updates of Bot API 10.3 (Bot API: Update)."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from gateway.telegram.inbound.content import Message
from gateway.telegram.inbound.headers import (
    BusinessConnection,
    ByUser,
    ChatBoost,
    DeletedMessages,
    Guess,
    JoinRequest,
    Membership,
    PaymentQuery,
    Poll,
    PollAnswer,
    Purchase,
    Query,
    ReactionChange,
    ReactionCount,
    RemovedChatBoost,
    StoppedGeneration,
    Subscription,
)
from gateway.telegram.inbound.schema import (
    CallbackQuery,
    Edited,
    FromUser,
    GuestMessage,
    Happening,
    Posted,
)
from gateway.telegram.inbound.service_contents import (
    GAME,
    NAMED_ATTACHMENTS,
    SERVICE_CONTENTS,
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


ON_REQUEST = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
"""Kinds that Telegram does not send unless it is asked to (Bot API: setWebhook)."""


def _kind(
    name: str,
    shape: type[Happening],
    *,
    exempt: bool = False,
    useful_seconds: float = 0,
) -> Kind:
    return Kind(name, Decoder(shape), exempt, useful_seconds)


UNKNOWN = _kind("unknown", Guess)
"""A kind that is not in the list."""

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
        _kind("deleted_business_messages", DeletedMessages),
        _kind("guest_message", GuestMessage),
        _kind("message_reaction", ReactionChange),
        _kind("message_reaction_count", ReactionCount),
        # Telegram itself keeps these three no longer than that.
        _kind("inline_query", Query, useful_seconds=30),
        _kind("callback_query", CallbackQuery, useful_seconds=150),
        _kind("shipping_query", PaymentQuery, exempt=True, useful_seconds=150),
        # Bot API: answerPreCheckoutQuery.
        _kind("pre_checkout_query", PaymentQuery, exempt=True, useful_seconds=10),
        _kind("chosen_inline_result", FromUser),
        _kind("purchased_paid_media", Purchase, exempt=True),
        _kind("poll", Poll),
        _kind("poll_answer", PollAnswer),
        _kind("my_chat_member", Membership, exempt=True),
        _kind("chat_member", Membership, exempt=True),
        _kind("chat_join_request", JoinRequest, exempt=True),
        _kind("chat_boost", ChatBoost),
        _kind("removed_chat_boost", RemovedChatBoost),
        _kind("managed_bot", ByUser),
        _kind("subscription", Subscription, exempt=True),
        _kind("stopped_message_generation", StoppedGeneration, exempt=True),
    )
}


def allowed_updates(routed: Iterable[str]) -> list[str]:
    """Give what setWebhook has to ask for, so that every route gets its updates.

    Args:
        routed: the kinds that routes name.

    Returns:
        Nothing, which is the default, as long as that is enough: a list of names
        leaves out the kinds that Telegram invents later. Contents of messages and
        pressed buttons come with those and are not named.
    """
    wanted = ON_REQUEST.intersection(routed)
    if not wanted:
        return []
    named = set(routed) - SERVICE_CONTENTS.union(NAMED_ATTACHMENTS, [GAME])
    return sorted((KINDS.keys() - ON_REQUEST) | wanted | named)
