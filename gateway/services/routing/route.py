"""A route: its trigger, and the fields of its rpc's request and response."""

from typing import Any

from google.protobuf.message import Message
from msgspec import Struct

from gateway.services.routing.converters import Converter
from gateway.services.routing.triggers import DELIVERY_TRIGGERS, Trigger


class Route(Struct, frozen=True, kw_only=True, eq=False):
    """A trigger, the rpc that handles it, and the fields that the gateway uses.

    Attributes:
        trigger: what makes the gateway call the rpc.
        variables: the request's field and the converter of each variable of the
            trigger's template, in order.
        description: the menu text of a command; "" if it is not in the menu.
        method: the rpc's full name.
        path: the rpc's path in HTTP/2.
        service: the service's name in settings.
        request_type: the class of the request.
        response_type: the class of the response.
        context_field: the request's field for the context. It is "" only if the rpc
            serves deliveries and its request has no such field.
        message_field: the request's field for the message, or "" if there is none; the
            same as `payload_field` if the payload is a message.
        event_field: the request's field for the event, or "" if there is none.
        payload_field: the request's field for the payload of the update type or of a
            pressed button, or "" if there is none.
        json_field: the request's field for the update's JSON, or "" if there is none.
        result_field: the response's field for the reply, or for the user id; "" if the
            response is not read.
        is_streaming: whether the rpc streams its response.
        piece_field: the response's field for a piece of text, or "" if there is none.
        shows_typing: whether the user may be shown that the bot is typing.
        status_field: the request's field for what became of deliveries, or "" if the
            rpc does not want that.
        requires_signature: True if only buttons with the gateway's signature are
            served; False if the data of any button is.
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
        """The route's name in logs and metrics: the trigger without its variables."""
        return self.trigger.name

    @property
    def serves_updates(self) -> bool:
        """True if the rpc is called for updates, False if it serves deliveries."""
        return self.trigger.kind not in DELIVERY_TRIGGERS

    def match_text(self, text: str) -> dict[str, Any] | None:
        """Read the values of the template's variables from a text.

        Args:
            text: callback data, or the arguments of a command.

        Returns:
            The converted values by field; None if the text does not match the template,
            or a value is not valid for its field. A route without a template has no
            values.
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
