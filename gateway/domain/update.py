"""An update of Telegram: as it lies in a mailbox, and as the gateway reads it."""

from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.route.v1.event_pb2 import EVENT_UNSPECIFIED, Event
from msgspec import Struct


class Update(Struct, frozen=True, kw_only=True, eq=False):
    """What the gateway knows of one update.

    Exactly one of `command`, `callback_data`, `message` and `event` decides which
    route serves it; none of them is set for kinds that the gateway does not read.
    A command has its `message` too.
    """

    update_id: int
    kind: str
    """Telegram's name, such as "message"; "unknown" for kinds that are not known."""
    lane: str
    """The order it belongs to: the human's id; else the chat's, else the poll's."""
    context: RequestContext
    """Who asks and from where; `internal_user_id` is still empty."""
    message: IncomingMessage | None = None
    """The text and attachment of a new message of a user."""
    command: str = ""
    """The name of a command, lower case, without slash and bot name."""
    arguments: str = ""
    """What follows the command, stripped of surrounding white space."""
    addressed: bool = False
    """True: the command names this bot, as in "/start@name"."""
    callback_query_id: str = ""
    """Set for every pressed button: it has to be answered."""
    callback_data: str = ""
    pressed_message_id: int = 0
    """The message under which the button was pressed. 0: inline or none."""
    inline_message_id: str = ""
    """The inline message under which the button was pressed; it has no chat."""
    stopped_draft_id: int = 0
    """The draft that the user stopped. 0: none."""
    event: "Event.ValueType" = EVENT_UNSPECIFIED
    exempt: bool = False
    """True: never limited and never refused (payments, membership, stop)."""
    useful_seconds: float = 0
    """How long after its arrival an answer is of use. 0: without limit."""


REPLAYED = 0.0
"""The arrival of an update that a person took out of the dead letters."""


class Envelope(Struct, frozen=True, kw_only=True, eq=False):
    """An update as it lies in a mailbox: enough to keep its place without reading it.

    Two envelopes with the same `update_id` are the same update. One that `arrived` at
    `REPLAYED` was replayed by a person: it is never limited, refused or expired.
    """

    update_id: int
    lane: str
    arrived: float
    """Seconds since the epoch at which the webhook got it; or `REPLAYED`."""
    body: bytes
    """The JSON object that Telegram sent."""
    update: Update | None = None
    """The body as read by the worker that accepted it. None after a restart."""


class DeadLetter(Struct, frozen=True, kw_only=True, eq=False):
    """An update that was given up, kept for a person to look at or replay."""

    update_id: int
    """0 where the body could not be read."""
    lane: str
    """Empty where the body could not be read."""
    reason: str
    """A word such as "crashed" or "malformed"; never a text of a user."""
    time: float
    """Seconds since the epoch at which it was given up."""
    body: bytes
