"""What became of one update: the source of its log line and of its metrics."""

from enum import StrEnum

from msgspec import Struct


class Outcome(StrEnum):
    """How an update ended. Every accepted update ends in exactly one."""

    DONE = "done"
    STOPPED = "stopped"
    """The user stopped the answer while it was being written; what was shown stays."""
    LIMITED = "limited"
    """Over the user's rate limit."""
    DUPLICATE = "duplicate"
    """Handled before under the same `update_id`."""
    EXPIRED = "expired"
    """It waited longer than an answer is of use."""
    FROM_BOT = "from_bot"
    """A bot said it, and bots are not allowed: dropped, so that two never loop."""
    UNROUTED = "unrouted"
    """No route serves this kind of update: acknowledged and counted."""
    UNKNOWN = "unknown"
    """A command or button that no route serves: answered with a hint."""
    SERVICE_TIMEOUT = "service_timeout"
    SERVICE_UNAVAILABLE = "service_unavailable"
    SERVICE_FAILED = "service_failed"
    BLOCKED = "blocked"
    """The service answered, but the user cannot be reached for good."""
    SEND_FAILED = "send_failed"
    """The service answered, but the Bot API did not take the reply."""
    CRASHED = "crashed"
    """A fault of the gateway's own: in the dead letters."""
    POISON = "poison"
    """Every worker that took it ended: in the dead letters."""
    REFUSED = "refused"
    """The mailbox was full."""
    MALFORMED = "malformed"
    """Not an update: in the dead letters."""
    FORBIDDEN = "forbidden"
    """The webhook secret was wrong or missing."""


class ProcessingRecord(Struct, kw_only=True, eq=False):
    """One update's way through the gateway. Holds ids and times, never a text."""

    update_id: int = 0
    update_type: str = "unknown"
    request_id: str = ""
    telegram_user_id: int = 0
    route: str = ""
    """The route's name in the route table. Empty: none."""
    outcome: Outcome = Outcome.DONE
    queue_seconds: float = 0
    """From the arrival to the start of the turn."""
    service_seconds: float = 0
    """In calls of services, the session included."""
    telegram_seconds: float = 0
    """In calls of the Bot API."""
    error: str = ""
    """What went wrong, in words of the program, such as an exception's class."""
