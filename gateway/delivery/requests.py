"""Builds deliveries from valid requests."""

from botgateway.delivery.v1 import delivery_pb2
from botgateway.delivery.v1.delivery_pb2 import (
    DELIVERY_PRIORITY_BULK,
    DOUBT_POLICY_DROP,
)
from botgateway.delivery.v1.delivery_service_pb2 import DeliveryOptions

from gateway.delivery.request_checks import AnyRequest, read_time
from gateway.domain.delivery import (
    Delivery,
    DeliveryKind,
    ReportPolicy,
    compute_delivery_id,
    compute_fingerprint,
)

DEFAULT_LIFE_SECONDS = 86400.0
"""How many seconds after its `not_before`, or else its acceptance, a delivery expires,
unless the request has an `expire_time`."""

_REPORTS = {
    delivery_pb2.ReportPolicy.Value(f"REPORT_POLICY_{it.upper()}"): it
    for it in ReportPolicy
} | {delivery_pb2.REPORT_POLICY_UNSPECIFIED: ReportPolicy.NONE}


def serialize_request(request: AnyRequest) -> bytes:
    """Return the bytes of a request, which are the same for equal requests.

    So a repeated request has the same fingerprint whichever library serialized it.
    """
    return request.SerializeToString(deterministic=True)


def build_delivery(
    kind: DeliveryKind,
    request: AnyRequest,
    caller: str,
    bot_id: int,
    chat_id: int,
    now: float,
) -> Delivery:
    """Build the delivery that carries out a request, without storing it.

    Args:
        kind: the kind of the request.
        request: a request in which the checks found nothing wrong.
        caller: the name of the caller.
        bot_id: the id of the bot.
        chat_id: the id of the chat; a private chat has the id of its user.
        now: seconds since the epoch.
    """
    content = serialize_request(request)
    options = request.options
    not_before = _read_not_before(options, now)
    if options.HasField("expire_time"):
        expires_at = read_time(options.expire_time)
    else:
        expires_at = (not_before or now) + DEFAULT_LIFE_SECONDS
    return Delivery(
        delivery_id=compute_delivery_id(bot_id, caller, request.idempotency_key),
        # As those of updates in the same chat.
        ordering_key=f"{bot_id}/{chat_id}",
        bot_id=bot_id,
        caller=caller,
        idempotency_key=request.idempotency_key,
        fingerprint=compute_fingerprint(kind, content),
        kind=kind,
        request=content,
        chat_id=chat_id,
        accepted_at=now,
        not_before=not_before,
        expires_at=expires_at,
        is_bulk=options.priority == DELIVERY_PRIORITY_BULK,
        collapse_key=options.collapse_key,
        repeat_if_doubtful=options.on_doubt != DOUBT_POLICY_DROP,
        report=_REPORTS[options.report],
    )


def _read_not_before(options: DeliveryOptions, now: float) -> float | None:
    if not options.HasField("not_before"):
        return None
    not_before = read_time(options.not_before)
    return not_before if not_before > now else None
