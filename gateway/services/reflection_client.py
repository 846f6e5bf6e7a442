"""Fetches the contracts of a running server by gRPC's reflection, as a descriptor set.

This serves the import of contracts on the command line, not the processing of updates.
Some servers do not return the options of their rpcs, which contain the routes; their
contracts cannot be imported.
"""

from collections.abc import Iterable

import grpc
from botgateway.route.v1 import route_pb2
from google.protobuf.descriptor_pb2 import (
    FileDescriptorProto,
    FileDescriptorSet,
    MethodOptions,
)
from grpc import aio
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from gateway.domain.errors import ConfigurationError
from gateway.services.channels import ServiceChannels, TlsFiles
from gateway.services.contracts.set_checks import HOW_TO_BUILD

_VERSIONS = ("v1", "v1alpha")
"""The versions of the service, whose messages are the same."""

_TIMEOUT_SECONDS = 10.0
_SERVER = "SERVER"
_INFRASTRUCTURE = "grpc."
"""The start of the names of services that are no contracts of a team."""


async def import_contracts(
    target: str, tls: TlsFiles | None = None
) -> FileDescriptorSet:
    """Ask a server for its services, and return their descriptor set.

    Args:
        target: the gRPC name of the server, such as "localhost:50051".
        tls: the TLS files; None for no encryption.

    Raises:
        ConfigurationError: the server has no reflection or a call failed, or no rpc has
            a route.
    """
    async with ServiceChannels({_SERVER: target}, tls) as channels:
        for version in _VERSIONS:
            try:
                files = await _Reflection(channels[_SERVER], version).list_files()
            except aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    continue
                raise ConfigurationError(
                    [f"{target}: reflection failed with {error.code().name}"]
                ) from None
            _check_options(target, files)
            return FileDescriptorSet(file=files)
    raise ConfigurationError(
        [f"{target}: has no reflection: build a set with {HOW_TO_BUILD}"]
    )


class _Reflection:
    """One version of the reflection service of a server.

    Each request has a call of its own, which gRPC sends whole. In a call with a stream
    of requests, a request may follow when a server without the service has already
    refused the call, and gRPC then reports an internal error instead of the refusal.
    """

    def __init__(self, channel: aio.Channel, version: str) -> None:
        self._ask: aio.UnaryStreamMultiCallable[
            ServerReflectionRequest, ServerReflectionResponse
        ] = channel.unary_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=ServerReflectionResponse.FromString,
        )

    async def list_files(self) -> list[FileDescriptorProto]:
        """Return the files of all services, with all that they import.

        Raises:
            AioRpcError: a call failed.
            ConfigurationError: the server does not know a file that it named.
        """
        [listed] = await self._request(ServerReflectionRequest(list_services="*"))
        names = [
            service.name
            for service in listed.list_services_response.service
            if not service.name.startswith(_INFRASTRUCTURE)
        ]
        requests = [ServerReflectionRequest(file_containing_symbol=it) for it in names]
        files: dict[str, FileDescriptorProto] = {}
        while requests:
            responses = [each for it in requests for each in await self._request(it)]
            for response in responses:
                for content in response.file_descriptor_response.file_descriptor_proto:
                    file = FileDescriptorProto.FromString(content)
                    files.setdefault(file.name, file)
            missing = {
                name for file in files.values() for name in file.dependency
            } - files.keys()
            requests = [
                ServerReflectionRequest(file_by_filename=it) for it in sorted(missing)
            ]
        return list(files.values())

    async def _request(
        self, request: ServerReflectionRequest
    ) -> list[ServerReflectionResponse]:
        responses = []
        async for response in self._ask(request, timeout=_TIMEOUT_SECONDS):
            if response.HasField("error_response"):
                asked = response.original_request
                name = asked.file_by_filename or asked.file_containing_symbol
                raise ConfigurationError([f"the server does not know its own {name}"])
            responses.append(response)
        return responses


def _check_options(target: str, files: Iterable[FileDescriptorProto]) -> None:
    """Check that the rpcs still have the options that they were compiled with.

    Raises:
        ConfigurationError: no rpc has a route.
    """
    imports_routes = False
    for file in files:
        imports_routes |= route_pb2.DESCRIPTOR.name in file.dependency
        for service in file.service:
            for method in service.method:
                # Parsed again, now that the extension is known.
                content = method.options.SerializeToString()
                if MethodOptions.FromString(content).Extensions[route_pb2.route]:
                    return
    problem = (
        "its reflection has lost the options of its rpcs, which are the routes"
        if imports_routes
        else "none of its rpcs has the option (botgateway.route.v1.route)"
    )
    raise ConfigurationError([f"{target}: {problem}: build a set with {HOW_TO_BUILD}"])
