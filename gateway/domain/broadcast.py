"""Broadcasts: one message that a service sends to many chats.

The chats, called recipients, are stored outside of the mailboxes. One worker at a time,
the pacer (`gateway/delivery/bulk_pacer.py`), puts a delivery for each recipient into
the mailbox of that chat, at the rate that the bot may send at.
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
    """The state of a broadcast: see `botgateway.delivery.v1.BroadcastState`.

    A broadcast begins as DRAFT, to which recipients are added. CANCELLED and COMPLETED
    are final.
    """

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


class Broadcast(Struct, frozen=True, kw_only=True, eq=False, array_like=True):
    """A broadcast as it was created, which never changes. Its state is elsewhere.

    `BroadcastRecord` has the state. Add fields only at the end: stored broadcasts have
    to stay readable. Times are seconds since the epoch.
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
    """A stored broadcast, its present state, and when that state began."""

    broadcast: Broadcast
    state: BroadcastState
    changed_at: float
    """When the present state began, in seconds since the epoch."""


class BroadcastCounts(Struct, frozen=True, kw_only=True):
    """The number of recipients of a broadcast, by what became of their deliveries.

    `total` is always the sum of all other numbers. `waiting` are the recipients whose
    delivery is not in a mailbox yet; the numbers after `in_progress` are those whose
    delivery has ended.
    """

    total: int = 0
    waiting: int = 0
    in_progress: int = 0
    """Recipients whose delivery is in a mailbox."""
    sent: int = 0
    blocked: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0
    doubtful: int = 0
    reasons: Mapping[str, int] = {}
    """The number of deliveries that ended in another state than SENT, by reason."""


class RecipientFailure(NamedTuple):
    """A recipient of a broadcast who may not have got the message, and why."""

    chat_id: int
    state: DeliveryState
    reason: str


class BroadcastRecipient(NamedTuple):
    """The recipient for whom a delivery of a broadcast is sent."""

    broadcast_id: str
    chat_id: int
    expires_at: float
    """When the broadcast expires."""


class EnterResult(StrEnum):
    """The result of putting a recipient's delivery into its mailbox without a lease."""

    ENTERED = "entered"
    NOT_WAITING = "not waiting"
    """Nothing was stored: the delivery was put before, or its broadcast was
    cancelled."""
    FULL = "full"
    """Nothing was stored, because the mailbox is full or the store is replaying; try
    again later."""


def compute_broadcast_id(bot_id: int, caller: str, idempotency_key: str) -> str:
    """Return the id of a broadcast: a digest of who created it and with which key.

    A repeated request therefore has the same id, and creates no second broadcast.

    Args:
        bot_id: the user id of the bot that sends the messages.
        caller: the name of the service that asks for the broadcast.
        idempotency_key: the key that this service chose for its request.
    """
    # A caller's name and a key are printable.
    content = f"{bot_id}\0{caller}\0{idempotency_key}".encode()
    digest = blake2b(content, digest_size=12, person=b"broadcast id").digest()
    return urlsafe_b64encode(digest).decode()


def compute_broadcast_fingerprint(request: bytes) -> bytes:
    """Return a digest of a request, which differs from that of any other request.

    If a service uses an idempotency key again, an equal digest means that it repeats
    the same request.

    Args:
        request: the request in a serialization that is the same for equal requests,
            whatever program made it.
    """
    return blake2b(request, digest_size=16, person=b"broadcast").digest()


def build_recipient_delivery(
    broadcast: Broadcast, chat_id: int, now: float
) -> Delivery:
    """Build the delivery that sends a broadcast's message to one recipient.

    Its id is derived from the broadcast and the chat, so it is the same at every call.

    Args:
        broadcast: the broadcast.
        chat_id: Telegram's id of the recipient's chat.
        now: the time at which the delivery counts as accepted, in seconds since the
            epoch.
    """
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
    """Return for which recipient of which broadcast a delivery is.

    Returns None if the delivery does not belong to a broadcast.
    """
    if not delivery.broadcast_id:
        return None
    return BroadcastRecipient(
        delivery.broadcast_id, delivery.chat_id, delivery.expires_at
    )
