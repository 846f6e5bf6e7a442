"""A made-up service with the routes of deliveries: reports and recipients."""

from typing import Any

import grpc
from botgateway.route.v1.route_pb2 import Route
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from tests.support.services.made_up import CONTEXT, STATUS, Rpc, a_service

PACKAGE = "botgateway.delivery_routes.v1"
NAME = "DeliveryRoutesService"
REPORT = Rpc(
    (Route(report=True),),
    {"statuses": f"repeated {STATUS}"},
    {},
    name="ReceiveReports",
)
RECIPIENT = Rpc(
    (Route(recipient=True),),
    {"internal_user_id": "string", "context": CONTEXT},
    {"telegram_user_id": "int64"},
    name="FindRecipient",
)


def delivery_routes() -> ServiceDescriptor:
    """Return the service; it is made once, in the program's own pool."""
    try:
        return Default().FindServiceByName(f"{PACKAGE}.{NAME}")
    except KeyError:
        return a_service(REPORT, RECIPIENT, name=NAME, package=PACKAGE, pool=Default())


class DeliveryRoutes(grpc.GenericRpcHandler):
    """Serves it: keeps what it was asked, and knows the users of a test.

    Attributes:
        asked: the requests by rpc, in their order.
        users: Telegram's ids of users by their internal ids.
        failures: the status codes of the next calls by rpc.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.metadata: list[dict[str, Any]] = []
        self.users: dict[str, int] = {}
        self.failures: dict[str, list[grpc.StatusCode]] = {}

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Find the rpc."""
        _, service, name = str(handler_call_details.method).split("/")
        if service != f"{PACKAGE}.{NAME}":
            return None
        method = delivery_routes().methods_by_name[name]
        request = GetMessageClass(method.input_type)
        response = GetMessageClass(method.output_type)

        async def answer(asked: Any, context: aio.ServicerContext[Any, Any]) -> object:  # noqa: ANN401 - any request
            self.asked.append((name, asked))
            self.metadata.append(dict(context.invocation_metadata() or ()))
            if failures := self.failures.get(name):
                await context.abort(failures.pop(0), "a hush text")
            if name == "FindRecipient":
                user = self.users.get(asked.internal_user_id, 0)
                return response(telegram_user_id=user)
            return response()

        handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        return handler
