"""Builds the Bot API calls that change a message which was sent before."""

from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.delivery_service_pb2 import AmendRequest

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.message_handles import MessageHandle

_ENDS = {
    "deleteMessage": frozenset({"message_not_found"}),
    "pinChatMessage": frozenset({"not_modified"}),
    "unpinChatMessage": frozenset({"message_not_found", "not_modified"}),
}
"""For each method, the reasons of a refusal that mean that there is nothing to do."""


def build_amendment(request: AmendRequest, handle: MessageHandle) -> BotApiCall:
    """Build the Bot API call that deletes, pins, unpins or reacts to a message.

    Args:
        request: the request of the rpc Amend. For an edit use `prepare_edit`.
        handle: the message to change, decoded from the request.

    Raises:
        ValueError: the request has an edit, or none of these changes.
    """
    parameters = {"chat_id": handle.chat_id, "message_id": handle.message_id}
    match request.WhichOneof("amendment"):
        case "delete":
            return BotApiCall(method="deleteMessage", parameters=parameters)
        case "pin":
            return BotApiCall(
                method="pinChatMessage",
                parameters={**parameters, "disable_notification": True},
            )
        case "unpin":
            return BotApiCall(method="unpinChatMessage", parameters=parameters)
        case "reaction":
            emoji = request.reaction
            reaction = [{"type": "emoji", "emoji": emoji}] if emoji else []
            return BotApiCall(
                method="setMessageReaction",
                parameters={**parameters, "reaction": reaction},
            )
    raise ValueError("a request has no amendment that this gateway knows")


def prepare_edit(request: AmendRequest) -> OutgoingMessage:
    """Return the new message of an edit as a copy with `edit` set.

    The renderer then makes an edit of it, and no new message.
    """
    message = OutgoingMessage()
    message.CopyFrom(request.edit)
    message.edit = True
    return message


def has_nothing_to_do(call: BotApiCall, reason: str) -> bool:
    """Return whether Telegram refused a change because it is in effect already.

    Args:
        call: the call that was refused.
        reason: the reason of the error, such as "not_modified".
    """
    return reason in _ENDS.get(call.method, ())
