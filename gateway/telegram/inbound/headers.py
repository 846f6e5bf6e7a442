"""Headers of updates that are neither messages nor callback queries.

A header says who acted, and where. The other fields of such an update are decoded only
for routes that use them: see `payloads.py`.
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
    """An update about a chat, with or without a user."""

    chat: Chat


class ReactionCountHeader(ChatHeader):
    """A change of the anonymous reactions to a message."""

    message_id: Int64 = 0

    @property
    def effective_message_id(self) -> int:
        """The id of the message with the reactions."""
        return self.message_id


class ReactionHeader(ReactionCountHeader):
    """A change of the reactions to a message by a user, or on behalf of a chat."""

    actor_chat: Chat | None = None

    @property
    def represented_chat(self) -> Chat | None:
        """The chat on whose behalf somebody reacted, or None if a user did."""
        return self.actor_chat


class StoppedGenerationHeader(ChatHeader):
    """A reply that the user of a private chat stopped while it was being streamed."""

    message_thread_id: Int64 = 0
    draft_id: Int64 | None = None

    @property
    def topic_id(self) -> int:
        """The id of the topic that the reply is streamed to."""
        return self.message_thread_id


class AccountHeader(UpdateHeader):
    """An update about a user's account."""

    user: User


class UnknownHeader(UpdateHeader):
    """An update of an unknown type, read by the usual field names."""

    from_user: User | None = field(name="from", default=None)

    @property
    def effective_user(self) -> User | None:
        """The user under one of the two field names that Telegram uses."""
        return self.from_user or self.user


class QueryHeader(SenderHeader):
    """A user's query that Telegram expects an answer to."""

    id: str

    @property
    def pending_query_id(self) -> str:
        """The id of the query."""
        return self.id


class PurchaseHeader(SenderHeader):
    """A purchase by a user."""

    @property
    def reply_chat_id(self) -> int:
        """The id of the buyer's private chat."""
        return self.user.id


class PaymentQueryHeader(QueryHeader):
    """A query before a payment."""

    @property
    def reply_chat_id(self) -> int:
        """The id of the buyer's private chat."""
        return self.user.id


class SubscriptionHeader(AccountHeader):
    """A user's subscription to the bot."""

    @property
    def reply_chat_id(self) -> int:
        """The id of the subscriber's private chat."""
        return self.user.id


class JoinRequestHeader(SenderHeader):
    """A user's request to join a chat."""

    chat: Chat
    query_id: str | None = None
    user_chat_id: Int64 = 0

    @property
    def pending_query_id(self) -> str | None:
        """The id of the query, set only if the bot may answer join requests."""
        return self.query_id

    @property
    def reply_chat_id(self) -> int | None:
        """The id of the user's private chat, which the bot can use for 5 minutes."""
        return self.user_chat_id or None

    @property
    def ttl_seconds(self) -> float | None:
        """The time to answer the query (Bot API, ChatJoinRequest: query_id)."""
        return 10 if self.query_id else None


class DeletedMessagesHeader(ChatHeader):
    """The deletion of messages in a chat of a business account."""

    business_connection_id: str = ""

    @property
    def connection_id(self) -> str:
        """The id of the account's business connection."""
        return self.business_connection_id


class BusinessConnectionHeader(AccountHeader):
    """The connection, change or disconnection of a business account."""

    user_chat_id: Int64 = 0

    @property
    def effective_chat(self) -> Chat | None:
        """The private chat with the owner of the account."""
        return Chat(id=self.user_chat_id, type="private")


class PollHeader(UpdateHeader):
    """The new state of a poll, without a user."""

    poll_id: str = field(name="id")


class PollAnswerHeader(UpdateHeader):
    """An answer to a poll, by a user or on behalf of a chat."""

    poll_id: str
    voter_chat: Chat | None = None

    @property
    def represented_chat(self) -> Chat | None:
        """The chat on whose behalf somebody voted, or None if a user did."""
        return self.voter_chat


class BoostSource(Struct):
    """The source of a boost."""

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
        """The user who boosted the chat."""
        return self.boost.source.user


class RemovedChatBoostHeader(UpdateHeader):
    """A boost that ended."""

    chat: Chat
    source: BoostSource

    @property
    def effective_user(self) -> User | None:
        """The user who had boosted the chat."""
        return self.source.user


class ChatMember(Struct):
    """The status of a user in a chat."""

    status: str


class ChatMemberHeader(SenderHeader):
    """A change of a user's status in a chat."""

    chat: Chat
    old_chat_member: ChatMember
    new_chat_member: ChatMember
