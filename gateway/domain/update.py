"""An update of Telegram: as it lies in a mailbox, and as the gateway reads it."""

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
"""The names of what a user says to the bot; "" are other messages and buttons."""


class Update(Struct, frozen=True, kw_only=True, eq=False):
    """What the gateway knows of one update.

    One of `command`, `callback_data`, `message`, `event` and `trigger_name` decides
    which route serves it. A command and a payment have their `message` too, an event
    its `trigger_name`.
    """

    update_id: int
    update_type: str
    """Telegram's name, such as "message"; "unknown" for kinds that are not known."""
    ordering_key: str
    """The order it belongs to: the human's id; else the chat's, else the poll's."""
    context: RequestContext
    """Who asks and from where; `internal_user_id` is still empty."""
    message: IncomingMessage | None = None
    """The text and attachment of a new message of a user."""
    command: str = ""
    """The name of a command, lower case, without slash and bot name."""
    arguments: str = ""
    """What follows the command, stripped of surrounding white space."""
    mentions_bot: bool = False
    """True: the command names this bot, as in "/start@name"."""
    callback_query_id: str = ""
    """Set for every pressed button: it has to be answered."""
    callback_data: str = ""
    pressed_message_id: int = 0
    """The message under which the button was pressed. 0: inline or none."""
    ephemeral_message_id: int = 0
    """The message that only its user sees in a group: the one that the update is about,
    or the one under which the button was pressed. What answers it must be like it."""
    inline_message_id: str = ""
    """The inline message under which the button was pressed; it has no chat."""
    stopped_draft_id: int = 0
    """The draft that the user stopped. 0: none."""
    event: "Event.ValueType" = EVENT_UNSPECIFIED
    trigger_name: str = ""
    """What a route with the trigger `update` has to name: Telegram's name of the kind,
    known or not, or of what a message tells of, such as a payment. Empty: other
    messages and pressed buttons. It comes from outside: no label of a metric."""
    payload: Raw = Raw()
    """What Telegram sent under that name; without one, under that of the kind."""
    message_payload: Raw = Raw()
    """The whole message, if the name is that of something in it."""
    decode_payload: Callable[[], Message | None] | None = None
    """Reads that as the type of chat/v1 that belongs to the kind; only routes that want
    it pay for it. Raises Malformed. None: there is no such type."""
    query_id: str = ""
    """What has to be answered, for queries other than pressed buttons."""
    reply_chat_id: int = 0
    """The private chat that messages go to instead of the context's. 0: none."""
    is_unwanted: bool = False
    """True: a bot said it, and the settings allow none."""
    bypasses_limits: bool = False
    """True: never limited and never refused (payments, membership, stop)."""
    ttl_seconds: float = 0
    """How long after its arrival an answer is of use. 0: without limit."""
    answer_deadline: float = 0
    """When Telegram takes no more answer to a query, in seconds since the epoch; a
    service has to be done before. 0: messages may be sent later too."""

    @property
    def has_session(self) -> bool:
        """True: a human did it towards this bot, with the human's session behind it.

        What comes over a business connection was said to the owner of the account, who
        may be anybody, and who reads the answer.
        """
        context = self.context
        return bool(
            context.telegram_user_id
            and not context.is_bot
            and not context.business_connection_id
        )

    @property
    def expects_reply(self) -> bool:
        """True: a user said something to the bot and may wonder about silence."""
        return self.trigger_name in _TO_THE_BOT


REPLAYED = 0.0
"""The arrival of an update that a person took out of the dead letters."""


class Envelope(Struct, frozen=True, kw_only=True, eq=False):
    """An update as it lies in a mailbox: enough to keep its place without reading it.

    Two envelopes with the same `update_id` are the same update. One that `arrived_at`
    at `REPLAYED` was replayed by a person: it is never limited, refused or expired.
    """

    update_id: int
    ordering_key: str
    arrived_at: float
    """Seconds since the epoch at which the webhook got it; or `REPLAYED`."""
    body: bytes
    """The JSON object that Telegram sent."""
    update: Update | None = None
    """The body as read by the worker that accepted it. None after a restart."""


class DeadLetter(Struct, frozen=True, kw_only=True, eq=False):
    """An update that was given up, kept for a person to look at or replay."""

    update_id: int
    """0 where the body could not be read."""
    ordering_key: str
    """Empty where the body could not be read."""
    reason: str
    """A word such as "crashed" or "malformed"; never a text of a user."""
    dead_lettered_at: float
    """Seconds since the epoch at which it was given up."""
    body: bytes
