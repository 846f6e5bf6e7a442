"""What a rule is, and what it examines."""

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
    """A route of a running service.

    Attributes:
        route: the route.
        table: all routes of the gateway.
        client: calls the service.
        requests: builds requests.
        target: the target of the service.
        prober: connects to the target as a gateway does.
        rpc_services: the full names of the gRPC services at the target.
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
        """Call the rpc of the route."""
        return await self.client.call(self.route, request.content, request.request_id)


Check = Callable[[Subject], Awaitable[Sequence[str]]]
"""Returns the problems of a service, without anything that it answered."""


class Rule(Struct, frozen=True):
    """A rule that every service has to pass.

    Attributes:
        name: the name in reports and in the file of known failures.
        meaning: what the rule demands, in one sentence.
        check: examines a subject.
        applies: whether the rule is about a route.
        is_of_service: whether the rule is about the service and not about its routes.
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
    """Return whether an rpc answers with a reply."""
    return route.trigger.kind != "session"


def find_breakdown(result: CallResult) -> list[str]:
    """Return the problem of a service that neither answered nor refused a request."""
    if not result.is_decodable:
        return ["the response cannot be decoded"]
    if result.code is grpc.StatusCode.OK or result.code in REFUSALS:
        return []
    return [f"the status is {result.code.name}"]
