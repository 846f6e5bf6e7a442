"""Deliveries: messages that a service sends to a user or a chat on its own initiative.

A delivery is mail in the mailbox of its recipient, behind everything that was accepted
before it. Its record, which outlives the mail, has its state.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b

from msgspec import Struct

RECORD_SECONDS = 24 * 3600
"""How long a record and its idempotency key are kept after the end of the delivery."""


class DeliveryState(StrEnum):
    """The state of a delivery: see `botgateway.delivery.v1.DeliveryState`."""

    ACCEPTED = "accepted"
    SCHEDULED = "scheduled"
    SENDING = "sending"
    SENT = "sent"
    BLOCKED = "blocked"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DOUBTFUL = "doubtful"

    @property
    def is_final(self) -> bool:
        """Whether the delivery has ended."""
        return self not in _OPEN_STATES


_OPEN_STATES = frozenset(
    {DeliveryState.ACCEPTED, DeliveryState.SCHEDULED, DeliveryState.SENDING}
)


class DeliveryKind(StrEnum):
    """The request that a delivery carries out."""

    SEND = "send"
    AMEND = "amend"
    CALL = "call"


class ReportPolicy(StrEnum):
    """Which ends of a delivery are reported to the rpc with the trigger `report`."""

    NONE = "none"
    FAILURES = "failures"
    ALL = "all"


class Delivery(Struct, frozen=True, kw_only=True, eq=False, array_like=True):
    """A delivery as it is stored in a mailbox.

    Add fields only at the end: stored deliveries have to stay readable. Times are
    seconds since the epoch.
    """

    delivery_id: str
    """16 URL-safe characters, derived from the bot, the caller and the idempotency key,
    so that a repeated request has the same id."""
    ordering_key: str
    """The key of the recipient's mailbox."""
    bot_id: int
    caller: str
    """The name of the service that asked for the delivery."""
    idempotency_key: str
    fingerprint: bytes
    """A digest of the request: a repeated request has the same one."""
    kind: DeliveryKind
    request: bytes
    """The serialized SendRequest, AmendRequest or CallRequest."""
    chat_id: int
    """Telegram's id of the chat that gets the messages."""
    accepted_at: float
    not_before: float | None = None
    expires_at: float
    is_bulk: bool = False
    """Whether it waits until the budget of its bot for bulk messages lets it in."""
    collapse_key: str = ""
    repeat_if_doubtful: bool = True
    report: ReportPolicy = ReportPolicy.NONE
    broadcast_id: str = ""
    """The broadcast to which it belongs; empty for a delivery of its own."""


class SentPart(Struct, frozen=True, array_like=True):
    """A message of a delivery that Telegram accepted."""

    chat_id: int
    message_id: int


class DeliveryRecord(Struct, kw_only=True, eq=False):
    """What the store knows about a delivery."""

    delivery_id: str
    ordering_key: str
    caller: str
    idempotency_key: str
    state: DeliveryState
    sequence_number: int
    """Grows with each change of the state."""
    reason: str = ""
    """The reason of a final state other than SENT: a word, never a user's text."""
    description: str = ""
    """Telegram's description of a refusal. It may quote a user: never logged."""
    next_part: int = 0
    """The number of the Bot API call that is next. If `is_part_begun`, the effect of
    that call is unknown until its owner records the result."""
    is_part_begun: bool = False
    sent_parts: Sequence[SentPart] = ()
    maybe_repeated: bool = False
    """Whether a call was made again although it may have had its effect."""
    accepted_at: float
    updated_at: float
    fingerprint: bytes = b""
    """The digest of the request. Only `DeliveryStore.get_delivery` returns it."""


class DeliveryResult(Struct, frozen=True, kw_only=True):
    """The end of a delivery, as its actor commits it."""

    state: DeliveryState
    reason: str = ""
    description: str = ""
    sent_parts: Sequence[SentPart] = ()
    maybe_repeated: bool = False
    is_part_begun: bool = False
    """Whether the effect of a call is unknown, in case the delivery is sent again."""


def compute_delivery_id(bot_id: int, caller: str, idempotency_key: str) -> str:
    """Return the id of a delivery, which is the same for a repeated request."""
    # A caller's name and a key are printable.
    content = f"{bot_id}\0{caller}\0{idempotency_key}".encode()
    digest = blake2b(content, digest_size=12, person=b"delivery id").digest()
    return urlsafe_b64encode(digest).decode()


def compute_fingerprint(kind: DeliveryKind, request: bytes) -> bytes:
    """Return the digest that tells a repeated request from another one.

    A caller may use an idempotency key again only for a request with the same digest.

    Args:
        kind: the request's kind.
        request: the request as bytes that do not depend on who serialized it.
    """
    return blake2b(request, digest_size=16, person=kind.encode()).digest()
