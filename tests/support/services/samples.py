"""The services that tests call, whichever contracts are installed besides theirs."""

from pathlib import Path

from botgateway.conversation.v1 import conversation_service_pb2
from botgateway.matching.v1 import matching_service_pb2
from botgateway.notification.v1 import notification_service_pb2
from botgateway.profile.v1 import profile_service_pb2
from google.protobuf.descriptor import ServiceDescriptor

from gateway.services.contracts.installed_stubs import discover_services
from gateway.services.routing.route_table import build_route_table

PROTOS = Path(__file__).parents[3] / "proto"

SAMPLE_SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for module in (
        conversation_service_pb2,
        matching_service_pb2,
        notification_service_pb2,
        profile_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)
TABLE = build_route_table(SAMPLE_SERVICES)
INSTALLED = build_route_table(discover_services())
"""What a gateway serves that a test starts as a process: see `make guest`."""


def list_repository_services() -> list[ServiceDescriptor]:
    """List the services whose contracts are in this repository."""
    return [
        service
        for service in discover_services()
        if (PROTOS / service.file.name).exists()
    ]
