"""The error tree. Each class says whether to try again.

    GatewayError
      Malformed             not an update: into the dead letters
      LeaseLost             another worker has the lane: drop what is held
      StoreError            the store of the mailboxes refused a request
        StoreUnavailable      try again: it does not answer
          StoreFull           try again: it has no room
        ForgedEntry           somebody else wrote it: never processed
      ServiceError          a service did not answer: the user gets an apology
        ServiceTimeout
        ServiceUnavailable  try again
        ServiceFailed
      BotApiError           the Bot API did not take a call
        BotApiUnavailable   try again: connection, 5xx, 429
        Blocked             this user cannot be reached until further notice
        Rejected            this call never works; says which part is at fault
        Unauthorized        the token is wrong: nothing works
      Faults                what keeps the program from starting, all at once

No message of these errors holds a text of a user, a name, a token or a secret: what
Telegram and services say about a fault may quote the user and stays out.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from gateway.domain.processing_record import Outcome


class GatewayError(Exception):
    """Anything that the gateway itself raises."""

    retry: ClassVar[bool] = False
    """True: the same attempt may succeed later."""


class MalformedUpdate(GatewayError):
    """The body of a webhook request is not an update."""


class LeaseLost(GatewayError):
    """The claim's token is not the lane's current one any more."""


class StoreError(GatewayError):
    """The store of the mailboxes refused a request for good."""


class StoreUnavailable(StoreError):
    """The store did not take a request in the time given.

    Without an answer nobody knows whether the request took effect; made again, it has
    its effect once.
    """

    retry = True


class StoreFull(StoreUnavailable):
    """The store answers, but has no room."""


class ForgedEntry(StoreError):
    """An entry of the store has a signature that is not ours."""


class ServiceError(GatewayError):
    """A service did not answer an update.

    Attributes:
        user_message: what the service wants the user to read. Empty: nothing. Never
            logged.
        retry_after: after how long the service wants to be asked again. 0: it does
            not say.
    """

    outcome: ClassVar[Outcome] = Outcome.SERVICE_FAILED

    def __init__(self, what: str, told: str = "", retry_seconds: float = 0) -> None:
        super().__init__(what)
        self.user_message = told
        self.retry_after = retry_seconds


class ServiceTimeout(ServiceError):
    """The deadline passed."""

    outcome = Outcome.SERVICE_TIMEOUT


class ServiceUnavailable(ServiceError):
    """The service was not reached, or cancelled the call, in both attempts."""

    outcome = Outcome.SERVICE_UNAVAILABLE
    retry = True


class ServiceFailed(ServiceError):
    """The service answered with another status than OK, or with garbage."""


class BotApiError(GatewayError):
    """The Bot API did not take a call."""


class BotApiUnavailable(BotApiError):
    """No answer, a 5xx, or a 429.

    Attributes:
        retry_after: for how many seconds Telegram wants to be left alone. 0: no word.
        maybe_applied: the call may have been carried out, and a repetition would be
            seen: a message that is sent twice is read twice.
    """

    retry = True

    def __init__(
        self, what: str, retry_after: float = 0, *, maybe_applied: bool = False
    ) -> None:
        super().__init__(what)
        self.retry_after = retry_after
        self.maybe_applied = maybe_applied


class RecipientBlocked(BotApiError):
    """403: this chat cannot be written to until the user or an admin acts."""


class InvalidBotToken(BotApiError):
    """401 or 404 for the token: it is wrong or was revoked."""


class RejectedPart(StrEnum):
    """Which part of a rejected call was at fault, as far as it can be told."""

    FORMAT = "format"
    """The text cannot be parsed in its format."""
    KEYBOARD = "keyboard"
    EDIT = "edit"
    """The message to edit is gone or cannot be edited."""
    TOPIC = "topic"
    """The topic is gone."""
    REPLY = "reply"
    """The message that is answered is gone."""
    TOO_LATE = "too_late"
    """The pressed button's query is too old or was answered before."""
    SIZE = "size"
    """The file is too large."""
    MEDIA = "media"
    """The file is not there, or not of the kind that it is sent as."""
    OTHER = "other"


class CallRejected(BotApiError):
    """4xx: the same call will never work.

    Attributes:
        part: the part that was at fault.
        status: Telegram's error code.
    """

    def __init__(self, method: str, status: int, part: RejectedPart) -> None:
        super().__init__(f"{method} was rejected with {status} ({part})")
        self.part = part
        self.status = status


class ConfigurationError(GatewayError):
    """What keeps the program from starting.

    Attributes:
        problems: one line each, for a person, without secrets.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.problems = tuple(faults)
