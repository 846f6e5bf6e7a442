"""Updates from Telegram, as mailboxes store them and as the gateway parses them."""

from collections.abc import Callable
from typing import ClassVar

from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.route.v1.event_pb2 import Event
from google.protobuf.message import Message
from msgspec import Raw, Struct

from gateway.domain.delivery import Delivery

MESSAGE_UPDATE_TYPES = (
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_message",
    "edited_business_message",
    "guest_message",
)
"""The update types whose value is a message, besides "message" itself."""

PAYMENT_CONTENTS = frozenset({"successful_payment", "refunded_payment"})
"""The contents of a message that report a payment."""

NAMED_ATTACHMENTS = (*PAYMENT_CONTENTS, "giveaway", "giveaway_winners")
"""The attachments that a route may name; without one they go where texts go."""

PayloadDecoder = Callable[[Raw], Message | None]
"""Converts the JSON of a payload to its type in chat/v1. Raises MalformedUpdate."""


class UpdateBase(Struct, frozen=True, kw_only=True, eq=False):
    """The fields that all types of `Update` have."""

    update_id: int
    update_type: str
    """Telegram's name of the type, such as "message"; "unknown" for unknown types."""
    ordering_key: str
    """Updates with the same key are processed in order.

    It is the id of the human user, or else of the chat, or else of the poll.
    """
    context: RequestContext
    """The user and the chat; `internal_user_id` is still empty."""
    trigger_name: str | None = None
    """The name that a route with the trigger `update_type` has to use.

    It is Telegram's name of the update type, known or not, or of the content of a
    message, such as a payment. None for other messages and for pressed buttons. The
    name comes from outside and must not be a metric's label.
    """
    payload: Raw = Raw()
    """The JSON value of the field named `trigger_name`, or else `update_type`."""
    message_payload: Raw | None = None
    """The JSON of the complete message, if the payload is only a field of it."""
    payload_decoder: PayloadDecoder | None = None
    """Decodes the payload, or None if there is no type for it in chat/v1."""
    ephemeral_message_id: int | None = None
    """The id of a group message that only this user sees: the message of the update, or
    the one with the pressed button. A reply to it must also be ephemeral."""
    is_unwanted: bool = False
    """Whether the update is from a bot and the settings do not allow bots."""
    bypasses_limits: bool = False
    """Whether the update is never rate-limited and never refused: payments, membership
    changes and stops of a streamed reply."""
    ttl_seconds: float | None = None
    """Seconds after the arrival in which a reply is of use; None if it always is."""
    answer_deadline: float | None = None
    """Seconds since the epoch after which Telegram does not accept an answer to the
    query. The service has to reply earlier. None if there is no deadline."""

    @property
    def expects_reply(self) -> bool:
        """Whether the user expects a reply, because the update is input to the bot.

        Only such updates are rate-limited.
        """
        return False

    def decode_payload(self) -> Message | None:
        """Decode the JSON of the payload as its type in chat/v1.

        Only some routes need the result, so it is not decoded when the update arrives.

        Returns:
            The payload, or None if chat/v1 has no type for it.

        Raises:
            MalformedUpdate: a field that is read has a wrong type.
        """
        return (
            None if self.payload_decoder is None else self.payload_decoder(self.payload)
        )


class UserMessage(UpdateBase, frozen=True, kw_only=True, eq=False):
    """A new message of a user to the bot, with a text or an attachment."""

    message: IncomingMessage

    expects_reply: ClassVar[bool] = True
    """The user wrote to the bot."""

    def decode_payload(self) -> Message | None:
        """Return the message, which was decoded when the update arrived."""
        return self.message


class Command(UserMessage, frozen=True, kw_only=True, eq=False):
    """A message of a user that begins with a command, such as "/start"."""

    name: str
    """The name in lower case, without the slash and the bot's name."""
    arguments: str
    """The text after the command, without surrounding white space."""
    mentions_bot: bool = False
    """Whether the command names this bot, as in "/start@name"."""


class ServiceMessage(UpdateBase, frozen=True, kw_only=True, eq=False):
    """A message without a text or an attachment for this bot.

    It reports an event, such as a new member, or passes on what a user chose in an app
    or a dialog. A command for another bot is also treated as such a message.
    """

    @property
    def expects_reply(self) -> bool:
        """Whether the message is a user's input, not a report of an event.

        True for what the user chose in an app or a dialog, and for commands to other
        bots.
        """
        return self.trigger_name in _INPUT_CONTENTS


_INPUT_CONTENTS = frozenset({None, "web_app_data", "users_shared", "chat_shared"})
"""The contents of service messages that are a user's input to the bot."""


class ButtonPress(UpdateBase, frozen=True, kw_only=True, eq=False):
    """A press of a button under a message or under an inline message.

    Its callback query has to be answered, or the button shows a spinner.
    """

    callback_query_id: str
    callback_data: str | None = None
    """None if it is the button of a game."""
    message_id: int | None = None
    """The id of the message with the button, or None for an inline message."""
    inline_message_id: str | None = None
    """The id of the inline message with the button; it has no chat."""

    expects_reply: ClassVar[bool] = True
    """The button shows a spinner until it is answered."""


class BotEvent(UpdateBase, frozen=True, kw_only=True, eq=False):
    """The user blocked the bot, or unblocked it."""

    event: "Event.ValueType"


class StoppedReply(UpdateBase, frozen=True, kw_only=True, eq=False):
    """The user stopped a streamed reply, so no more of it is to be shown."""

    draft_id: int
    """The id of the draft that showed the reply."""


class OtherUpdate(UpdateBase, frozen=True, kw_only=True, eq=False):
    """An update of any other type, known or not, routed by its trigger name."""

    query_id: str | None = None
    """The id of the query, which has to be answered; None if it is not a query."""
    reply_chat_id: int | None = None
    """The private chat that replies go to instead of the context's chat; None if they
    go to the context's chat."""

    @property
    def expects_reply(self) -> bool:
        """Whether it is a guest message: a user's input from a chat without the bot."""
        return self.trigger_name == "guest_message"


Update = (
    UserMessage
    | Command
    | ServiceMessage
    | ButtonPress
    | BotEvent
    | StoppedReply
    | OtherUpdate
)
"""A parsed update. Its type decides how it is routed and what its reply may contain."""


class Envelope(Struct, frozen=True, kw_only=True, eq=False):
    """An update or a delivery as it is stored in a mailbox, which does not parse it.

    Two envelopes with the same `update_id` other than 0 are the same update.
    """

    update_id: int
    """0 if it is a delivery."""
    ordering_key: str
    arrived_at: float | None
    """Seconds since the epoch when the gateway received the update.

    None if a person replayed it: it is never limited, refused or expired.
    """
    body: bytes
    """The JSON object that Telegram sent; empty if it is a delivery."""
    update: Update | None = None
    """The body as parsed by the worker that accepted it, or None after a restart."""
    delivery: Delivery | None = None
    """The delivery, or None if it is an update."""


class DeadLetter(Struct, frozen=True, kw_only=True, eq=False):
    """An update or a delivery that the gateway gave up, kept for an operator.

    The operator may replay it: put it back into its mailbox.
    """

    update_id: int | None
    """None if the body could not be parsed, or if it is a delivery."""
    ordering_key: str | None
    """None if the body could not be parsed."""
    reason: str
    """A code such as "crashed" or "malformed"; never a user's text."""
    dead_lettered_at: float
    """Seconds since the epoch when it became a dead letter."""
    body: bytes
    delivery: Delivery | None = None
    """The delivery, or None if it is an update."""


def has_session(update: Update) -> bool:
    """Return whether an update is by a human user of this bot, who has a session.

    False for bots, for updates without a user, and for updates of a business
    connection: that customer wrote to the owner of the account, who may be anybody and
    can read the reply.
    """
    context = update.context
    return bool(
        context.telegram_user_id
        and not context.is_bot
        and not context.business_connection_id
    )
