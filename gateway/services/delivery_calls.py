"""Calls the rpcs that serve deliveries, which belong to no update.

One rpc is told what became of each delivery. The other one finds the Telegram id of a
user whom a delivery names by internal id. This module starts no tasks.
"""

from collections.abc import Sequence
from hashlib import blake2b

from botgateway.chat.v1.context_pb2 import Bot, RequestContext
from botgateway.delivery.v1.delivery_pb2 import DeliveryStatus
from google.protobuf.message import DecodeError, Message
from grpc import aio

from gateway.domain.errors import ServiceFailed
from gateway.services.diagnosis.grpc_errors import recognize_problem
from gateway.services.error_mapping import to_service_error
from gateway.services.routing.route_loader import USER_ID_FIELD
from gateway.services.rpc_call import Rpc, build_metadata


class DeliveryCalls:
    """Calls the two rpcs of a service that deliveries need.

    Args:
        report: the rpc that is told what became of deliveries; None if no contract has
            one.
        recipient: the rpc that returns the Telegram id of a user; None if no contract
            has one.
    """

    def __init__(self, report: Rpc | None, recipient: Rpc | None) -> None:
        self._report = report
        self._recipient = recipient

    @property
    def has_reports(self) -> bool:
        """Whether a service wants to know what became of deliveries."""
        return self._report is not None

    async def report(self, statuses: Sequence[DeliveryStatus]) -> None:
        """Tell the service what became of deliveries; do nothing if none wants that.

        The same statuses are sent with the same request id, so that the service can
        recognize a repetition.

        Raises:
            ServiceError: the call failed. The service may have received the statuses.
        """
        rpc = self._report
        if rpc is None:
            return
        request = rpc.route.request_type(**{rpc.route.status_field: statuses})
        changes = [f"{it.delivery_id}:{it.sequence_number}" for it in statuses]
        await _call(rpc, request, _build_request_id("report", *changes))

    async def find_recipient(self, bot_id: int, internal_user_id: str) -> int | None:
        """Ask the service for the Telegram id of a user.

        Args:
            bot_id: the id of the bot that is to write to the user.
            internal_user_id: the user's id at the services.

        Returns:
            The Telegram id; None if the service knows none, or no service can be asked.

        Raises:
            ServiceError: the call failed.
        """
        rpc = self._recipient
        if rpc is None:
            return None
        route = rpc.route
        request = route.request_type(**{USER_ID_FIELD: internal_user_id})
        request_id = _build_request_id("recipient", str(bot_id), internal_user_id)
        if route.context_field:
            context: RequestContext = getattr(request, route.context_field)
            context.MergeFrom(RequestContext(request_id=request_id, bot=Bot(id=bot_id)))
        response = await _call(rpc, request, request_id)
        return int(getattr(response, route.result_field)) or None


async def _call(rpc: Rpc, request: Message, request_id: str) -> Message:
    """Call an rpc and return its response.

    Raises:
        ServiceError: the call failed.
    """
    try:
        response = await rpc.start_unary(
            request.SerializeToString(),
            timeout=rpc.timeout,
            metadata=build_metadata(request_id),
        )
    except aio.AioRpcError as error:
        problem = recognize_problem(error)
        if problem is not None:
            rpc.record_failure(rpc.route.service, rpc.route_name, problem)
        raise to_service_error(error, rpc.route_name, problem) from None
    if response is None:  # the status was OK, but there was no response
        raise ServiceFailed(f"{rpc.route_name}: OK without a response")
    try:
        return rpc.route.response_type.FromString(response)
    except DecodeError:
        raise ServiceFailed(
            f"{rpc.route_name}: the response cannot be decoded"
        ) from None


def _build_request_id(kind: str, *words: str) -> str:
    """Return the idempotency key of a call: the same for the same words."""
    digest = blake2b("\0".join(words).encode(), digest_size=12).hexdigest()
    return f"{kind}-{digest}"
