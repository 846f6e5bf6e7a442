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
    """A topic of a channel's direct messages; each user who writes has one."""

    topic_id: Int64


class UpdateOrigin(Struct, kw_only=True):
    """Who acted, where and when. None stands for what the update does not say.

    Attributes:
        user: the user who acted.
        chat: the chat of the update.
        occurred_at: the time of the action, in seconds since the epoch.
        topic_id: the id of the topic in the chat.
        connection_id: the id of the chat's business connection.
        message_id: the id of the message that the update is about.
        direct_messages_topic_id: the id of the topic in a channel's direct messages.
        represented_chat: the chat on whose behalf somebody acted; None if a user acted.
        is_by_bot: whether a bot acted, even if the update names a human.
    """

    user: User | None = None
    chat: Chat | None = None
    occurred_at: int | None = None
    topic_id: int | None = None
    connection_id: str | None = None
    message_id: int | None = None
    direct_messages_topic_id: int | None = None
    represented_chat: Chat | None = None
    is_by_bot: bool = False


class UpdateHeader(Struct, kw_only=True):
    """The fields of an update that say who acted, where and when, whatever its type.

    This class has the fields of most update types. The subclasses for other types
    override `get_origin` and the properties.
    """

    user: User | None = None
    chat: Chat | None = None
    date: Date = 0

    def get_origin(self) -> UpdateOrigin:
        """Return who acted, where and when, as far as the update says so."""
        return UpdateOrigin(
            user=self.user, chat=self.chat, occurred_at=self.date or None
        )

    @property
    def pending_query_id(self) -> str | None:
        """The id of the query that the bot has to answer; None if there is none."""
        return None

    @property
    def reply_chat_id(self) -> int | None:
        """The private chat that replies go to, as its id; None for the update's chat.

        The bot can write to this chat: a user who pays has written to the bot before,
        and a user who asks to join a chat can be written to for some minutes.
        """
        return None

    @property
    def ttl_seconds(self) -> float | None:
        """For how many seconds after its arrival an answer to this update is useful.

        None for the value of the update type; see `UpdateType.ttl_seconds`.
        """
        return None


class SenderHeader(UpdateHeader):
    """The header of an action or query of a user, who is in the field `from`."""

    user: User = field(name="from")


class MessageHeader(UpdateHeader, kw_only=True):
    """A message or channel post, without its content."""

    message_id: Int64
    ephemeral_message_id: Int64 | None = None
    user: User | None = field(name="from", default=None)
    chat: Chat
    message_thread_id: Int64 | None = None
    is_topic_message: bool = False
    business_connection_id: str | None = None
    direct_messages_topic: DirectMessagesTopic | None = None
    sender_chat: Chat | None = None
    sender_business_bot: Raw = Raw()

    def get_origin(self) -> UpdateOrigin:
        """Return who wrote the message, where and when.

        A supergroup without topics also sends a thread id for a chain of replies; that
        is left out, because no message can be sent to such a thread. If a bot wrote on
        behalf of the owner of a business account, `is_by_bot` is true.
        """
        topic = self.direct_messages_topic
        return UpdateOrigin(
            user=self.user,
            chat=self.chat,
            occurred_at=self.date or None,
            topic_id=self.message_thread_id if self.is_topic_message else None,
            connection_id=self.business_connection_id,
            message_id=self.message_id or None,
            direct_messages_topic_id=topic.topic_id if topic else None,
            represented_chat=self.sender_chat,
            is_by_bot=bool(self.sender_business_bot),
        )


class EditedMessageHeader(MessageHeader):
    """A message or channel post that was edited, without its content."""

    edit_date: Date | None = None

    def get_origin(self) -> UpdateOrigin:
        """Return who wrote the message and where, and when it was edited."""
        origin = super().get_origin()
        if self.edit_date:
            origin.occurred_at = self.edit_date
        return origin


class GuestMessageHeader(MessageHeader):
    """A message in a chat that the bot is not in, without its content."""

    guest_query_id: str | None = None

    @property
    def pending_query_id(self) -> str | None:
        """The id of the query, which the bot may answer once; None if there is none."""
        return self.guest_query_id


class CallbackQuery(SenderHeader, kw_only=True):
    """A pressed button, under a message or under an inline message."""

    id: str
    message: MessageHeader | None = None
    inline_message_id: str | None = None
    data: str | None = None
    game_short_name: str | None = None

    def get_origin(self) -> UpdateOrigin:
        """Return who pressed the button, and where its message is.

        The chat is known even if the message is too old to be accessible.
        """
        origin = super().get_origin()
        if self.message is not None:
            pressed = self.message.get_origin()
            origin.chat = pressed.chat
            origin.topic_id = pressed.topic_id
            origin.connection_id = pressed.connection_id
            origin.message_id = pressed.message_id
            origin.direct_messages_topic_id = pressed.direct_messages_topic_id
        return origin
