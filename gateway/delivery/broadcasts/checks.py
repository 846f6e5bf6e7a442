"""Checks the requests for broadcasts."""

from collections.abc import Iterator

from botgateway.delivery.v1.broadcast_service_pb2 import (
    AddRecipientsRequest,
    CreateBroadcastRequest,
)
from botgateway.delivery.v1.delivery_pb2 import DoubtPolicy

from gateway.delivery.failures import Violation
from gateway.delivery.message_checks import check_message
from gateway.delivery.request_checks import (
    MAX_SCHEDULE_SECONDS,
    MAX_TELEGRAM_ID,
    check_idempotency_key,
    is_valid_time,
    read_time,
)

MAX_MESSAGE_BYTES = 64 * 1024
"""The maximum size of a broadcast's message, which the store copies per delivery."""

MAX_IDS = 10_000
"""The maximum number of recipients in one request of the stream of AddRecipients."""

TIME_OVER = Violation("expire_time", "is over")
"""The violation of a request whose `expire_time` is past. If the broadcast was created
by an earlier attempt, its repetition is accepted nevertheless."""


def check_broadcast(request: CreateBroadcastRequest, now: float) -> Iterator[Violation]:
    """Yield a violation for each wrong field of a new broadcast, except its bot.

    Args:
        request: the request.
        now: seconds since the epoch.
    """
    if request.message.edit:
        yield Violation("message.edit", "is not allowed here")
    yield from check_message(request.message, "message")
    if any(it.WhichOneof("source") == "upload" for it in request.message.media):
        yield Violation("message.media", "cannot have uploads: use file ids or URLs")
    elif request.message.ByteSize() > MAX_MESSAGE_BYTES:
        yield Violation("message", f"has more than {MAX_MESSAGE_BYTES} bytes")
    yield from check_idempotency_key(request.idempotency_key)
    yield from _check_expire_time(request, now)
    if request.on_doubt not in DoubtPolicy.values():
        yield Violation("on_doubt", "has an unknown value")


def check_recipients(request: AddRecipientsRequest) -> Iterator[Violation]:
    """Yield a violation for each wrong field of one request of AddRecipients."""
    if len(request.telegram_user_ids) + len(request.chat_ids) > MAX_IDS:
        yield Violation("telegram_user_ids", f"more than {MAX_IDS} ids in one message")
    if not all(0 < it < MAX_TELEGRAM_ID for it in request.telegram_user_ids):
        yield Violation("telegram_user_ids", "contains what is not a user's id")
    if not all(-MAX_TELEGRAM_ID < it < 0 for it in request.chat_ids):
        yield Violation(
            "chat_ids",
            "contains what is not the id of a group or channel, which is negative",
        )


def _check_expire_time(
    request: CreateBroadcastRequest, now: float
) -> Iterator[Violation]:
    if not request.HasField("expire_time"):
        return
    if not is_valid_time(request.expire_time):
        yield Violation("expire_time", "is not a valid time")
        return
    expires_at = read_time(request.expire_time)
    if expires_at <= now:
        yield TIME_OVER
    elif expires_at > now + MAX_SCHEDULE_SECONDS:
        yield Violation("expire_time", "is more than 366 days ahead")
