"""The JSON structure of updates, as far as the gateway reads it (Bot API 10.3).

Fields that are not declared here are skipped without a check, because Telegram sends
undocumented fields and adds new ones. A declared field must have its type.
"""

from typing import Annotated

from msgspec import Meta, Raw, Struct, field

Int32 = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
UpdateId = Annotated[int, Meta(ge=1, lt=2**53)]
UserId = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Date = Annotated[int, Meta(ge=0, le=253_402_300_799)]
"""Seconds since the epoch, up to the year 9999, the maximum of protobuf's Timestamp."""


class User(Struct, kw_only=True):
    """A human, a bot, or a placeholder for an anonymous sender."""

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
    """The fields of an update that say who acted, where and when, whatever its type.

    Most update types have the user and the chat in the same fields; the subclasses
    for the other types override the properties.
    """

    user: User | None = None
    chat: Chat | None = None
    date: Date = 0

    @property
    def effective_user(self) -> User | None:
        """The user who acted, or None if there is none."""
        return self.user

    @property
    def effective_chat(self) -> Chat | None:
        """The chat of the update, or None if there is none."""
        return self.chat

    @property
    def occurred_at(self) -> int:
        """The time of the action in seconds since the epoch, or 0 if it is unknown."""
        return self.date

    @property
    def topic_id(self) -> int:
        """The id of the topic in the chat, or 0 if there is none."""
        return 0

    @property
    def connection_id(self) -> str:
        """The id of the chat's business connection, or an empty string."""
        return ""

    @property
    def is_by_bot(self) -> bool:
        """Whether a bot acted, even if the update names a human."""
        return False

    @property
    def represented_chat(self) -> Chat | None:
        """The chat on whose behalf somebody acted, or None if a user acted."""
        return None

    @property
    def direct_messages_topic_id(self) -> int:
        """The id of the topic in a channel's direct messages, or 0 if there is none."""
        return 0

    @property
    def effective_message_id(self) -> int:
        """The id of the message that the update is about, or 0 if there is none."""
        return 0

    @property
    def pending_query_id(self) -> str | None:
        """The id of the query to answer, or None if there is none."""
        return None

    @property
    def reply_chat_id(self) -> int | None:
        """The id of the private chat that replies go to, or None for the update's chat.

        The bot can write to this chat: a user who pays has written to the bot before,
        and a user who asks to join a chat can be written to for some minutes.
        """
        return None

    @property
    def ttl_seconds(self) -> float | None:
        """How long an answer is useful, or None for the value of the update type."""
        return None


class SenderHeader(UpdateHeader):
    """An action or query of a user."""

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
        """Whether a bot wrote it on behalf of the owner of a business account."""
        return bool(self.sender_business_bot)

    @property
    def represented_chat(self) -> Chat | None:
        """The chat on whose behalf it was sent, or None if a user sent it."""
        return self.sender_chat

    @property
    def direct_messages_topic_id(self) -> int:
        """The id of the topic in a channel's direct messages, or 0 if there is none."""
        topic = self.direct_messages_topic
        return topic.topic_id if topic else 0

    @property
    def effective_message_id(self) -> int:
        """The id of this message, or 0 if it is ephemeral."""
        return self.message_id

    @property
    def connection_id(self) -> str:
        """The id of the chat's business connection, or an empty string."""
        return self.business_connection_id

    @property
    def topic_id(self) -> int:
        """The id of the topic in the chat, or 0 if there is none.

        In a supergroup without topics a chain of replies also has a thread id, but no
        message can be sent to that thread.
        """
        return self.message_thread_id if self.is_topic_message else 0


class EditedMessageHeader(MessageHeader):
    """A message or post that was edited, without its content."""

    edit_date: Date = 0

    @property
    def occurred_at(self) -> int:
        """The time of the edit, in seconds since the epoch."""
        return self.edit_date or self.date


class GuestMessageHeader(MessageHeader):
    """A message in a chat that the bot is not in, without its content."""

    guest_query_id: str | None = None

    @property
    def pending_query_id(self) -> str | None:
        """The id of the query, which the bot may answer once."""
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
        """The chat of the message, even if the message is too old to be accessible."""
        return self.message.chat if self.message else None

    @property
    def topic_id(self) -> int:
        """The id of the topic in the chat, or 0 if there is none."""
        return self.message.topic_id if self.message else 0

    @property
    def direct_messages_topic_id(self) -> int:
        """The id of the topic in a channel's direct messages, or 0 if there is none."""
        return self.message.direct_messages_topic_id if self.message else 0

    @property
    def effective_message_id(self) -> int:
        """The id of the message with the button, or 0 for an inline message."""
        return self.message.message_id if self.message else 0

    @property
    def connection_id(self) -> str:
        """The id of the chat's business connection, or an empty string."""
        return self.message.connection_id if self.message else ""
