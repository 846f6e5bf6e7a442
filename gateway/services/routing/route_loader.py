"""Loads the routes of one rpc from its options and collects every problem.

The fields of requests and responses are found by their type, so a service may name them
freely. After a problem, the rest of the route is still read, so that its other
problems, and those of the whole table, are reported in the same run.
"""

from collections.abc import Sequence

from botgateway.delivery.v1.delivery_pb2 import DeliveryStatus
from botgateway.route.v1 import route_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.unknown_fields import UnknownFieldSet

from gateway.services.contracts.projections import get_message_class
from gateway.services.routing import update_types
from gateway.services.routing.converters import Converter, get_converter
from gateway.services.routing.route import Route
from gateway.services.routing.templates import Template
from gateway.services.routing.triggers import (
    DELIVERY_TRIGGERS,
    Trigger,
    parse_trigger,
)

HELP_COMMAND = "help"
"""The command that the gateway handles itself."""

MAX_DESCRIPTION_LENGTH = 256
"""Bot API: BotCommand.description, 1 to 256 characters."""

_CONTEXT_TYPE = "botgateway.chat.v1.RequestContext"
_REPLY_TYPE = "botgateway.chat.v1.Reply"
_EVENT_TYPE = "botgateway.route.v1.Event"
_STATUS_TYPE = DeliveryStatus.DESCRIPTOR.full_name
USER_ID_FIELD = "internal_user_id"
"""The field for the internal id of a user, in several requests and responses."""
_TELEGRAM_ID_FIELD = "telegram_user_id"

_MESSAGE_TRIGGERS = frozenset({"text", "command"})
"""Triggers whose request may contain the message."""

_UNARY_TRIGGERS = DELIVERY_TRIGGERS | {"event", "session"}
"""Triggers whose response is not shown to anybody."""

_RAW_UPDATE_TRIGGERS = _MESSAGE_TRIGGERS | {"callback", "update_type"}
"""Triggers whose request may contain the update as JSON."""

_EXTENSION_NUMBER = route_pb2.ROUTE_FIELD_NUMBER
_UNREADABLE_OPTION = (
    f"option {_EXTENSION_NUMBER} cannot be read:"
    " botgateway/route/v1/route.proto is not loaded,"
    " or another extension took its number"
)


def load_routes(
    method: MethodDescriptor, service: str, problems: list[str]
) -> list[Route]:
    """Load all routes of an rpc from its options.

    Args:
        method: the rpc.
        service: the name of its service in settings.
        problems: the list that a line is added to for every problem. If it has any, the
            returned routes may only be used to find further problems.

    Returns:
        The routes whose trigger is valid.
    """
    reader = _RouteReader(method, service, problems)
    options = reader.read_options()
    if options and method.client_streaming:
        reader.add_problem("an rpc that streams its request cannot have a route")
    reader.check_update_types(options)
    return [route for option in options if (route := reader.read_route(option))]


class _RouteReader:
    """A reader of the routes of one rpc."""

    def __init__(
        self, method: MethodDescriptor, service: str, problems: list[str]
    ) -> None:
        self._method = method
        self._service = service
        self._problems = problems

    def add_problem(self, problem: str) -> None:
        """Add a problem of this rpc."""
        self._problems.append(f"{self._method.full_name}: {problem}")

    def read_options(self) -> Sequence[route_pb2.Route]:
        """Return the options that declare routes.

        They are parsed again, with the extension that this program was built with.
        Options that were parsed before the extension was registered keep it as an
        unknown field, and options from another descriptor pool belong to that pool.
        Both would look like an rpc without a route.
        """
        options = MethodOptions.FromString(
            self._method.GetOptions().SerializeToString()
        )
        unknown = UnknownFieldSet(options)
        if _EXTENSION_NUMBER in {unknown[i].field_number for i in range(len(unknown))}:
            self.add_problem(_UNREADABLE_OPTION)
        return options.Extensions[route_pb2.route]

    def check_update_types(self, options: Sequence[route_pb2.Route]) -> None:
        """Report fields of types that none of the rpc's update types can fill."""
        updates = [option.update_type for option in options if option.update_type]
        triggers = {option.WhichOneof("trigger") for option in options}
        request = self._method.input_type
        messages = bool(triggers & _MESSAGE_TRIGGERS)
        buttons = "callback" in triggers
        for type_name in update_types.list_unfillable_types(
            updates, messages=messages, buttons=buttons
        ):
            if updates and any(_has_type(field, type_name) for field in request.fields):
                names = ", ".join(updates)
                self.add_problem(
                    f"{request.name}: {type_name} does not belong to {names}"
                )

    def read_route(self, option: route_pb2.Route) -> Route | None:
        """Read one route; return None if its trigger is invalid."""
        method, kind = self._method, option.WhichOneof("trigger")
        trigger = self._read_trigger(option)
        context_field = self._find_field(
            method.input_type, _CONTEXT_TYPE, required=kind not in DELIVERY_TRIGGERS
        )
        message_field = event_field = payload_field = json_field = ""
        if kind in _MESSAGE_TRIGGERS:
            message_field = self._find_field(
                method.input_type, update_types.MESSAGE, required=kind == "text"
            )
        if kind == "update_type":
            payload_field = self._find_payload_field(option.update_type)
            if (
                update_types.get_payload_type(option.update_type)
                == update_types.MESSAGE
            ):
                message_field = payload_field
        if kind == "callback":
            button = update_types.CALLBACK_QUERY
            payload_field = self._find_field(method.input_type, button, required=False)
        if kind in _RAW_UPDATE_TRIGGERS:
            json = update_types.RAW_UPDATE
            json_field = self._find_field(method.input_type, json, required=False)
        if kind == "event":
            event_field = self._find_field(
                method.input_type, _EVENT_TYPE, required=False
            )
        status_field = self._find_status_field() if kind == "report" else ""
        if kind == "recipient":
            self._find_user_id_field(method.input_type)
        result_field = self._find_result_field(kind)
        if method.server_streaming and kind in _UNARY_TRIGGERS:
            self.add_problem(
                f"nobody would see a streamed response to the trigger {kind}"
            )
        if trigger is None:
            return None
        variables = self._read_variables(trigger.template)
        piece_field = self._find_piece_field() if method.server_streaming else ""
        return Route(
            trigger=trigger,
            variables=variables,
            description=option.description,
            method=method.full_name,
            path=f"/{method.containing_service.full_name}/{method.name}",
            service=self._service,
            request_type=get_message_class(
                method.input_type,
                {
                    context_field,
                    message_field,
                    event_field,
                    payload_field,
                    json_field,
                    status_field,
                    USER_ID_FIELD if kind == "recipient" else "",
                    *(name for name, _ in variables),
                },
            ),
            response_type=get_message_class(
                method.output_type, {result_field, piece_field}
            ),
            context_field=context_field,
            message_field=message_field,
            event_field=event_field,
            result_field=result_field,
            is_streaming=method.server_streaming,
            piece_field=piece_field,
            shows_typing=not option.disable_typing_indicator,
            payload_field=payload_field,
            json_field=json_field,
            status_field=status_field,
            requires_signature=option.signed,
        )

    def _read_trigger(self, option: route_pb2.Route) -> Trigger | None:
        if len(option.description) > MAX_DESCRIPTION_LENGTH:
            self.add_problem(
                f"a description has over {MAX_DESCRIPTION_LENGTH} characters"
            )
        if option.signed and not option.callback:
            self.add_problem("signed is for the trigger callback")
        try:
            trigger = parse_trigger(option)
        except ValueError as error:
            self.add_problem(str(error))
            return None
        if trigger.kind == "command" and trigger.key == HELP_COMMAND:
            self.add_problem(f"the gateway answers /{HELP_COMMAND} itself")
        return trigger

    def _read_variables(
        self, template: Template | None
    ) -> tuple[tuple[str, Converter], ...]:
        request = self._method.input_type
        variables = []
        for name in template.variables if template else ():
            if (field := request.fields_by_name.get(name)) is None:
                self.add_problem(
                    f"variable {{{name}}}: {request.name} has no such field"
                )
            elif (convert := get_converter(field)) is None:
                self.add_problem(f"variable {{{name}}}: the field is not a scalar")
            else:
                variables.append((name, convert))
        return tuple(variables)

    def _find_field(
        self, message: Descriptor, type_name: str, *, required: bool = True
    ) -> str:
        """Return the name of the only field of a type, or "" if there is none."""
        names = [field.name for field in message.fields if _has_type(field, type_name)]
        if len(names) > 1:
            self.add_problem(f"{message.name} has several fields of type {type_name}")
        elif required and not names:
            self.add_problem(f"{message.name} has no field of type {type_name}")
        return names[0] if names else ""

    def _find_piece_field(self) -> str:
        """Return the only string field of a streamed response, or "" without one."""
        response = self._method.output_type
        names = [field.name for field in response.fields if _is_string_field(field)]
        if len(names) > 1:
            self.add_problem(
                f"{response.name} has several string fields for pieces of text"
            )
        return names[0] if names else ""

    def _find_payload_field(self, update: str) -> str:
        type_name = update_types.get_payload_type(update)
        input_type = self._method.input_type
        return type_name and self._find_field(input_type, type_name, required=False)

    def _find_result_field(self, kind: str | None) -> str:
        """Return the response's field for the result, or "" if there is none."""
        response = self._method.output_type
        match kind:
            case "session":
                return self._find_user_id_field(response)
            case "recipient":
                field = response.fields_by_name.get(_TELEGRAM_ID_FIELD)
                if not field or field.type != FieldDescriptor.TYPE_INT64:
                    self.add_problem(
                        f"{response.name} has no field int64 {_TELEGRAM_ID_FIELD}"
                    )
                return _TELEGRAM_ID_FIELD
            case "report":
                return ""
        return self._find_field(response, _REPLY_TYPE)

    def _find_user_id_field(self, message: Descriptor) -> str:
        field = message.fields_by_name.get(USER_ID_FIELD)
        if not field or not _is_string_field(field):
            self.add_problem(f"{message.name} has no string field {USER_ID_FIELD}")
        return USER_ID_FIELD

    def _find_status_field(self) -> str:
        """Return the request's field for reports, or "" if there is none."""
        request = self._method.input_type
        names = [
            field.name
            for field in request.fields
            if field.is_repeated
            and field.message_type is not None
            and field.message_type.full_name == _STATUS_TYPE
        ]
        if len(names) != 1:
            self.add_problem(f"{request.name} needs one repeated {_STATUS_TYPE}")
        return names[0] if names else ""


def _has_type(field: FieldDescriptor, type_name: str) -> bool:
    kind = field.message_type or field.enum_type
    return (
        kind is not None
        and kind.full_name == type_name
        and not field.is_repeated
        # A group has another wire format than other messages.
        and field.type != FieldDescriptor.TYPE_GROUP
    )


def _is_string_field(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated
