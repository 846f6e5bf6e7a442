"""The error hierarchy. The class attribute `retry` says whether to try again.

    GatewayError
      MalformedUpdate       not an update: goes to the dead letters
      LeaseLost             another worker has the mailbox: abandon the update
      StoreError            the mailbox store refused a request
        StoreUnavailable    try again: the store does not answer
          StoreFull         try again: the store has no space
        IdempotencyKeyReused  a delivery: its key belongs to another request
        BroadcastsUnsupported  this store keeps no broadcasts
        ForgedEntry         written by a third party: never processed
      ServiceError          a service did not reply: the user gets an apology
        ServiceTimeout
        ServiceUnavailable  try again
        ServiceFailed
      BotApiError           the Bot API did not accept a call
        BotApiUnavailable   try again: connection error, 5xx or 429
        RecipientBlocked    this user cannot be reached until further notice
        CallRejected        this call never works; names the part that is wrong
        InvalidBotToken     the token is wrong: no call works
      ConfigurationError    all problems that prevent the start

No message of these errors contains a user's text, a name, a token or a secret.
Descriptions of errors by Telegram and by services may quote the user, so messages do
not include them.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from gateway.domain.processing_record import Outcome

APOLOGY_TEXT = "Something went wrong on our side. Please try again in a minute."
"""What users read after an error, if the service did not send a text for them."""


class GatewayError(Exception):
    """The base class of all errors that the gateway raises on purpose."""

    retry: ClassVar[bool] = False
    """Whether the same operation may succeed if it is tried again later."""


class MalformedUpdate(GatewayError):
    """The body of a webhook request, or a payload in it, is not what Telegram sends."""


class LeaseLost(GatewayError):
    """Another worker may have the mailbox: the lease's token is not the current one.

    The store changed nothing. The owner has to abandon the update.
    """


class StoreError(GatewayError):
    """The mailbox store refused a request, and would refuse it again."""


class StoreUnavailable(StoreError):
    """The store did not answer a request in time.

    It is unknown whether the request had its effect. Requests are idempotent, so it is
    safe to repeat one.
    """

    retry = True


class StoreFull(StoreUnavailable):
    """The store answers, but has no space left: the request had no effect."""


class BroadcastsUnsupported(StoreError):
    """This store keeps no broadcasts, so none can be created."""


class IdempotencyKeyReused(StoreError):
    """A service used an idempotency key before, with another request.

    Nothing was stored for the new request.
    """


class ForgedEntry(StoreError):
    """An entry in Redis without a valid signature: no gateway wrote it.

    Such an entry is never processed.
    """


class ServiceError(GatewayError):
    """A service did not reply to an update, or not with a valid reply.

    Attributes:
        user_message: the service's text for the user; None if it sent none, for which
            the user gets a text of the gateway. Never logged.
        retry_after: seconds after which the service wants to be called again; None if
            it did not say.
    """

    outcome: ClassVar[Outcome] = Outcome.SERVICE_FAILED

    def __init__(
        self,
        message: str,
        user_message: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.user_message = user_message
        self.retry_after = retry_after


class ServiceTimeout(ServiceError):
    """The service did not reply before the deadline of the call."""

    outcome = Outcome.SERVICE_TIMEOUT


class ServiceUnavailable(ServiceError):
    """The service was unreachable or cancelled the call, in the retry as well."""

    outcome = Outcome.SERVICE_UNAVAILABLE
    retry = True


class ServiceFailed(ServiceError):
    """The service replied with an error status, or with a message that is not valid."""


class BotApiError(GatewayError):
    """The Bot API did not accept a call, or its response was lost.

    Attributes:
        reason: a word for programs, such as "chat_not_found"; empty if none is known.
        description: Telegram's description of the error, or an empty string. It may
            quote a user: never logged.
    """

    reason: str = ""
    description: str = ""


class BotApiUnavailable(BotApiError):
    """A call got no response, or one with the status 5xx or 429.

    Attributes:
        retry_after: seconds that Telegram asks to wait before the next attempt; None if
            it did not say.
        maybe_applied: True if the call may have been carried out and a repetition would
            be visible, such as a message that the user gets twice.
    """

    retry = True

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        *,
        maybe_applied: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.maybe_applied = maybe_applied


class RecipientBlocked(BotApiError):
    """403: the bot cannot write to this chat until the user or an admin allows it."""


class InvalidBotToken(BotApiError):
    """Telegram does not know the bot token (401 or 404): it is wrong or was revoked."""


class RejectedPart(StrEnum):
    """The part of a call that Telegram rejected; OTHER if that is not known."""

    FORMAT = "format"
    """The text is not valid in its format."""
    KEYBOARD = "keyboard"
    EDIT = "edit"
    """The message to edit does not exist or cannot be edited."""
    TOPIC = "topic"
    """The topic does not exist."""
    REPLY = "reply"
    """The message to reply to does not exist."""
    TOO_LATE = "too_late"
    """The callback query is too old or was answered before."""
    SIZE = "size"
    """The file is too large."""
    MEDIA = "media"
    """The file does not exist or does not have the type that it is sent as."""
    OTHER = "other"


class CallRejected(BotApiError):
    """Telegram rejected a call with 4xx: the same call would be rejected again.

    Attributes:
        part: the part of the call that Telegram rejected, as far as it is known.
        status: Telegram's error code.
    """

    def __init__(self, method: str, status: int, part: RejectedPart) -> None:
        super().__init__(f"{method} was rejected with {status} ({part})")
        self.part = part
        self.status = status


class ConfigurationError(GatewayError):
    """The settings or the machine do not allow the program to start.

    Attributes:
        problems: one line for each problem, for a person to read, without secrets.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
