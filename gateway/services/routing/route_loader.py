"""Reads the routes of one rpc out of its contract, and says what is wrong with them.

Fields are found by their type, so their names are the service's own. Every fault is
collected: a route that has one is read on as far as it can be, so that its other
faults, and those of the table that it would be part of, come up in the same run.
"""

from collections.abc import Sequence

from botgateway.route.v1 import route_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from gateway.services.routing import update_types
from gateway.services.routing.converters import Convert, converter
from gateway.services.routing.route import Route
from gateway.services.routing.templates import Template
from gateway.services.routing.triggers import Trigger, read_trigger

HELP = "help"
"""The command that the gateway answers itself."""

DESCRIPTION_LENGTH = 256
"""Bot API: BotCommand.description, 1 to 256 characters."""

_CONTEXT = "botgateway.chat.v1.RequestContext"
_REPLY = "botgateway.chat.v1.Reply"
_EVENT = "botgateway.route.v1.Event"
_USER_ID = "internal_user_id"

_OF_MESSAGES = frozenset({"text", "command"})
"""Triggers whose request may have the message."""

_OF_UPDATES = _OF_MESSAGES | {"callback", "update"}
"""Triggers whose request may have the update as JSON."""

_NUMBER = route_pb2.ROUTE_FIELD_NUMBER
_UNREADABLE = (
    f"option {_NUMBER} cannot be read: botgateway/route/v1/route.proto is not loaded,"
    " or another extension took its number"
)


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
    reader.check_update_types(declared)
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

    def check_update_types(self, declared: Sequence[route_pb2.Route]) -> None:
        """Note fields of types that none of an rpc's kinds of updates can fill."""
        updates = [option.update for option in declared if option.update]
        triggers = {option.WhichOneof("trigger") for option in declared}
        request = self._method.input_type
        messages = bool(triggers & _OF_MESSAGES)
        buttons = "callback" in triggers
        for type_name in update_types.strangers(
            updates, messages=messages, buttons=buttons
        ):
            if updates and any(_is(field, type_name) for field in request.fields):
                kinds = ", ".join(updates)
                self.fault(f"{request.name}: {type_name} does not belong to {kinds}")

    def read(self, option: route_pb2.Route) -> Route | None:
        """Read one route; None if its trigger cannot be read."""
        method, kind = self._method, option.WhichOneof("trigger")
        trigger = self._trigger(option)
        context_field = self._field(method.input_type, _CONTEXT)
        message_field = event_field = details_field = json_field = ""
        if kind in _OF_MESSAGES:
            message_field = self._field(
                method.input_type, update_types.MESSAGE, required=kind == "text"
            )
        if kind == "update":
            details_field = self._details_field(option.update)
            if update_types.type_of(option.update) == update_types.MESSAGE:
                message_field = details_field
        if kind == "callback":
            button = update_types.CALLBACK_QUERY
            details_field = self._field(method.input_type, button, required=False)
        if kind in _OF_UPDATES:
            json = update_types.JSON
            json_field = self._field(method.input_type, json, required=False)
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
            details_field=details_field,
            json_field=json_field,
            signed=option.signed,
        )

    def _trigger(self, option: route_pb2.Route) -> Trigger | None:
        if len(option.description) > DESCRIPTION_LENGTH:
            self.fault(f"a description has over {DESCRIPTION_LENGTH} characters")
        if option.signed and not option.callback:
            self.fault("signed is for the trigger callback")
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

    def _details_field(self, update: str) -> str:
        type_name = update_types.type_of(update)
        input_type = self._method.input_type
        return type_name and self._field(input_type, type_name, required=False)

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
