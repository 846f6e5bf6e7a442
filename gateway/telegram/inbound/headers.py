"""Telegram's JSON of what is neither a message nor a pressed button: who and where.

What else it holds is read only for routes that want it: see `payloads.py`.
"""

from msgspec import Struct, field

from gateway.telegram.inbound.schema import (
    Chat,
    Int64,
    SenderHeader,
    UpdateHeader,
    User,
)


class ChatHeader(UpdateHeader):
    """Something in a chat, by a user or not."""

    chat: Chat


class ReactionCountHeader(ChatHeader):
    """The reactions to a message changed, and nobody is named."""

    message_id: Int64 = 0

    @property
    def effective_message_id(self) -> int:
        """The message with the reactions."""
        return self.message_id


class ReactionHeader(ReactionCountHeader):
    """A user, or somebody on behalf of a chat, changed reactions to a message."""

    actor_chat: Chat | None = None

    @property
    def represented_chat(self) -> Chat | None:
        """The chat on whose behalf somebody reacted. None: a user did in person."""
        return self.actor_chat


class StoppedGenerationHeader(ChatHeader):
    """The user of a private chat stopped a message that is still being written."""

    message_thread_id: Int64 = 0
    draft_id: Int64 = 0

    @property
    def topic_id(self) -> int:
        """The topic that the message is written in."""
        return self.message_thread_id


class AccountHeader(UpdateHeader):
    """Something about a user's account."""

    user: User


class UnknownHeader(UpdateHeader):
    """Something of an unknown kind, if it looks like what is known."""

    from_user: User | None = field(name="from", default=None)

    @property
    def effective_user(self) -> User | None:
        """Who is named, under one of the two names that Telegram uses."""
        return self.from_user or self.user


class QueryHeader(SenderHeader):
    """A question of a user to which Telegram waits for the answer."""

    id: str

    @property
    def pending_query_id(self) -> str:
        """Its id."""
        return self.id


class PurchaseHeader(SenderHeader):
    """Something about a user's money."""

    @property
    def reply_chat_id(self) -> int:
        """The buyer's."""
        return self.user.id


class PaymentQueryHeader(QueryHeader):
    """A question on the way to a payment."""

    @property
    def reply_chat_id(self) -> int:
        """The buyer's."""
        return self.user.id


class SubscriptionHeader(AccountHeader):
    """A user's subscription to the bot."""

    @property
    def reply_chat_id(self) -> int:
        """The subscriber's."""
        return self.user.id


class JoinRequestHeader(SenderHeader):
    """A user who asks to join a chat."""

    chat: Chat
    query_id: str = ""
    user_chat_id: Int64 = 0

    @property
    def pending_query_id(self) -> str:
        """Set only if the bot was appointed to answer such requests."""
        return self.query_id

    @property
    def reply_chat_id(self) -> int:
        """The user's, for 5 minutes."""
        return self.user_chat_id

    @property
    def ttl_seconds(self) -> float:
        """Bot API, ChatJoinRequest: query_id."""
        return 10 if self.query_id else 0


class DeletedMessagesHeader(ChatHeader):
    """Messages that were deleted in a chat of a business account."""

    business_connection_id: str = ""

    @property
    def connection_id(self) -> str:
        """The account's connection."""
        return self.business_connection_id


class BusinessConnectionHeader(AccountHeader):
    """A business account that was connected, changed or disconnected."""

    user_chat_id: Int64 = 0

    @property
    def effective_chat(self) -> Chat | None:
        """The private chat with the account's owner."""
        return Chat(id=self.user_chat_id, type="private")


class PollHeader(UpdateHeader):
    """A poll. Nobody is named."""

    poll_id: str = field(name="id")


class PollAnswerHeader(UpdateHeader):
    """An answer to a poll, by a user or a chat."""

    poll_id: str
    voter_chat: Chat | None = None

    @property
    def represented_chat(self) -> Chat | None:
        """The chat on whose behalf somebody voted. None: a user did in person."""
        return self.voter_chat


class BoostSource(Struct):
    """Where a boost comes from."""

    user: User | None = None


class Boost(Struct):
    """A boost of a chat."""

    source: BoostSource


class ChatBoostHeader(UpdateHeader):
    """A boost that was added or changed."""

    chat: Chat
    boost: Boost

    @property
    def effective_user(self) -> User | None:
        """Who boosted."""
        return self.boost.source.user


class RemovedChatBoostHeader(UpdateHeader):
    """A boost that ended."""

    chat: Chat
    source: BoostSource

    @property
    def effective_user(self) -> User | None:
        """Who had boosted."""
        return self.source.user


class ChatMember(Struct):
    """What somebody is in a chat."""

    status: str


class ChatMemberHeader(SenderHeader):
    """Somebody's place in a chat changed."""

    chat: Chat
    old_chat_member: ChatMember
    new_chat_member: ChatMember
