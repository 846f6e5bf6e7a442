"""The update types of Bot API 10.3, and how the gateway treats each of them."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from gateway.domain.update import NAMED_ATTACHMENTS
from gateway.telegram.inbound.content import Message
from gateway.telegram.inbound.headers import (
    AccountHeader,
    BusinessConnectionHeader,
    ChatBoostHeader,
    ChatMemberHeader,
    DeletedMessagesHeader,
    JoinRequestHeader,
    PaymentQueryHeader,
    PollAnswerHeader,
    PollHeader,
    PurchaseHeader,
    QueryHeader,
    ReactionCountHeader,
    ReactionHeader,
    RemovedChatBoostHeader,
    StoppedGenerationHeader,
    SubscriptionHeader,
    UnknownHeader,
)
from gateway.telegram.inbound.routable_contents import (
    GAME_FIELD,
    SERVICE_CONTENTS,
)
from gateway.telegram.inbound.schema import (
    CallbackQuery,
    EditedMessageHeader,
    GuestMessageHeader,
    MessageHeader,
    SenderHeader,
    UpdateHeader,
)


class UpdateType(Struct, frozen=True):
    """A type of updates, and how the gateway treats such updates.

    Attributes:
        name: Telegram's name, which is the key in the update.
        decoder: decodes the header from the value of that key.
        bypasses_limits: True if such updates are never rate-limited and never refused
            because a mailbox is full.
        ttl_seconds: for how many seconds after the arrival of such an update an answer
            is useful; None if always.
    """

    name: str
    decoder: Decoder[UpdateHeader]
    bypasses_limits: bool = False
    ttl_seconds: float | None = None


OPT_IN_TYPES = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
"""Types that Telegram sends only if setWebhook lists them (Bot API: setWebhook)."""


def _make_type(
    name: str,
    header_class: type[UpdateHeader],
    *,
    bypasses_limits: bool = False,
    ttl_seconds: float | None = None,
) -> UpdateType:
    return UpdateType(name, Decoder(header_class), bypasses_limits, ttl_seconds)


UNKNOWN_TYPE = _make_type("unknown", UnknownHeader)
"""The type of all updates that are not in `UPDATE_TYPES`."""

UPDATE_TYPES = {
    update_type.name: update_type
    for update_type in (
        _make_type("message", Message),
        _make_type("edited_message", EditedMessageHeader),
        _make_type("channel_post", MessageHeader),
        _make_type("edited_channel_post", EditedMessageHeader),
        _make_type("business_connection", BusinessConnectionHeader),
        _make_type("business_message", MessageHeader),
        _make_type("edited_business_message", EditedMessageHeader),
        _make_type("deleted_business_messages", DeletedMessagesHeader),
        _make_type("guest_message", GuestMessageHeader),
        _make_type("message_reaction", ReactionHeader),
        _make_type("message_reaction_count", ReactionCountHeader),
        # Telegram itself keeps these three queries no longer than that.
        _make_type("inline_query", QueryHeader, ttl_seconds=30),
        _make_type("callback_query", CallbackQuery, ttl_seconds=150),
        _make_type(
            "shipping_query", PaymentQueryHeader, bypasses_limits=True, ttl_seconds=150
        ),
        # Bot API: answerPreCheckoutQuery.
        _make_type(
            "pre_checkout_query",
            PaymentQueryHeader,
            bypasses_limits=True,
            ttl_seconds=10,
        ),
        _make_type("chosen_inline_result", SenderHeader),
        _make_type("purchased_paid_media", PurchaseHeader, bypasses_limits=True),
        _make_type("poll", PollHeader),
        _make_type("poll_answer", PollAnswerHeader),
        _make_type("my_chat_member", ChatMemberHeader, bypasses_limits=True),
        _make_type("chat_member", ChatMemberHeader, bypasses_limits=True),
        _make_type("chat_join_request", JoinRequestHeader, bypasses_limits=True),
        _make_type("chat_boost", ChatBoostHeader),
        _make_type("removed_chat_boost", RemovedChatBoostHeader),
        _make_type("managed_bot", AccountHeader),
        _make_type("subscription", SubscriptionHeader, bypasses_limits=True),
        _make_type(
            "stopped_message_generation", StoppedGenerationHeader, bypasses_limits=True
        ),
    )
}


ROUTABLE_NAMES = frozenset(
    UPDATE_TYPES.keys() | SERVICE_CONTENTS | set(NAMED_ATTACHMENTS) | {GAME_FIELD}
)
"""The names of update types and of contents that routes can have today."""


def list_allowed_updates(routed_types: Iterable[str]) -> list[str]:
    """Return the types that setWebhook must list so that every route gets its updates.

    Args:
        routed_types: the names of update types and contents in the triggers of all
            routes.

    Returns:
        The sorted types. The list is empty, which means Telegram's default, as long as
        the default is enough: a list would exclude the types that Telegram adds later.
        Contents of messages and of callback queries are no types of their own and never
        in the list.
    """
    opted_in = OPT_IN_TYPES.intersection(routed_types)
    if not opted_in:
        return []
    named = set(routed_types) - SERVICE_CONTENTS.union(NAMED_ATTACHMENTS, [GAME_FIELD])
    return sorted((UPDATE_TYPES.keys() - OPT_IN_TYPES) | opted_in | named)
