"""An update from Telegram: as it is stored, and as the gateway parses it."""

from collections.abc import Callable

from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.route.v1.event_pb2 import EVENT_UNSPECIFIED, Event
from google.protobuf.message import Message
from msgspec import Raw, Struct

_TO_THE_BOT = frozenset(
    {
        "",
        "game_short_name",
        "giveaway",
        "giveaway_winners",
        "guest_message",
        "successful_payment",
        "refunded_payment",
        "web_app_data",
        "users_shared",
        "chat_shared",
    }
)
"""The trigger names of a user's input to the bot.

The empty string covers all other messages, and pressed buttons.
"""


class Update(Struct, frozen=True, kw_only=True, eq=False):
    """A parsed update.

    One of `command`, `callback_data`, `message`, `event` and `trigger_name` decides
    which route serves it. A command and a payment also have a `message`, and an event
    also has a `trigger_name`.
    """

    update_id: int
    update_type: str
    """Telegram's name of the type, such as "message"; "unknown" for unknown types."""
    ordering_key: str
    """Updates with the same key are processed in order.

    It is the id of the human user, or else of the chat, or else of the poll.
    """
    context: RequestContext
    """The user and the chat; `internal_user_id` is still empty."""
    message: IncomingMessage | None = None
    """The text and attachment of a new message of a user."""
    command: str = ""
    """The name of a command in lower case, without the slash and the bot's name."""
    arguments: str = ""
    """The text after the command, without surrounding white space."""
    mentions_bot: bool = False
    """Whether the command names this bot, as in "/start@name"."""
    callback_query_id: str = ""
    """The id of the callback query, which every pressed button has. The query has to be
    answered."""
    callback_data: str = ""
    pressed_message_id: int = 0
    """The id of the message with the pressed button; 0 if there is none, or if the
    message is an inline message."""
    ephemeral_message_id: int = 0
    """The id of a group message that only this user sees: the message of the update, or
    the one with the pressed button. A reply to it must be ephemeral, too."""
    inline_message_id: str = ""
    """The id of the inline message with the pressed button; it has no chat."""
    stopped_draft_id: int = 0
    """The id of the draft that the user stopped; 0 if there is none."""
    event: "Event.ValueType" = EVENT_UNSPECIFIED
    trigger_name: str = ""
    """The name that a route with the trigger `update_type` has to use.

    It is Telegram's name of the update type, known or not, or of the content of a
    service message, such as a payment. An empty string for other messages and for
    pressed buttons. The name comes from outside and must not be a metric's label.
    """
    payload: Raw = Raw()
    """The JSON value of the field named `trigger_name`, or else `update_type`."""
    message_payload: Raw = Raw()
    """The JSON of the complete message, if `trigger_name` is a field of a message."""
    decode_payload: Callable[[], Message | None] | None = None
    """Decodes the payload as the type of chat/v1 that belongs to the trigger name.

    It is a function because only some routes need the result. Raises MalformedUpdate.
    None if there is no such type.
    """
    query_id: str = ""
    """The id of a query other than a callback query. The query has to be answered."""
    reply_chat_id: int = 0
    """The private chat that replies go to instead of the context's chat; 0 if there is
    none."""
    is_unwanted: bool = False
    """Whether the update is from a bot and the settings do not allow bots."""
    bypasses_limits: bool = False
    """Whether the update is never rate-limited and never refused: payments, membership
    changes and stops of a streamed reply."""
    ttl_seconds: float = 0
    """Seconds after the arrival in which a reply is of use; 0 means no limit."""
    answer_deadline: float = 0
    """Seconds since the epoch after which Telegram does not accept an answer to the
    query. The service has to reply earlier. 0 if there is no deadline."""

    @property
    def has_session(self) -> bool:
        """Whether the update has the session of a human user of this bot.

        Updates of a business connection have none: the customer wrote to the owner of
        the account, who may be anybody and can read the reply.
        """
        context = self.context
        return bool(
            context.telegram_user_id
            and not context.is_bot
            and not context.business_connection_id
        )

    @property
    def expects_reply(self) -> bool:
        """Whether it is a user's input to the bot, so that the user expects a reply."""
        return self.trigger_name in _TO_THE_BOT


REPLAYED = 0.0
"""The value of `Envelope.arrived_at` for updates replayed from the dead letters."""


class Envelope(Struct, frozen=True, kw_only=True, eq=False):
    """An update as stored in a mailbox, which orders it without parsing the body.

    Two envelopes with the same `update_id` are the same update. If `arrived_at` is
    `REPLAYED`, a person replayed the update: it is never limited, refused or expired.
    """

    update_id: int
    ordering_key: str
    arrived_at: float
    """Seconds since the epoch when the webhook received the update, or `REPLAYED`."""
    body: bytes
    """The JSON object that Telegram sent."""
    update: Update | None = None
    """The body as parsed by the worker that accepted it, or None after a restart."""


class DeadLetter(Struct, frozen=True, kw_only=True, eq=False):
    """An update that was not handled, kept for a person to inspect or replay."""

    update_id: int
    """0 if the body could not be parsed."""
    ordering_key: str
    """An empty string if the body could not be parsed."""
    reason: str
    """A code such as "crashed" or "malformed"; never a user's text."""
    dead_lettered_at: float
    """Seconds since the epoch when it became a dead letter."""
    body: bytes
