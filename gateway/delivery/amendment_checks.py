"""Checks the requests of the rpc Amend."""

from collections.abc import Iterator

from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.delivery_service_pb2 import AmendRequest

from gateway.delivery.failures import Violation
from gateway.delivery.message_checks import check_message

_MAX_REACTION_LENGTH = 16
"""Characters of an emoji, which may consist of several."""


def check_amendment(request: AmendRequest) -> Iterator[Violation]:
    """Yield a violation for each wrong field of an Amend request, except its handle."""
    match request.WhichOneof("amendment"):
        case None:
            yield Violation("amendment", "needs edit, delete, pin, unpin or reaction")
        case "edit":
            yield from _check_edit(request.edit)
        case "reaction":
            if len(request.reaction) > _MAX_REACTION_LENGTH:
                yield Violation("reaction", "is not an emoji")
        case flag:
            if not getattr(request, flag):
                yield Violation(flag, "is set to false")


def _check_edit(message: OutgoingMessage) -> Iterator[Violation]:
    if message.media:
        yield Violation("edit.media", "are not allowed in an edit")
        return
    if message.WhichOneof("markup") not in {None, "inline_keyboard"}:
        yield Violation("edit", "can have only an inline keyboard")
    if message.text.strip() or message.WhichOneof("markup") is None:
        yield from check_message(message, "edit")
