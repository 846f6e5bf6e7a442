"""Telegram's JSON, as far as the gateway reads it (Bot API 10.3).

Fields that are not named here are skipped, whatever is in them: Telegram sends
undocumented ones and adds new ones. A field that is named here has to have its type.
"""

from typing import Annotated

from msgspec import Meta, Raw, Struct, field

Int32 = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
UpdateId = Annotated[int, Meta(ge=1, lt=2**53)]
UserId = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Date = Annotated[int, Meta(ge=0, le=253_402_300_799)]
"""Seconds since the epoch, up to the year 9999, where protobuf's Timestamp ends."""


class User(Struct, kw_only=True):
    """A human, a bot, or a stand-in for those who hide."""

    id: UserId
    is_bot: bool = False
    first_name: str = ""
    last_name: str = ""
    username: str = ""
    language_code: str = ""
    is_premium: bool = False


class Chat(Struct, kw_only=True):
    """A chat; a private one has the id of its user."""

    id: Int64
    type: str = ""
    title: str = ""
    username: str = ""
    is_forum: bool = False
    is_direct_messages: bool = False


class DirectMessagesTopic(Struct):
    """A topic of a channel's direct messages: one user who writes to the channel."""

    topic_id: Int64


class UpdateHeader(Struct, kw_only=True):
    """What stands under the key of an update's kind.

    The properties give the same four answers for every kind. Who and where stand in
    the same fields in most kinds; the others say here where to look.
    """

    user: User | None = None
    chat: Chat | None = None
    date: Date = 0

    @property
    def effective_user(self) -> User | None:
        """Who acted."""
        return self.user

    @property
    def effective_chat(self) -> Chat | None:
        """The chat in which it happened."""
        return self.chat

    @property
    def occurred_at(self) -> int:
        """When it happened, in seconds since the epoch. 0: Telegram does not say."""
        return self.date

    @property
    def topic_id(self) -> int:
        """The topic of the chat. 0: none."""
        return 0

    @property
    def connection_id(self) -> str:
        """The business connection that the chat belongs to. Empty: none."""
        return ""

    @property
    def is_by_bot(self) -> bool:
        """True: a bot did it, whoever is named as the actor."""
        return False

    @property
    def represented_chat(self) -> Chat | None:
        """The chat on whose behalf somebody acted. None: a user acted in person."""
        return None

    @property
    def direct_messages_topic_id(self) -> int:
        """The topic of a channel's direct messages. 0: none."""
        return 0

    @property
    def effective_message_id(self) -> int:
        """The message that it is about, by its id in the chat. 0: none."""
        return 0

    @property
    def pending_query_id(self) -> str:
        """The id of a query that has to be answered. Empty: none."""
        return ""

    @property
    def reply_chat_id(self) -> int:
        """The private chat that messages in answer to it go to. 0: not a special one.

        It exists: whoever pays has spoken to the bot, and who wants to join a chat can
        be written to for some minutes.
        """
        return 0

    @property
    def ttl_seconds(self) -> float:
        """How long an answer is of use, if this one is more urgent than its kind."""
        return 0


class SenderHeader(UpdateHeader):
    """Something that a user asks for or did."""

    user: User = field(name="from")


class MessageHeader(UpdateHeader, kw_only=True):
    """A message or post, without its content."""

    message_id: Int64
    ephemeral_message_id: Int64 = 0
    user: User | None = field(name="from", default=None)
    chat: Chat
    message_thread_id: Int64 = 0
    is_topic_message: bool = False
    business_connection_id: str = ""
    direct_messages_topic: DirectMessagesTopic | None = None
    sender_chat: Chat | None = None
    sender_business_bot: Raw = Raw()

    @property
    def is_by_bot(self) -> bool:
        """True: a bot wrote it on behalf of the owner of a business account."""
        return bool(self.sender_business_bot)

    @property
    def represented_chat(self) -> Chat | None:
        """The chat on whose behalf it was sent. None: a user sent it in person."""
        return self.sender_chat

    @property
    def direct_messages_topic_id(self) -> int:
        """The topic of a channel's direct messages. 0: none."""
        topic = self.direct_messages_topic
        return topic.topic_id if topic else 0

    @property
    def effective_message_id(self) -> int:
        """Its own id. 0: it is an ephemeral message."""
        return self.message_id

    @property
    def connection_id(self) -> str:
        """The business connection that the chat belongs to. Empty: none."""
        return self.business_connection_id

    @property
    def topic_id(self) -> int:
        """The topic of the chat. 0: none.

        In a supergroup without topics a chain of replies has a thread too, which no
        message can be sent to.
        """
        return self.message_thread_id if self.is_topic_message else 0


class EditedMessageHeader(MessageHeader):
    """A message or post that was edited, without its content."""

    edit_date: Date = 0

    @property
    def occurred_at(self) -> int:
        """When it was edited."""
        return self.edit_date or self.date


class GuestMessageHeader(MessageHeader):
    """A message in a chat that the bot is not in, without its content."""

    guest_query_id: str = ""

    @property
    def pending_query_id(self) -> str:
        """Under which the bot may answer once."""
        return self.guest_query_id


class CallbackQuery(SenderHeader, kw_only=True):
    """A pressed button, under a message or under an inline message."""

    id: str
    message: MessageHeader | None = None
    inline_message_id: str = ""
    data: str = ""
    game_short_name: str = ""

    @property
    def effective_chat(self) -> Chat | None:
        """The chat of the message, also if the message is too old to be seen."""
        return self.message.chat if self.message else None

    @property
    def topic_id(self) -> int:
        """The topic of the chat. 0: none."""
        return self.message.topic_id if self.message else 0

    @property
    def direct_messages_topic_id(self) -> int:
        """The topic of a channel's direct messages. 0: none."""
        return self.message.direct_messages_topic_id if self.message else 0

    @property
    def effective_message_id(self) -> int:
        """The message under which the button is. 0: it is an inline message."""
        return self.message.message_id if self.message else 0

    @property
    def connection_id(self) -> str:
        """The business connection that the chat belongs to. Empty: none."""
        return self.message.connection_id if self.message else ""
