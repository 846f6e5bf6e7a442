"""Telegram's JSON of what is neither a message nor a pressed button: who and where.

What else it holds is read only for routes that want it: see `details.py`.
"""

from msgspec import Struct, field

from gateway.telegram.inbound.schema import Chat, FromUser, Happening, Int64, User


class InChat(Happening):
    """Something in a chat, by a user or not."""

    chat: Chat


class ReactionCount(InChat):
    """The reactions to a message changed, and nobody is named."""

    message_id: Int64 = 0

    @property
    def about_message(self) -> int:
        """The message with the reactions."""
        return self.message_id


class ReactionChange(ReactionCount):
    """A user, or somebody on behalf of a chat, changed reactions to a message."""

    actor_chat: Chat | None = None

    @property
    def represented_chat(self) -> Chat | None:
        """The chat on whose behalf somebody reacted. None: a user did in person."""
        return self.actor_chat


class StoppedGeneration(InChat):
    """The user of a private chat stopped a message that is still being written."""

    message_thread_id: Int64 = 0
    draft_id: Int64 = 0

    @property
    def topic(self) -> int:
        """The topic that the message is written in."""
        return self.message_thread_id


class ByUser(Happening):
    """Something about a user's account."""

    user: User


class Guess(Happening):
    """Something of an unknown kind, if it looks like what is known."""

    sender: User | None = field(name="from", default=None)

    @property
    def actor(self) -> User | None:
        """Who is named, under one of the two names that Telegram uses."""
        return self.sender or self.user


class Query(FromUser):
    """A question of a user to which Telegram waits for the answer."""

    id: str

    @property
    def question(self) -> str:
        """Its id."""
        return self.id


class Purchase(FromUser):
    """Something about a user's money."""

    @property
    def private_chat(self) -> int:
        """The buyer's."""
        return self.user.id


class PaymentQuery(Query):
    """A question on the way to a payment."""

    @property
    def private_chat(self) -> int:
        """The buyer's."""
        return self.user.id


class Subscription(ByUser):
    """A user's subscription to the bot."""

    @property
    def private_chat(self) -> int:
        """The subscriber's."""
        return self.user.id


class JoinRequest(FromUser):
    """A user who asks to join a chat."""

    chat: Chat
    query_id: str = ""
    user_chat_id: Int64 = 0

    @property
    def question(self) -> str:
        """Set only if the bot was appointed to answer such requests."""
        return self.query_id

    @property
    def private_chat(self) -> int:
        """The user's, for 5 minutes."""
        return self.user_chat_id

    @property
    def urgent_seconds(self) -> float:
        """Bot API, ChatJoinRequest: query_id."""
        return 10 if self.query_id else 0


class DeletedMessages(InChat):
    """Messages that were deleted in a chat of a business account."""

    business_connection_id: str = ""

    @property
    def business(self) -> str:
        """The account's connection."""
        return self.business_connection_id


class BusinessConnection(ByUser):
    """A business account that was connected, changed or disconnected."""

    user_chat_id: Int64 = 0

    @property
    def place(self) -> Chat | None:
        """The private chat with the account's owner."""
        return Chat(id=self.user_chat_id, type="private")


class Poll(Happening):
    """A poll. Nobody is named."""

    poll_id: str = field(name="id")


class PollAnswer(Happening):
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


class ChatBoost(Happening):
    """A boost that was added or changed."""

    chat: Chat
    boost: Boost

    @property
    def actor(self) -> User | None:
        """Who boosted."""
        return self.boost.source.user


class RemovedChatBoost(Happening):
    """A boost that ended."""

    chat: Chat
    source: BoostSource

    @property
    def actor(self) -> User | None:
        """Who had boosted."""
        return self.source.user


class Member(Struct):
    """What somebody is in a chat."""

    status: str


class Membership(FromUser):
    """Somebody's place in a chat changed."""

    chat: Chat
    old_chat_member: Member
    new_chat_member: Member
