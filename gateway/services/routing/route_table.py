"""The route table: which rpc handles what, loaded from the contracts at start-up.

The order of files, services and methods does not matter. A command is found by its
name; a button by the template with the longest literal prefix that matches; there is at
most one route for text, for sessions, for each event and for each update type.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from botgateway.chat.v1.reply_pb2 import CallbackTarget
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, ServiceDescriptorProto

from gateway.domain.errors import ConfigurationError
from gateway.services.contracts.contract_set import ContractSet
from gateway.services.routing.converters import to_upper_snake
from gateway.services.routing.route import Route
from gateway.services.routing.route_loader import HELP_COMMAND, load_routes
from gateway.services.routing.templates import CallbackTemplate

_MAX_MENU_LENGTH = 100  # Bot API: setMyCommands, at most 100 commands
_HELP_DESCRIPTION = "Show what I can do"


def get_service_name(service: ServiceDescriptor) -> str:
    """Return a service's name in settings: ORDER_HISTORY for OrderHistoryService."""
    return to_upper_snake(service.name.removesuffix("Service") or service.name)


class RouteTable:
    """All routes, found by their triggers.

    Attributes:
        by_command: command routes by the command's name, without slash.
        callback_routes: callback routes, longest literal prefix first.
        by_event: event routes by the event's number.
        by_update: update routes by update type.
        update_types: the update types that have a route, sorted.
        text_route: the route for messages that are not commands; None if there is none.
        session_route: the route that finds a user's internal id; None if there is none.
        report_route: the route that is told what became of deliveries; None if there is
            none.
        recipient_route: the route that finds the Telegram id of a delivery's user; None
            if there is none.
        service_names: names of the services that have a route, sorted.
        route_names: the names of all routes, sorted; a bounded set, for metrics.
        menu_commands: name and description of each command of the menu, sorted.
    """

    def __init__(
        self, routes: Iterable[Route], streaming_services: Collection[str] = ()
    ) -> None:
        """Index valid routes.

        Args:
            routes: all routes.
            streaming_services: names, as in settings, of the services whose streaming
                rpc is preferred to a unary rpc with the same trigger.
        """
        self.routes = tuple(sorted(routes, key=lambda r: (r.trigger.text, r.method)))
        self._streaming_services = streaming_services
        by_kind: dict[str, dict[str | int, Route]] = {}
        for route in self.routes:
            chosen = by_kind.setdefault(route.trigger.kind, {})
            wanted = route.is_streaming == (route.service in streaming_services)
            if wanted or route.trigger.key not in chosen:
                chosen[route.trigger.key] = route
        self.by_command = by_kind.get("command", {})
        self.callback_routes = sorted(
            by_kind.get("callback", {}).values(), key=lambda route: -len(route.name)
        )
        self._has_signed_routes = any(
            route.requires_signature for route in self.callback_routes
        )
        self._callback_by_rpc = _index_callbacks_by_rpc(self.callback_routes)
        self.by_event = by_kind.get("event", {})
        self.by_update = by_kind.get("update_type", {})
        self.update_types = tuple(sorted(str(name) for name in self.by_update))
        self.text_route = by_kind.get("text", {}).get("")
        self.session_route = by_kind.get("session", {}).get("")
        self.report_route = by_kind.get("report", {}).get("")
        self.recipient_route = by_kind.get("recipient", {}).get("")
        self.service_names = tuple(sorted({route.service for route in self.routes}))
        self.route_names = tuple(
            sorted({f"/{HELP_COMMAND}", *(route.name for route in self.routes)})
        )
        self.menu_commands = _build_menu(self.routes)

    def restrict(
        self,
        services: Collection[str] | None,
        names: Collection[str] | None,
    ) -> "RouteTable":
        """Return a table with some of the routes.

        The routes for sessions and for deliveries are always kept, because the other
        routes need them.

        Args:
            services: the names of the services whose routes are kept; None for all.
            names: the names of the routes that are kept; None for all.
        """
        kept = [
            route
            for route in self.routes
            if route in {self.session_route, self.report_route, self.recipient_route}
            or (
                (services is None or route.service in services)
                and (names is None or route.name in names)
            )
        ]
        return RouteTable(kept, self._streaming_services)

    def with_streaming(self, services: Collection[str]) -> "RouteTable":
        """Return a table that prefers the streaming rpcs of some services.

        A service may have a unary and a streaming rpc with the same trigger. All
        services that are not named use the unary one.

        Args:
            services: the names of the services in settings.

        Raises:
            ConfigurationError: a service has no streaming rpc.
        """
        streaming_services = {
            route.service for route in self.routes if route.is_streaming
        }
        if not_streaming := sorted(set(services) - streaming_services):
            raise ConfigurationError(
                [
                    f"{name}_STREAMING: this service has no streaming rpc"
                    for name in not_streaming
                ]
            )
        return RouteTable(self.routes, services)

    def encode_callback_data(self, call: CallbackTarget) -> str | None:
        """Return the callback data for a button that calls an rpc.

        Matching the data results in the same rpc and the same values.

        Args:
            call: the full name of the rpc, or its service and rpc without the package,
                and the texts of the variables.

        Returns:
            The data; None if the rpc has no callback route or several, if the
            parameters are not its variables or not valid, or if another route would
            match the data first.
        """
        route = self._callback_by_rpc.get(call.method)
        template = route.trigger.template if route else None
        if not isinstance(template, CallbackTemplate):
            return None
        data = template.format(call.parameters)
        if data is None:
            return None
        found = self.match_callback_data(data)
        return data if found and found[0] is route else None

    def match_callback_data(self, data: str) -> tuple[Route, dict[str, Any]] | None:
        """Return the route that matches callback data, and the values of its fields.

        Returns None if no route matches the data.
        """
        for route in self.callback_routes:
            if (values := route.match_text(data)) is not None:
                return route, values
        return None

    def requires_signature(self, data: str) -> bool:
        """Return whether the route that matches callback data requires a signature.

        False if no route matches.
        """
        found = self.match_callback_data(data) if self._has_signed_routes else None
        return found is not None and found[0].requires_signature

    def format_lines(self) -> list[str]:
        """Return the table as text: trigger, rpc and the setting of its target."""
        rows = [(r.trigger.text, r.method, f"{r.service}_TARGET") for r in self.routes]
        rows = sorted([*rows, (f"/{HELP_COMMAND}", "built in", "")])
        first = max(len(trigger) for trigger, _, _ in rows)
        second = max(len(method) for _, method, _ in rows)
        return [
            f"{trigger:{first}}  {method:{second}}  {setting}".rstrip()
            for trigger, method, setting in rows
        ]

    def format_lock_file(self) -> str:
        """Return the contents of the file `routes.lock`: each trigger with its rpc.

        Users and old buttons rely on the triggers. The file shows changes of them,
        which `buf breaking` does not detect.
        """
        return "".join(f"{r.trigger.text} -> {r.method}\n" for r in self.routes)


def build_route_table(services: Iterable[ServiceDescriptor]) -> RouteTable:
    """Build the table of all routes of these services, whose problems name no file.

    Raises:
        ConfigurationError: some routes are invalid; the error has all problems.
    """
    return combine_contracts([ContractSet("", tuple(services))])


def combine_contracts(contracts: Iterable[ContractSet]) -> RouteTable:
    """Build one table of all routes of these contracts.

    Args:
        contracts: the contracts. A problem between two of them, such as the same
            trigger, is reported for the later one.

    Raises:
        ConfigurationError: some routes are invalid; it has all problems.
    """
    problems: list[str] = []
    routes: list[Route] = []
    sources: dict[str, str] = {}
    services = list(_list_services(contracts, problems))
    for contract, service in services:
        for method in service.methods:
            found: list[str] = []
            routes += load_routes(method, get_service_name(service), found)
            problems += map(contract.describe_problem, found)
            sources[method.full_name] = contract.source
    problems += _find_shared_triggers(routes, sources)
    problems += _find_shared_settings(routes, sources)
    if len(_build_menu(routes)) > _MAX_MENU_LENGTH:
        problems.append(f"over {_MAX_MENU_LENGTH} commands have a description")
    if not routes and not problems:
        problems.append(
            f"none of {len(services)} services has a route: no rpc has the option"
            " (botgateway.route.v1.route)"
        )
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return RouteTable(routes)


def _list_services(
    contracts: Iterable[ContractSet], problems: list[str]
) -> Iterable[tuple[ContractSet, ServiceDescriptor]]:
    """Yield each service once, with the first of the contracts that has it."""
    found: dict[str, tuple[ContractSet, ServiceDescriptor]] = {}
    for contract in contracts:
        for service in sorted(contract.services, key=lambda it: str(it.full_name)):
            first, other = found.setdefault(service.full_name, (contract, service))
            if other is service:
                yield contract, service
            elif _describe_service(other) != _describe_service(service):
                where = f" in {first.source}" if first.source else ""
                problem = f"{service.full_name} differs from the one{where}"
                problems.append(contract.describe_problem(problem))


def _describe_service(service: ServiceDescriptor) -> Sequence[bytes]:
    """Return what of a service matters to the gateway, for a comparison."""
    proto = ServiceDescriptorProto()
    service.CopyToProto(proto)
    parts = [proto.SerializeToString(deterministic=True)]
    for method in service.methods:
        for message in (method.input_type, method.output_type):
            copy = DescriptorProto()
            message.CopyToProto(copy)
            parts.append(copy.SerializeToString(deterministic=True))
    return parts


def _index_callbacks_by_rpc(routes: Iterable[Route]) -> dict[str, Route | None]:
    """Return the callback route of each rpc, by full name and by short name.

    The short name has the service and the rpc, without the package. The value is None
    if several routes have the name.
    """
    found: dict[str, Route | None] = {}
    for route in routes:
        for name in {route.method, ".".join(route.method.split(".")[-2:])}:
            found[name] = None if name in found else route
    return found


def _build_menu(routes: Sequence[Route]) -> tuple[tuple[str, str], ...]:
    described = [
        (str(route.trigger.key), route.description)
        for route in routes
        if route.trigger.kind == "command" and route.description
    ]
    return tuple(sorted([*described, (HELP_COMMAND, _HELP_DESCRIPTION)]))


def _find_shared_triggers(
    routes: Sequence[Route], sources: Mapping[str, str]
) -> Iterable[str]:
    """Report routes that match the same updates.

    Args:
        routes: the routes, those of older contracts first.
        sources: the file of each rpc; "" if its contract is installed.
    """
    first: dict[tuple[str, str | int], list[Route]] = {}
    for route in routes:
        key = route.trigger.kind, route.trigger.key
        others = first.setdefault(key, [])
        others.append(route)
        if len(others) > 1 and not _are_alternatives(others):
            other, source = others[0].method, sources[others[0].method]
            problem = f"{route.method}: {route.name} is already routed to {other}"
            yield _place(problem, sources[route.method], source)


def _are_alternatives(routes: Sequence[Route]) -> bool:
    """Return whether a setting selects one: a unary or a streaming rpc of a service."""
    services = {route.method.rpartition(".")[0] for route in routes}
    modes = {route.is_streaming for route in routes}
    return len(routes) == len(modes) and len(services) == 1


def _find_shared_settings(
    routes: Sequence[Route], sources: Mapping[str, str]
) -> Iterable[str]:
    """Report services that would share the same target; see `_find_shared_triggers`."""
    first: dict[str, Route] = {}
    for route in routes:
        full_name = route.method.rpartition(".")[0]
        other_route = first.setdefault(route.service, route)
        other = other_route.method.rpartition(".")[0]
        if other != full_name:
            problem = f"{full_name}: {route.service}_TARGET is already that of {other}"
            yield _place(problem, sources[route.method], sources[other_route.method])


def _place(problem: str, source: str, other_source: str) -> str:
    """Add the files of the two contracts that a problem is about."""
    before = f"{source}: " if source else ""
    after = f" ({other_source})" if other_source and other_source != source else ""
    return f"{before}{problem}{after}"
