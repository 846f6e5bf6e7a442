"""Contracts made up for a test, most in a descriptor pool of their own."""

from collections.abc import Mapping
from typing import NamedTuple

from botgateway.chat.v1 import context_pb2, message_pb2, reply_pb2, update_pb2
from botgateway.delivery.v1 import delivery_pb2
from botgateway.route.v1 import route_pb2
from botgateway.route.v1.route_pb2 import Route
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

CONTEXT = "botgateway.chat.v1.RequestContext"
MESSAGE = "botgateway.chat.v1.IncomingMessage"
REPLY = "botgateway.chat.v1.Reply"
EVENT = "enum botgateway.route.v1.Event"
JSON = "botgateway.chat.v1.RawUpdate"
STATUS = "botgateway.delivery.v1.DeliveryStatus"
SHARED = (
    context_pb2,
    message_pb2,
    reply_pb2,
    update_pb2,
    delivery_pb2,
    route_pb2,
)


class Rpc(NamedTuple):
    """An rpc of a made-up service: routes, and fields by name and type."""

    routes: tuple[Route, ...]
    request: Mapping[str, str] = {"context": CONTEXT}
    response: Mapping[str, str] = {"reply": REPLY}
    name: str = "Order"
    options: bytes = b""
    streaming: str = ""


def a_service(
    *rpcs: Rpc,
    name: str = "OrderService",
    package: str = "botgateway.order.v1",
    shared: tuple[object, ...] = SHARED,
    pool: DescriptorPool | None = None,
) -> ServiceDescriptor:
    """Make a service in a new pool that holds the shared contracts besides it.

    One that is to be called needs the program's own pool, and a package of its own.
    """
    pool = pool or DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}/order_service.proto",
        package=package,
        syntax="proto3",
    )
    for module in shared:
        descriptor: FileDescriptor = module.DESCRIPTOR  # type: ignore[attr-defined]  # generated modules have no common type
        _add_file(pool, descriptor)
        file.dependency.append(descriptor.name)
    service = file.service.add(name=name)
    for rpc in rpcs:
        _add_message(file, f"{rpc.name}Request", rpc.request)
        _add_message(file, f"{rpc.name}Response", rpc.response)
        method = service.method.add(
            name=rpc.name,
            input_type=f".{package}.{rpc.name}Request",
            output_type=f".{package}.{rpc.name}Response",
            client_streaming="client" in rpc.streaming,
            server_streaming="server" in rpc.streaming,
        )
        method.options.MergeFromString(rpc.options)
        method.options.Extensions[route_pb2.route].extend(rpc.routes)
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(f"{package}.{name}")


def _add_file(pool: DescriptorPool, file: FileDescriptor) -> None:
    try:
        pool.FindFileByName(file.name)
    except KeyError:
        for dependency in file.dependencies:
            _add_file(pool, dependency)
        pool.AddSerializedFile(file.serialized_pb)


def _add_message(
    file: descriptor_pb2.FileDescriptorProto, name: str, fields: Mapping[str, str]
) -> None:
    message = file.message_type.add(name=name)
    for number, (field_name, kind) in enumerate(fields.items(), 1):
        field = message.field.add(name=field_name, number=number)
        *labels, type_name = kind.split()
        field.label = field.LABEL_OPTIONAL
        if "repeated" in labels:
            field.label = field.LABEL_REPEATED
        if "." not in type_name:
            scalar = f"TYPE_{type_name.upper()}"
            field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(scalar)
            continue
        field.type = field.TYPE_ENUM if "enum" in labels else field.TYPE_MESSAGE
        field.type_name = f".{type_name}"


TEXT = (Route(text=True),)
