"""The matching service: handles the buttons under a proposed person."""
# ruff: noqa: N802 - rpcs have the names of their contract

from typing import Any

from botgateway.chat.v1.reply_pb2 import CallbackAnswer, OutgoingMessage, Reply
from botgateway.matching.v1.matching_service_pb2 import (
    AcceptRequest,
    AcceptResponse,
    ConnectRequest,
    ConnectResponse,
    RejectRequest,
    RejectResponse,
    SkipRequest,
    SkipResponse,
)
from botgateway.matching.v1.matching_service_pb2_grpc import MatchingServiceServicer
from grpc.aio import ServicerContext

from gateway.sandbox.samples.sample_people import PEOPLE


class Matching(MatchingServiceServicer):
    """Confirms each decision, without matching anybody."""

    async def Connect(
        self, request: ConnectRequest, context: ServicerContext[Any, Any]
    ) -> ConnectResponse:
        """Ask another user for a contact."""
        return ConnectResponse(reply=_decided(request.target_user_id, "You asked {}."))

    async def Accept(
        self, request: AcceptRequest, context: ServicerContext[Any, Any]
    ) -> AcceptResponse:
        """Accept another user's request."""
        return AcceptResponse(
            reply=_decided(request.target_user_id, "You and {} are in contact now.")
        )

    async def Reject(
        self, request: RejectRequest, context: ServicerContext[Any, Any]
    ) -> RejectResponse:
        """Reject another user's request."""
        return RejectResponse(
            reply=_decided(request.target_user_id, "You said no to {}.")
        )

    async def Skip(
        self, request: SkipRequest, context: ServicerContext[Any, Any]
    ) -> SkipResponse:
        """Pass over a proposed user."""
        return SkipResponse(reply=_decided(request.target_user_id, "Not {}, then."))


def _decided(target_user_id: str, text: str) -> Reply:
    """Return a reply that replaces the proposal and its buttons."""
    # The data of a button comes from the user's app: do not trust it.
    name = PEOPLE.get(target_user_id)
    if name is None:
        gone = CallbackAnswer(text="This person is not here any more.", show_alert=True)
        return Reply(callback_answer=gone)
    return Reply(
        messages=[OutgoingMessage(text=text.format(name), edit=True)],
        callback_answer=CallbackAnswer(text="Done"),
    )
