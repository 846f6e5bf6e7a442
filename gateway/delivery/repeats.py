"""Finds the deliveries of repeated requests that would be refused if they were new.

A caller repeats a request until it gets an answer. Meanwhile the `expire_time` of the
request may have passed, its bot may be removed, its method may be forbidden, or the
quota may be used up. If an earlier attempt has stored the delivery, a refusal would
make the caller believe that it failed.
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
        get_delivery: returns the record of a delivery, or None if there is none.
    """

    def __init__(
        self, get_delivery: Callable[[str], Awaitable[DeliveryRecord | None]]
    ) -> None:
        self._get_delivery = get_delivery
        self._bot_ids: dict[tuple[str, str], int] = {}
        """The bots that callers named, which may be gone. The key is the name of the
        caller and of the bot; only bots that existed are in it."""

    def remember_bot(self, caller: str, name: str, bot_id: int) -> None:
        """Remember which bot a caller means by a name, in case the bot is removed.

        Args:
            caller: the name of the caller.
            name: the name or id of the bot in a request; may be empty.
            bot_id: the id of the bot.
        """
        self._bot_ids[caller, name] = bot_id

    async def find(
        self, kind: DeliveryKind, caller: str, bot_name: str, request: AnyRequest
    ) -> str | None:
        """Return the id of the delivery that an earlier attempt of a request stored.

        Args:
            kind: the kind of the request.
            caller: the name of the caller.
            bot_name: the name or id of the bot in the request; may be empty.
            request: the request.

        Returns:
            The id; None if there is no such delivery, if the idempotency key was used
            with another request, or if the bot is unknown.

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
