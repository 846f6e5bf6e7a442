"""What is known about the processing of one update, for its log line and metrics."""

from enum import StrEnum

from msgspec import Struct


class Outcome(StrEnum):
    """How the processing of an update ended. Every update has exactly one outcome."""

    DONE = "done"
    STOPPED = "stopped"
    """The user stopped a streamed reply; the text shown so far stays."""
    LIMITED = "limited"
    """The user exceeded the rate limit."""
    DUPLICATE = "duplicate"
    """An update with the same `update_id` was handled before."""
    EXPIRED = "expired"
    """The update waited for so long that a reply is of no use any more."""
    FROM_BOT = "from_bot"
    """Sent by a bot, which the settings do not allow: two bots might loop."""
    UNROUTED = "unrouted"
    """No route serves this type of update: acknowledged and counted."""
    UNKNOWN = "unknown"
    """A command or button that no route serves: answered with a hint."""
    SERVICE_TIMEOUT = "service_timeout"
    SERVICE_UNAVAILABLE = "service_unavailable"
    SERVICE_FAILED = "service_failed"
    BLOCKED = "blocked"
    """The service replied, but the user cannot be reached until further notice."""
    SEND_FAILED = "send_failed"
    """The service replied, but the Bot API did not accept the reply."""
    CRASHED = "crashed"
    """An internal error of the gateway; the update is in the dead letters."""
    POISON = "poison"
    """Workers that processed the update crashed; it is in the dead letters."""
    REFUSED = "refused"
    """The mailbox was full."""
    MALFORMED = "malformed"
    """The body is not an update; it is in the dead letters."""
    FORBIDDEN = "forbidden"
    """The webhook secret was wrong or missing."""


class ProcessingRecord(Struct, kw_only=True, eq=False):
    """The facts about one processed update: ids and times, never a text."""

    update_id: int | None = None
    """None if the body is not an update."""
    bot: str = ""
    """The bot's name in BOTS_FILE, or an empty string."""
    update_type: str = "unknown"
    request_id: str | None = None
    telegram_user_id: int | None = None
    """The human user, or None if there is none."""
    route: str | None = None
    """The route's name in the route table, or None if no route was called."""
    outcome: Outcome = Outcome.DONE
    queue_seconds: float = 0
    """From the arrival to the start of processing."""
    service_seconds: float = 0
    """Spent in calls to services, including the session service."""
    telegram_seconds: float = 0
    """Spent in calls to the Bot API."""
    error: str | None = None
    """A technical description of the error, such as an exception's class."""
