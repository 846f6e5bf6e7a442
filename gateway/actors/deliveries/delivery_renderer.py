"""Renders the request of a delivery as Bot API calls."""

import asyncio
from collections import deque

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from botgateway.chat.v1.reply_pb2 import Reply
from botgateway.delivery.v1.delivery_service_pb2 import Recipient, SendRequest

from gateway.actors.replies.callback_data import prepare_callback_data
from gateway.actors.replies.reply_sender import LARGE_REPLY_BYTES
from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.delivery import Delivery
from gateway.domain.ports import Messenger, ServiceRouter
from gateway.domain.reply_limits import cut_reply
from gateway.domain.update import OtherUpdate
from gateway.domain.user_state import UserState

_UPDATE_TYPE = "delivery"


class DeliveryRenderer:
    """Renders deliveries by the rules of replies.

    Args:
        messenger: renders the messages.
        services: encodes and signs the data of buttons.
    """

    def __init__(self, messenger: Messenger, services: ServiceRouter) -> None:
        self._messenger = messenger
        self._services = services

    async def render(self, delivery: Delivery, state: UserState) -> deque[BotApiCall]:
        """Return the calls of a delivery, in the order to make them.

        The result is the same for each owner of the mailbox, because a new owner
        continues where the lost one stopped.

        Args:
            delivery: the delivery.
            state: the state of the mailbox. It stores data that is too long for a
                button.
        """
        request = SendRequest.FromString(delivery.request)
        reply = Reply(messages=request.messages)
        target = _build_target(delivery, request.recipient)
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
        if is_large:
            return deque(await asyncio.to_thread(self._messenger.render, target, reply))
        return deque(self._messenger.render(target, reply))


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
