"""A route: what it serves, and what its rpc's request and response look like."""

from typing import Any

from google.protobuf.message import Message
from msgspec import Struct

from gateway.services.routing.converters import Converter
from gateway.services.routing.triggers import Trigger


class Route(Struct, frozen=True, kw_only=True, eq=False):
    """A trigger together with the rpc that serves it.

    Attributes:
        trigger: what makes the gateway call the rpc.
        variables: field and conversion of each variable of the trigger's template.
        description: what a command does, for the menu. Empty: not in the menu.
        method: the rpc's full name.
        path: the rpc's name on the wire.
        service: the service's name in settings.
        request_type: the request's class.
        response_type: the response's class.
        context_field: the request's field for the context.
        message_field: the request's field for the message, also where that is what
            `payload_field` is for. Empty: none.
        event_field: the request's field for the event. Empty: none.
        payload_field: the request's field of the type that belongs to the kind of
            update, or to a pressed button. Empty: none.
        json_field: the request's field for the update's JSON. Empty: none.
        result_field: the response's field for the reply, or for the user id.
        is_streaming: the answer comes piece by piece.
        piece_field: the response's field for a piece of text. Empty: none.
        shows_typing: the user may see that the bot is typing.
        requires_signature: only buttons that the gateway signed are served.
    """

    trigger: Trigger
    variables: tuple[tuple[str, Converter], ...]
    description: str
    method: str
    path: str
    service: str
    request_type: type[Message]
    response_type: type[Message]
    context_field: str
    message_field: str
    event_field: str
    result_field: str
    is_streaming: bool
    piece_field: str
    shows_typing: bool
    payload_field: str = ""
    json_field: str = ""
    requires_signature: bool = False

    @property
    def name(self) -> str:
        """The name for logs and metrics."""
        return self.trigger.name

    def match_text(self, text: str) -> dict[str, Any] | None:
        """Give the fields that a text fills; None if it does not fit."""
        template = self.trigger.template
        texts = template.parse(text) if template else ()
        if texts is None:
            return None
        try:
            return {
                field: convert(part)
                for (field, convert), part in zip(self.variables, texts, strict=False)
            }
        except ValueError:
            return None
