"""Finds the deliveries of repeated requests that would be refused if they were new.

A caller repeats a request until it gets an answer. Meanwhile the time of the request
may be over, its bot or its method may be gone, or the quota used up. If the first
attempt has stored the delivery, a refusal would make the caller take a success for a
failure.
"""

from collections.abc import Awaitable, Callable

from gateway.delivery.request_checks import AnyRequest
from gateway.delivery.requests import serialize_request
from gateway.domain.delivery import (
    DeliveryKind,
    DeliveryRecord,
    compute_delivery_id,
    compute_fingerprint,
)


class RepeatedRequests:
    """Looks up the deliveries of requests by their idempotency keys.

    Args:
        get_delivery: returns the record of a delivery.
    """

    def __init__(
        self, get_delivery: Callable[[str], Awaitable[DeliveryRecord | None]]
    ) -> None:
        self._get_delivery = get_delivery
        self._bot_ids: dict[tuple[str, str], int] = {}
        """The bots that callers named, which may be gone. The key is the name of the
        caller and of the bot; only bots that existed are in it."""

    def remember_bot(self, caller: str, name: str, bot_id: int) -> None:
        """Remember which bot a caller means by a name."""
        self._bot_ids[caller, name] = bot_id

    async def find(
        self, kind: DeliveryKind, caller: str, bot_name: str, request: AnyRequest
    ) -> str | None:
        """Return the id of the delivery that the same request made, or None.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        bot_id = self._bot_ids.get((caller, bot_name))
        if bot_id is None:
            if not (bot_name.isascii() and bot_name.isdigit()):
                return None
            bot_id = int(bot_name)
        delivery_id = compute_delivery_id(bot_id, caller, request.idempotency_key)
        record = await self._get_delivery(delivery_id)
        fingerprint = compute_fingerprint(kind, serialize_request(request))
        if record is None or record.fingerprint != fingerprint:
            return None
        return delivery_id
