"""Checks the fields that the requests for deliveries share."""

from collections.abc import Iterator

from botgateway.delivery.v1.delivery_pb2 import (
    DELIVERY_PRIORITY_BULK,
    DeliveryPriority,
    DoubtPolicy,
    ReportPolicy,
)
from botgateway.delivery.v1.delivery_service_pb2 import (
    AmendRequest,
    CallRequest,
    DeliveryOptions,
    Recipient,
    SendRequest,
)
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.delivery.failures import Violation

MAX_KEY_LENGTH = 128
MAX_COLLAPSE_KEY_LENGTH = 64

MAX_SCHEDULE_SECONDS = 366 * 86400.0

MAX_TELEGRAM_ID = 2**52
"""Telegram's ids have at most 52 significant bits (Bot API, Chat: id)."""

_MIN_TIMESTAMP, _MAX_TIMESTAMP = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999 (google.protobuf.Timestamp)."""

# Protobuf makes a new list of the values each time.
_PRIORITIES = frozenset(DeliveryPriority.values())
_DOUBT_POLICIES = frozenset(DoubtPolicy.values())
_REPORT_POLICIES = frozenset(ReportPolicy.values())

AnyRequest = SendRequest | AmendRequest | CallRequest
"""A request of the rpcs Send, Amend and Call, which each make a delivery."""


def check_common(request: AnyRequest, now: float) -> Iterator[Violation]:
    """Yield a violation for each wrong field among those that all deliveries have.

    Args:
        request: the request.
        now: seconds since the epoch.
    """
    yield from check_idempotency_key(request.idempotency_key)
    if not request.HasField("options"):
        return
    yield from _check_options(request.options, now)
    if request.options.priority == DELIVERY_PRIORITY_BULK:
        if not isinstance(request, SendRequest):
            yield Violation("options.priority", "can be BULK only in a SendRequest")
        elif len(request.messages) > 1:
            yield Violation("messages", "of a bulk delivery can have one message only")


def check_idempotency_key(key: str) -> Iterator[Violation]:
    """Yield a violation if an idempotency key is empty, too long or not printable."""
    if not _is_key(key, MAX_KEY_LENGTH):
        yield Violation(
            "idempotency_key", f"needs 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        )


def check_recipient(recipient: Recipient) -> Iterator[Violation]:
    """Yield a violation for each wrong field of a recipient, except for its bot."""
    match recipient.WhichOneof("target"):
        case None:
            yield Violation(
                "recipient", "needs internal_user_id, telegram_user_id or chat_id"
            )
        case "internal_user_id":
            if not recipient.internal_user_id:
                yield Violation("recipient.internal_user_id", "is empty")
        case "telegram_user_id":
            if not 0 < recipient.telegram_user_id < MAX_TELEGRAM_ID:
                yield Violation("recipient.telegram_user_id", "is not a user's id")
        case "chat_id":
            if not -MAX_TELEGRAM_ID < recipient.chat_id < 0:
                yield Violation(
                    "recipient.chat_id",
                    "is not the id of a group or channel, which is negative; use"
                    " telegram_user_id for private chats",
                )
    if recipient.HasField("message_thread_id") and recipient.message_thread_id <= 0:
        yield Violation("recipient.message_thread_id", "is not a topic's id")


def _check_options(options: DeliveryOptions, now: float) -> Iterator[Violation]:
    """Yield what is wrong with the options of a delivery.

    Args:
        options: the options.
        now: seconds since the epoch.
    """
    yield from _check_times(options, now)
    if options.collapse_key and not _is_key(
        options.collapse_key, MAX_COLLAPSE_KEY_LENGTH
    ):
        yield Violation(
            "options.collapse_key",
            f"needs 1 to {MAX_COLLAPSE_KEY_LENGTH} printable ASCII characters",
        )
    for field, value, known in (
        ("priority", options.priority, _PRIORITIES),
        ("on_doubt", options.on_doubt, _DOUBT_POLICIES),
        ("report", options.report, _REPORT_POLICIES),
    ):
        if value not in known:
            yield Violation(f"options.{field}", "has an unknown value")


def _check_times(options: DeliveryOptions, now: float) -> Iterator[Violation]:
    valid = True
    for field, time in (
        ("not_before", options.not_before),
        ("expire_time", options.expire_time),
    ):
        if not is_valid_time(time):
            valid = False
            yield Violation(f"options.{field}", "is not a valid time")
    if not valid:
        return
    start = now
    if options.HasField("not_before"):
        start = max(now, read_time(options.not_before))
        if start > now + MAX_SCHEDULE_SECONDS:
            yield Violation("options.not_before", "is more than 366 days ahead")
    if options.HasField("expire_time"):
        expires_at = read_time(options.expire_time)
        if expires_at <= now:
            yield Violation("options.expire_time", "is over")
        elif expires_at <= start:
            yield Violation("options.expire_time", "is not later than not_before")


def _is_key(key: str, max_length: int) -> bool:
    return 0 < len(key) <= max_length and key.isascii() and key.isprintable()


def is_valid_time(time: Timestamp) -> bool:
    """Return whether a time is one between the years 1 and 9999."""
    return _MIN_TIMESTAMP <= time.seconds <= _MAX_TIMESTAMP and 0 <= time.nanos < 10**9


def read_time(time: Timestamp) -> float:
    """Return a valid time as seconds since the epoch."""
    return time.seconds + time.nanos / 1e9
