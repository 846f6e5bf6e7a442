"""A route: its trigger, and the fields of its rpc's request and response."""

from typing import Any

from google.protobuf.message import Message
from msgspec import Struct

from gateway.services.routing.converters import Converter
from gateway.services.routing.triggers import DELIVERY_TRIGGERS, Trigger


class Route(Struct, frozen=True, kw_only=True, eq=False):
    """A trigger and the rpc that handles it.

    Attributes:
        trigger: what makes the gateway call the rpc.
        variables: field and converter of each variable of the trigger's template.
        description: the menu text of a command; "" if it is not in the menu.
        method: the rpc's full name.
        path: the rpc's path in HTTP/2.
        service: the service's name in settings.
        request_type: the class of the request.
        response_type: the class of the response.
        context_field: the request's field for the context. Only routes that serve no
            update may have none, then it is "".
        message_field: the request's field for the message, or ""; the same as
            `payload_field` if the payload is a message.
        event_field: the request's field for the event, or "".
        payload_field: the request's field for the payload of the update type or of a
            pressed button, or "".
        json_field: the request's field for the update's JSON, or "".
        result_field: the response's field for the reply, or for the user id; "" if the
            response is not read.
        is_streaming: whether the rpc streams its response.
        piece_field: the response's field for a piece of text, or "".
        shows_typing: whether the typing indicator may be shown.
        status_field: the request's field for the reports of deliveries, or "".
        requires_signature: whether only buttons signed by the gateway are served.
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
    status_field: str = ""
    requires_signature: bool = False

    @property
    def name(self) -> str:
        """The name for logs and metrics."""
        return self.trigger.name

    @property
    def serves_updates(self) -> bool:
        """Whether the rpc is called for updates, and not for deliveries."""
        return self.trigger.kind not in DELIVERY_TRIGGERS

    def match_text(self, text: str) -> dict[str, Any] | None:
        """Return the values that the trigger's template reads from a text, by field.

        None if the text does not match the template.
        """
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
