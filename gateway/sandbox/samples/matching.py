"""The matching service: handles the buttons under a proposed person.

If a user decides about another user, the other one gets a message through the gateway's
Delivery service.
"""
# ruff: noqa: N802 - rpcs have the names of their contract

from typing import Any

from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.reply_pb2 import (
    CallbackAnswer,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    OutgoingMessage,
    Reply,
)
from botgateway.delivery.v1.delivery_service_pb2 import Recipient
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

from gateway.sandbox.samples.delivery_client import DeliveryClient
from gateway.sandbox.samples.users import Users


class Matching(MatchingServiceServicer):
    """Confirms each decision about another user, and tells the other user.

    Args:
        users: the users who can be told.
        deliveries: sends the messages; None if the gateway serves no deliveries, so
            that nobody is told.
    """

    def __init__(self, users: Users, deliveries: DeliveryClient | None) -> None:
        self._users = users
        self._deliveries = deliveries

    async def Connect(
        self, request: ConnectRequest, context: ServicerContext[Any, Any]
    ) -> ConnectResponse:
        """Ask another user for their contact, by a message with two buttons."""
        asker = request.context
        question = OutgoingMessage(
            text=f"{asker.first_name or 'Somebody'} asks for your contact.",
            inline_keyboard=build_keyboard(
                {
                    "Accept": f"ACCEPT:{asker.internal_user_id}",
                    "Reject": f"REJECT:{asker.internal_user_id}",
                }
            ),
        )
        reply = await self._decide(
            asker, request.target_user_id, "You asked {}.", question
        )
        return ConnectResponse(reply=reply)

    async def Accept(
        self, request: AcceptRequest, context: ServicerContext[Any, Any]
    ) -> AcceptResponse:
        """Accept another user's request, and tell that user."""
        name = request.context.first_name or "Somebody"
        reply = await self._decide(
            request.context,
            request.target_user_id,
            "You and {} are in contact now.",
            OutgoingMessage(text=f"{name} accepted: you are in contact now."),
        )
        return AcceptResponse(reply=reply)

    async def Reject(
        self, request: RejectRequest, context: ServicerContext[Any, Any]
    ) -> RejectResponse:
        """Reject another user's request, and tell that user."""
        name = request.context.first_name or "Somebody"
        reply = await self._decide(
            request.context,
            request.target_user_id,
            "You said no to {}.",
            OutgoingMessage(text=f"{name} said no."),
        )
        return RejectResponse(reply=reply)

    async def Skip(
        self, request: SkipRequest, context: ServicerContext[Any, Any]
    ) -> SkipResponse:
        """Pass over a proposed user, who is not told."""
        reply = await self._decide(
            request.context, request.target_user_id, "Not {}, then.", None
        )
        return SkipResponse(reply=reply)

    async def _decide(
        self,
        context: RequestContext,
        target_user_id: str,
        text: str,
        message: OutgoingMessage | None,
    ) -> Reply:
        """Tell the other user, and return a reply that replaces the buttons."""
        # The data of a button comes from the user's app: do not trust it.
        name = self._users.find_name(context.bot.id, target_user_id)
        if name is None:
            return _build_alert("This person is not here any more.")
        if message is not None and not await self._tell(
            context, target_user_id, message
        ):
            return _build_alert("This person cannot be reached now.")
        return Reply(
            messages=[OutgoingMessage(text=text.format(name), edit=True)],
            callback_answer=CallbackAnswer(text="Done"),
        )

    async def _tell(
        self, context: RequestContext, user_id: str, message: OutgoingMessage
    ) -> bool:
        """Send a message to another user; made-up people get none."""
        if self._deliveries is None or not self._users.is_user(context.bot.id, user_id):
            return True
        recipient = Recipient(bot=str(context.bot.id), internal_user_id=user_id)
        # The request id is the same if the gateway repeats this call.
        return await self._deliveries.send(recipient, message, context.request_id)


def build_keyboard(data: dict[str, str]) -> InlineKeyboard:
    """Build an inline keyboard with one row of buttons.

    Args:
        data: the callback data of each button, by the button's text.
    """
    row = InlineKeyboardRow(
        buttons=[
            InlineKeyboardButton(text=text, callback_data=data[text]) for text in data
        ]
    )
    return InlineKeyboard(rows=[row])


def _build_alert(text: str) -> Reply:
    return Reply(callback_answer=CallbackAnswer(text=text, show_alert=True))
