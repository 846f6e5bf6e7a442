"""Broadcasts: one message that a service sends to many chats.

The recipients wait outside of the mailboxes. The pacer puts a delivery for each of them
into its mailbox when its turn has come.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

from msgspec import Struct

from gateway.domain.delivery import Delivery, DeliveryKind, DeliveryState

MAX_RECIPIENTS = 1_500_000
"""The maximum number of recipients of a broadcast. With more, Redis would store their
ids less compactly."""

RETENTION_SECONDS = 7 * 86400
"""How long a broadcast is kept after the time at which it expires."""


class BroadcastState(StrEnum):
    """The state of a broadcast: see `botgateway.delivery.v1.BroadcastState`."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


class Broadcast(Struct, frozen=True, kw_only=True, eq=False, array_like=True):
    """A broadcast as it was created.

    Add fields only at the end: stored broadcasts have to stay readable. Times are
    seconds since the epoch.
    """

    broadcast_id: str
    """16 URL-safe characters, derived from the bot, the caller and the idempotency key,
    so that a repeated request has the same id."""
    bot_id: int
    caller: str
    """The name of the service that created the broadcast."""
    idempotency_key: str
    fingerprint: bytes
    """A digest of the request: a repeated request has the same one."""
    request: bytes
    """The serialized SendRequest of each delivery, without its recipient."""
    created_at: float
    expires_at: float
    repeat_if_doubtful: bool = False


class BroadcastRecord(NamedTuple):
    """A broadcast and its state."""

    broadcast: Broadcast
    state: BroadcastState
    changed_at: float
    """When the state changed to the present one."""


class BroadcastCounts(Struct, frozen=True, kw_only=True):
    """How many recipients of a broadcast there are, and how their deliveries ended.

    `total` is the sum of all others at every reading.
    """

    total: int = 0
    waiting: int = 0
    in_progress: int = 0
    """Those whose delivery is in a mailbox."""
    sent: int = 0
    blocked: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0
    doubtful: int = 0
    reasons: Mapping[str, int] = {}
    """The number of deliveries that ended in another state than SENT, by reason."""


class RecipientFailure(NamedTuple):
    """A recipient who may not have got the message."""

    chat_id: int
    state: DeliveryState
    reason: str


class BroadcastRecipient(NamedTuple):
    """The recipient of a broadcast to whom a delivery goes."""

    broadcast_id: str
    chat_id: int
    expires_at: float
    """When the broadcast expires."""


class EnterResult(StrEnum):
    """The result of putting the delivery for a recipient into its mailbox."""

    ENTERED = "entered"
    NOT_WAITING = "not waiting"
    """It has entered before, or the broadcast was cancelled."""
    FULL = "full"
    """The mailbox is full; the recipient goes on waiting."""


def compute_broadcast_id(bot_id: int, caller: str, idempotency_key: str) -> str:
    """Return the id of a broadcast, which is the same for a repeated request."""
    # A caller's name and a key are printable.
    content = f"{bot_id}\0{caller}\0{idempotency_key}".encode()
    digest = blake2b(content, digest_size=12, person=b"broadcast id").digest()
    return urlsafe_b64encode(digest).decode()


def compute_broadcast_fingerprint(request: bytes) -> bytes:
    """Return the digest by which a repeated request is recognized.

    Args:
        request: the request as bytes that do not depend on who serialized it.
    """
    return blake2b(request, digest_size=16, person=b"broadcast").digest()


def build_recipient_delivery(
    broadcast: Broadcast, chat_id: int, now: float
) -> Delivery:
    """Build the delivery for a recipient of a broadcast; its id is always the same."""
    content = f"{broadcast.broadcast_id}\0{chat_id}".encode()
    digest = blake2b(content, digest_size=12, person=b"recipient id").digest()
    return Delivery(
        delivery_id=urlsafe_b64encode(digest).decode(),
        # As those of updates in the same chat.
        ordering_key=f"{broadcast.bot_id}/{chat_id}",
        bot_id=broadcast.bot_id,
        caller=broadcast.caller,
        idempotency_key="",
        fingerprint=b"",
        kind=DeliveryKind.SEND,
        request=broadcast.request,
        chat_id=chat_id,
        accepted_at=now,
        expires_at=broadcast.expires_at,
        repeat_if_doubtful=broadcast.repeat_if_doubtful,
        broadcast_id=broadcast.broadcast_id,
    )


def get_recipient(delivery: Delivery) -> BroadcastRecipient | None:
    """Return the recipient of a broadcast's delivery; None for other deliveries."""
    if not delivery.broadcast_id:
        return None
    return BroadcastRecipient(
        delivery.broadcast_id, delivery.chat_id, delivery.expires_at
    )
