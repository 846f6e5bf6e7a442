"""Headers of updates that are neither messages nor callback queries.

A header says who acted, and where. The other fields of such an update are decoded only
for routes that use them: see `payloads.py`. An update that a route uses is therefore
decoded twice; in return, a wrong type in one of the other fields does not keep the
update from its mailbox.
"""

from msgspec import Struct, field

from gateway.telegram.inbound.schema import (
    Chat,
    Int64,
    SenderHeader,
    UpdateHeader,
    UpdateOrigin,
    User,
)


class ChatHeader(UpdateHeader):
    """The header of an update about a chat, with or without a user."""

    chat: Chat


class ReactionCountHeader(ChatHeader):
    """A change of the anonymous reactions to a message."""

    message_id: Int64 | None = None

    def get_origin(self) -> UpdateOrigin:
        """Return the chat, and the message with the reactions."""
        origin = super().get_origin()
        origin.message_id = self.message_id
        return origin


class ReactionHeader(ReactionCountHeader):
    """A change of the reactions to a message by a user, or on behalf of a chat."""

    actor_chat: Chat | None = None

    def get_origin(self) -> UpdateOrigin:
        """Return who reacted, and on behalf of which chat."""
        origin = super().get_origin()
        origin.represented_chat = self.actor_chat
        return origin


class StoppedGenerationHeader(ChatHeader):
    """A reply that the user of a private chat stopped while it was being streamed."""

    message_thread_id: Int64 | None = None
    draft_id: Int64 | None = None

    def get_origin(self) -> UpdateOrigin:
        """Return the chat and the topic that the reply is streamed to."""
        origin = super().get_origin()
        origin.topic_id = self.message_thread_id
        return origin


class AccountHeader(UpdateHeader):
    """The header of an update about a user's account, who is in the field `user`."""

    user: User


class UnknownHeader(UpdateHeader):
    """The header of an update of an unknown type, with the fields of most types."""

    from_user: User | None = field(name="from", default=None)

    def get_origin(self) -> UpdateOrigin:
        """Return the user under one of the two field names that Telegram uses."""
        origin = super().get_origin()
        origin.user = self.from_user or self.user
        return origin


class QueryHeader(SenderHeader):
    """The header of a user's query, which the bot has to answer."""

    id: str

    @property
    def pending_query_id(self) -> str:
        """The id of the query, which the answer has to name."""
        return self.id


class PurchaseHeader(SenderHeader):
    """A user's purchase of paid media."""

    @property
    def reply_chat_id(self) -> int:
        """The id of the buyer's private chat, to which replies go."""
        return self.user.id


class PaymentQueryHeader(QueryHeader):
    """A query before a payment: whether it may be made, or how to ship the goods."""

    @property
    def reply_chat_id(self) -> int:
        """The id of the buyer's private chat, to which replies go."""
        return self.user.id


class SubscriptionHeader(AccountHeader):
    """A user's subscription to the bot."""

    @property
    def reply_chat_id(self) -> int:
        """The id of the subscriber's private chat, to which replies go."""
        return self.user.id


class JoinRequestHeader(SenderHeader):
    """A user's request to join a chat."""

    chat: Chat
    query_id: str | None = None
    user_chat_id: Int64 | None = None

    @property
    def pending_query_id(self) -> str | None:
        """The id of the query to answer; None if the bot may not answer the request."""
        return self.query_id

    @property
    def reply_chat_id(self) -> int | None:
        """The id of the user's private chat, to which the bot may write for 5 minutes.

        None if Telegram did not send it.
        """
        return self.user_chat_id

    @property
    def ttl_seconds(self) -> float | None:
        """The seconds that the bot has to answer the query; None if there is no query.

        See the Bot API, ChatJoinRequest: query_id.
        """
        return 10 if self.query_id else None


class DeletedMessagesHeader(ChatHeader):
    """The deletion of messages in a chat of a business account."""

    business_connection_id: str | None = None

    def get_origin(self) -> UpdateOrigin:
        """Return the chat and the business connection of its account."""
        origin = super().get_origin()
        origin.connection_id = self.business_connection_id
        return origin


class BusinessConnectionHeader(AccountHeader):
    """The connection, change or disconnection of a business account."""

    user_chat_id: Int64 = 0

    def get_origin(self) -> UpdateOrigin:
        """Return the owner of the account, and the private chat with the owner."""
        origin = super().get_origin()
        origin.chat = Chat(id=self.user_chat_id, type="private")
        return origin


class PollHeader(UpdateHeader):
    """The new state of a poll, without a user."""

    poll_id: str = field(name="id")


class PollAnswerHeader(UpdateHeader):
    """An answer to a poll, by a user or on behalf of a chat."""

    poll_id: str
    voter_chat: Chat | None = None

    def get_origin(self) -> UpdateOrigin:
        """Return who voted, and on behalf of which chat."""
        origin = super().get_origin()
        origin.represented_chat = self.voter_chat
        return origin


class BoostSource(Struct):
    """Who boosted a chat; `user` is None if Telegram does not name anybody."""

    user: User | None = None


class Boost(Struct):
    """A boost of a chat, of which only the source is decoded."""

    source: BoostSource


class ChatBoostHeader(UpdateHeader):
    """A boost that was added or changed."""

    chat: Chat
    boost: Boost

    def get_origin(self) -> UpdateOrigin:
        """Return the chat, and the user who boosted it."""
        origin = super().get_origin()
        origin.user = self.boost.source.user
        return origin


class RemovedChatBoostHeader(UpdateHeader):
    """A boost that ended."""

    chat: Chat
    source: BoostSource

    def get_origin(self) -> UpdateOrigin:
        """Return the chat, and the user who had boosted it."""
        origin = super().get_origin()
        origin.user = self.source.user
        return origin


class ChatMember(Struct):
    """The status of a user in a chat."""

    status: str


class ChatMemberHeader(SenderHeader):
    """A change of a user's status in a chat."""

    chat: Chat
    old_chat_member: ChatMember
    new_chat_member: ChatMember
