"""The types of a rule and of the route that it examines, and what rules share."""

from collections.abc import Awaitable, Callable, Collection, Sequence

import grpc
from msgspec import Struct

from gateway.conformance.requests import BuiltRequest, RequestBuilder
from gateway.conformance.service_client import CallResult, ServiceClient
from gateway.services.diagnosis.prober import ServiceProber
from gateway.services.routing.route import Route
from gateway.services.routing.route_table import RouteTable

REFUSALS = frozenset(
    {
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
"""The statuses by which a service refuses a request on purpose."""


class Subject(Struct, frozen=True):
    """A route of a running service, which rules examine.

    Attributes:
        route: the route.
        table: all routes of the gateway.
        client: calls the service.
        requests: builds requests for the route.
        target: the gRPC name of the service, such as "billing:50051".
        prober: connects to the target as a gateway does.
        rpc_services: the full names of the gRPC services that the routes call at the
            target.
    """

    route: Route
    table: RouteTable
    client: ServiceClient
    requests: RequestBuilder
    target: str
    prober: ServiceProber
    rpc_services: Collection[str]

    @property
    def name(self) -> str:
        """The rpc and its trigger, such as "GetProfile /profile"."""
        return f"{self.route.method.rpartition('.')[2]} {self.route.name}"

    async def call(self, request: BuiltRequest) -> CallResult:
        """Call the rpc of the route. A failure of the call is part of the result."""
        return await self.client.call(self.route, request.content, request.request_id)


Check = Callable[[Subject], Awaitable[Sequence[str]]]
"""Examines a route, and returns a line for each problem. The lines contain nothing that
the service answered."""


class Rule(Struct, frozen=True):
    """A rule that every service has to pass.

    Attributes:
        name: the name in reports and in the file of known failures.
        meaning: what the rule demands, in one sentence.
        check: examines a subject.
        applies: returns whether the rule can be tried with a route.
        is_of_service: True if the rule is about a service as a whole, and is tried once
            for it; False if it is tried with each route.
    """

    name: str
    meaning: str
    check: Check
    applies: Callable[[Route], bool] = lambda _: True
    is_of_service: bool = False


def has_message(route: Route) -> bool:
    """Return whether the request of a route has a message of the user."""
    return bool(route.message_field)


def has_reply(route: Route) -> bool:
    """Return whether the rpc of a route returns a reply, and not a user id."""
    return route.trigger.kind != "session"


def find_breakdown(result: CallResult) -> list[str]:
    """Return the problem of a call that was neither answered nor refused on purpose.

    The list is empty if there is none. A refusal is a status in `REFUSALS`.
    """
    if not result.is_decodable:
        return ["the response cannot be decoded"]
    if result.code is grpc.StatusCode.OK or result.code in REFUSALS:
        return []
    return [f"the status is {result.code.name}"]
