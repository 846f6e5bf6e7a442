"""Reads the routes of one rpc out of its contract, and says what is wrong with them.

Fields are found by their type, so their names are the service's own. Every fault is
collected: a route that has one is read on as far as it can be, so that its other
faults, and those of the table that it would be part of, come up in the same run.
"""

from collections.abc import Sequence
from typing import Any

from botgateway.route.v1 import route_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet
from msgspec import Struct

from gateway.services.fields import Convert, converter
from gateway.services.templates import Template
from gateway.services.triggers import Trigger, read_trigger

HELP = "help"
"""The command that the gateway answers itself."""

DESCRIPTION_LENGTH = 256
"""Bot API: BotCommand.description, 1 to 256 characters."""

_CONTEXT = "botgateway.chat.v1.RequestContext"
_MESSAGE = "botgateway.chat.v1.IncomingMessage"
_REPLY = "botgateway.chat.v1.Reply"
_EVENT = "botgateway.route.v1.Event"
_USER_ID = "internal_user_id"

_NUMBER = route_pb2.ROUTE_FIELD_NUMBER
_UNREADABLE = (
    f"option {_NUMBER} cannot be read: botgateway/route/v1/route.proto is not loaded,"
    " or another extension took its number"
)


class Route(Struct, frozen=True, kw_only=True, eq=False):
    """A trigger together with the rpc that serves it.

    Attributes:
        trigger: what makes the gateway call the rpc.
        variables: field and conversion of each variable of the trigger's template.
        description: what a command does, for the menu. Empty: not in the menu.
        method: the rpc's full name.
        path: the rpc's name on the wire.
        service: the service's name in settings.
        request: the request's class.
        response: the response's class.
        context_field: the request's field for the context.
        message_field: the request's field for the message. Empty: none.
        event_field: the request's field for the event. Empty: none.
        answer_field: the response's field for the reply, or for the user id.
        streams: the answer comes piece by piece.
        piece_field: the response's field for a piece of text. Empty: none.
        shows_typing: the user may see that the bot is typing.
    """

    trigger: Trigger
    variables: tuple[tuple[str, Convert], ...]
    description: str
    method: str
    path: str
    service: str
    request: type[Message]
    response: type[Message]
    context_field: str
    message_field: str
    event_field: str
    answer_field: str
    streams: bool
    piece_field: str
    shows_typing: bool

    @property
    def name(self) -> str:
        """The name for logs and metrics."""
        return self.trigger.name

    def bind(self, text: str) -> dict[str, Any] | None:
        """Give the fields that a text fills; None if it does not fit."""
        template = self.trigger.template
        texts = template.split(text) if template else ()
        if texts is None:
            return None
        try:
            return {
                field: convert(part)
                for (field, convert), part in zip(self.variables, texts, strict=False)
            }
        except ValueError:
            return None


def read_routes(
    method: MethodDescriptor, service: str, faults: list[str]
) -> list[Route]:
    """Read all routes of an rpc.

    Args:
        method: the rpc.
        service: its service's name in settings.
        faults: gets a line for everything that is wrong. If it got one, the routes
            are good for nothing but looking for further faults.
    """
    reader = _Reader(method, service, faults)
    declared = reader.declared()
    if declared and method.client_streaming:
        reader.fault("an rpc that streams its request cannot have a route")
    return [route for option in declared if (route := reader.read(option))]


class _Reader:
    """Reads one rpc."""

    def __init__(
        self, method: MethodDescriptor, service: str, faults: list[str]
    ) -> None:
        self._method = method
        self._service = service
        self._faults = faults

    def fault(self, what: str) -> None:
        """Take note of a fault."""
        self._faults.append(f"{self._method.full_name}: {what}")

    def declared(self) -> Sequence[route_pb2.Route]:
        """Give the options that declare routes.

        They are parsed anew, with the extension that this program was built with.
        Options that were parsed before the extension was known keep it among their
        unknown fields for ever, and those of another descriptor pool belong to that
        pool: both would look like an rpc without a route.
        """
        options = MethodOptions.FromString(
            self._method.GetOptions().SerializeToString()
        )
        unknown = UnknownFieldSet(options)
        if _NUMBER in {unknown[i].field_number for i in range(len(unknown))}:
            self.fault(_UNREADABLE)
        return options.Extensions[route_pb2.route]

    def read(self, option: route_pb2.Route) -> Route | None:
        """Read one route; None if its trigger cannot be read."""
        method, kind = self._method, option.WhichOneof("trigger")
        trigger = self._trigger(option)
        context_field = self._field(method.input_type, _CONTEXT)
        message_field = event_field = ""
        if kind in {"text", "command"}:
            message_field = self._field(
                method.input_type, _MESSAGE, required=kind == "text"
            )
        if kind == "event":
            event_field = self._field(method.input_type, _EVENT, required=False)
        if kind == "session":
            answer_field = self._user_id_field()
        else:
            answer_field = self._field(method.output_type, _REPLY)
        if method.server_streaming and kind in {"event", "session"}:
            self.fault(f"nobody would see a streamed answer to the trigger {kind}")
        if trigger is None:
            return None
        return Route(
            trigger=trigger,
            variables=self._variables(trigger.template),
            description=option.description,
            method=method.full_name,
            path=f"/{method.containing_service.full_name}/{method.name}",
            service=self._service,
            request=GetMessageClass(method.input_type),
            response=GetMessageClass(method.output_type),
            context_field=context_field,
            message_field=message_field,
            event_field=event_field,
            answer_field=answer_field,
            streams=method.server_streaming,
            piece_field=self._piece_field() if method.server_streaming else "",
            shows_typing=not option.no_typing,
        )

    def _trigger(self, option: route_pb2.Route) -> Trigger | None:
        if len(option.description) > DESCRIPTION_LENGTH:
            self.fault(f"a description has over {DESCRIPTION_LENGTH} characters")
        try:
            trigger = read_trigger(option)
        except ValueError as error:
            self.fault(str(error))
            return None
        if trigger.kind == "command" and trigger.key == HELP:
            self.fault(f"the gateway answers /{HELP} itself")
        return trigger

    def _variables(self, template: Template | None) -> tuple[tuple[str, Convert], ...]:
        request = self._method.input_type
        variables = []
        for name in template.variables if template else ():
            if (field := request.fields_by_name.get(name)) is None:
                self.fault(f"variable {{{name}}}: {request.name} has no such field")
            elif (convert := converter(field)) is None:
                self.fault(f"variable {{{name}}}: the field is not a scalar")
            else:
                variables.append((name, convert))
        return tuple(variables)

    def _field(
        self, message: Descriptor, type_name: str, *, required: bool = True
    ) -> str:
        """Give the name of the only field of a type. Empty: there is none."""
        names = [field.name for field in message.fields if _is(field, type_name)]
        if len(names) > 1:
            self.fault(f"{message.name} has several fields of type {type_name}")
        elif required and not names:
            self.fault(f"{message.name} has no field of type {type_name}")
        return names[0] if names else ""

    def _piece_field(self) -> str:
        """Give the only string field of a streamed response. Empty: there is none."""
        response = self._method.output_type
        names = [field.name for field in response.fields if _is_string(field)]
        if len(names) > 1:
            self.fault(f"{response.name} has several string fields for pieces of text")
        return names[0] if names else ""

    def _user_id_field(self) -> str:
        response = self._method.output_type
        field = response.fields_by_name.get(_USER_ID)
        if not field or not _is_string(field):
            self.fault(f"{response.name} has no string field {_USER_ID}")
        return _USER_ID


def _is(field: FieldDescriptor, type_name: str) -> bool:
    kind = field.message_type or field.enum_type
    return kind is not None and kind.full_name == type_name and not field.is_repeated


def _is_string(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated
