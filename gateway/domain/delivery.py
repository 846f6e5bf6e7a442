"""Deliveries: messages that a service sends to a user or a chat on its own initiative.

A delivery is stored in the mailbox of the chat that gets it, its recipient, behind all
that was accepted before. Its state is kept in a separate record, which remains for
`RECORD_SECONDS` after the delivery has ended and left the mailbox.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b

from msgspec import Struct

RECORD_SECONDS = 24 * 3600
"""How long a record and its idempotency key are kept after the end of the delivery."""


class DeliveryState(StrEnum):
    """The state of a delivery: see `botgateway.delivery.v1.DeliveryState`.

    ACCEPTED: in its mailbox. SCHEDULED: waits outside of it. SENDING: its first Bot API
    call has begun. All others are final.
    """

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
        """Whether the delivery has ended.

        True for all states but ACCEPTED, SCHEDULED and SENDING.
        """
        return self not in _OPEN_STATES


_OPEN_STATES = frozenset(
    {DeliveryState.ACCEPTED, DeliveryState.SCHEDULED, DeliveryState.SENDING}
)


class DeliveryKind(StrEnum):
    """What a delivery does: send a message, change a sent one, or make a Bot API call.

    Each value stands for the request of one rpc: SendRequest, AmendRequest or
    CallRequest.
    """

    SEND = "send"
    AMEND = "amend"
    CALL = "call"


class ReportPolicy(StrEnum):
    """Which ends of a delivery a service is told, by its rpc with the trigger `report`.

    NONE: none; FAILURES: all final states except SENT; ALL: every final state.
    """

    NONE = "none"
    FAILURES = "failures"
    ALL = "all"


class Delivery(Struct, frozen=True, kw_only=True, eq=False, array_like=True):
    """A delivery as a service asked for it. Stored in a mailbox, it never changes.

    Its state is in `DeliveryRecord`. Add fields only at the end: stored deliveries have
    to stay readable. Times are seconds since the epoch.
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
    """Whether it waits outside of its mailbox until the pacer lets it in: see
    `gateway/delivery/bulk_pacer.py`."""
    collapse_key: str = ""
    repeat_if_doubtful: bool = True
    report: ReportPolicy = ReportPolicy.NONE
    broadcast_id: str = ""
    """The id of the broadcast that it belongs to; empty for a single delivery."""


class SentPart(Struct, frozen=True, array_like=True):
    """A message of a delivery that Telegram accepted, by its ids."""

    chat_id: int
    message_id: int


class DeliveryRecord(Struct, kw_only=True, eq=False):
    """What the store knows about a delivery: its state, and how far it was sent.

    A delivery may need several Bot API calls; each of them is a "part". Times are
    seconds since the epoch.
    """

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
    """How a delivery ended; its actor passes it to `DeliveryStore.commit_delivery`.

    The fields mean the same as those of `DeliveryRecord`, in which they are stored.
    """

    state: DeliveryState
    reason: str = ""
    description: str = ""
    sent_parts: Sequence[SentPart] = ()
    maybe_repeated: bool = False
    is_part_begun: bool = False
    """Whether the effect of a call is unknown, in case the delivery is sent again."""


def compute_delivery_id(bot_id: int, caller: str, idempotency_key: str) -> str:
    """Return the id of a delivery: a digest of who asked for it and with which key.

    A repeated request therefore has the same id, and stores no second delivery.

    Args:
        bot_id: the user id of the bot that sends the messages.
        caller: the name of the service that asks for the delivery.
        idempotency_key: the key that this service chose for its request.
    """
    # A caller's name and a key are printable.
    content = f"{bot_id}\0{caller}\0{idempotency_key}".encode()
    digest = blake2b(content, digest_size=12, person=b"delivery id").digest()
    return urlsafe_b64encode(digest).decode()


def compute_fingerprint(kind: DeliveryKind, request: bytes) -> bytes:
    """Return a digest of a request, which differs from that of any other request.

    A caller may use an idempotency key again only for a request with the same digest.

    Args:
        kind: the kind of the request; requests of different kinds have different
            digests.
        request: the request in a serialization that is the same for equal requests,
            whatever program made it.
    """
    return blake2b(request, digest_size=16, person=kind.encode()).digest()
