"""Renders the request of a delivery as Bot API calls."""

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from botgateway.chat.v1.reply_pb2 import Reply
from botgateway.delivery.v1.delivery_service_pb2 import (
    AmendRequest,
    CallRequest,
    Recipient,
    SendRequest,
)
from msgspec import json, structs

from gateway.actors.deliveries.amendments import build_amendment, prepare_edit
from gateway.actors.replies.callback_data import prepare_callback_data
from gateway.actors.replies.reply_sender import LARGE_REPLY_BYTES
from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.delivery import Delivery, DeliveryKind
from gateway.domain.message_handles import MessageHandles
from gateway.domain.ports import Messenger, ServiceRouter
from gateway.domain.reply_limits import cut_reply
from gateway.domain.update import OtherUpdate
from gateway.domain.user_state import UserState

_UPDATE_TYPE = "delivery"


class InvalidDelivery(Exception):
    """The request of a delivery cannot be carried out.

    The exception's text is the reason that the caller gets, such as "handle_invalid".
    """


class DeliveryRenderer:
    """Renders deliveries as Bot API calls, by the rules for replies.

    Every owner of a mailbox has to get the same calls for a delivery, because a new
    owner continues with the call at which the lost one stopped.

    Args:
        messenger: renders the messages.
        services: encodes and signs the data of buttons.
        handles: reads the signed handles by which requests name sent messages.
    """

    def __init__(
        self, messenger: Messenger, services: ServiceRouter, handles: MessageHandles
    ) -> None:
        self._messenger = messenger
        self._services = services
        self._handles = handles

    async def render(self, delivery: Delivery, state: UserState) -> deque[BotApiCall]:
        """Return the calls of a delivery, in the order to make them.

        Args:
            delivery: the delivery.
            state: the state of the mailbox. Data that is too long for a button is
                stored in it, except for groups and channels.

        Raises:
            InvalidDelivery: the delivery cannot be carried out.
        """
        match delivery.kind:
            case DeliveryKind.SEND:
                request = SendRequest.FromString(delivery.request)
                reply = Reply(messages=request.messages)
                target = _build_target(delivery, request.recipient)
                return deque(await self._render_reply(delivery, reply, target, state))
            case DeliveryKind.AMEND:
                return deque([await self._render_amendment(delivery, state)])
            case DeliveryKind.CALL:
                return deque([_build_call(delivery)])

    async def _render_reply(
        self,
        delivery: Delivery,
        reply: Reply,
        target: OtherUpdate,
        state: UserState,
        edited_message_id: int | None = None,
    ) -> Sequence[BotApiCall]:
        is_large = len(delivery.request) > LARGE_REPLY_BYTES
        if is_large:
            cut_reply(reply)
        prepare_callback_data(
            reply,
            target,
            # The buttons in a group belong to no user's mailbox.
            state if delivery.chat_id > 0 else None,
            self._services,
            delivery_id=delivery.delivery_id,
        )
        render = partial(
            self._messenger.render,
            target,
            reply,
            edited_message_id=edited_message_id,
        )
        return await asyncio.to_thread(render) if is_large else render()

    async def _render_amendment(
        self, delivery: Delivery, state: UserState
    ) -> BotApiCall:
        request = AmendRequest.FromString(delivery.request)
        handle = self._handles.decode(request.handle)
        if handle is None or handle.chat_id != delivery.chat_id:
            raise InvalidDelivery("handle_invalid")
        if request.WhichOneof("amendment") != "edit":
            return build_amendment(request, handle)
        calls = await self._render_reply(
            delivery,
            Reply(messages=[prepare_edit(request)]),
            _build_target(delivery, Recipient()),
            state,
            handle.message_id,
        )
        if len(calls) != 1:
            raise InvalidDelivery("text_too_long" if calls else "nothing_to_send")
        # A message that cannot be edited is not sent again: the caller learns that.
        return structs.replace(calls[0], resend_parameters=None)


def _build_call(delivery: Delivery) -> BotApiCall:
    """Build the call of a method that the service has chosen."""
    request = CallRequest.FromString(delivery.request)
    parameters: dict[str, Any] = {"chat_id": delivery.chat_id}
    if request.recipient.message_thread_id:
        parameters["message_thread_id"] = request.recipient.message_thread_id
    if request.parameters_json:
        parameters |= json.decode(request.parameters_json, type=dict[str, Any])
    if not _is_chat(parameters["chat_id"]):
        raise InvalidDelivery("chat_id_invalid")
    return BotApiCall(method=request.method, parameters=parameters, is_verbatim=True)


def _is_chat(chat_id: object) -> bool:
    """Return whether a value is an id or a username, as Telegram expects for a chat."""
    if isinstance(chat_id, str):
        return (
            chat_id.startswith("@") or re.fullmatch(r"-?\d{1,16}", chat_id) is not None
        )
    return isinstance(chat_id, int)


def _build_target(delivery: Delivery, recipient: Recipient) -> OtherUpdate:
    """Build the update that a reply with the delivery's messages would answer."""
    context = RequestContext(request_id=delivery.delivery_id, chat_id=delivery.chat_id)
    if delivery.chat_id > 0:  # the ids of groups and channels are negative
        context.chat_type = CHAT_TYPE_PRIVATE
    if recipient.message_thread_id:
        context.message_thread_id = recipient.message_thread_id
    return OtherUpdate(
        update_id=0,
        update_type=_UPDATE_TYPE,
        ordering_key=delivery.ordering_key,
        context=context,
    )
