"""Contracts of running servers, with each version of gRPC's reflection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from gateway.domain.errors import ConfigurationError
from gateway.services.contracts.descriptor_sets import read_descriptor_set
from gateway.services.reflection_client import import_contracts
from gateway.services.routing.route_table import combine_contracts
from tests.support.process import run
from tests.support.services.foreign import SERVICE, compile_descriptor_set
from tests.support.tcp_ports import reserved_port


class Reflection(grpc.GenericRpcHandler):
    """Answers as one version of the service, one file at a time."""

    def __init__(self, pool: DescriptorPool, version: str) -> None:
        names = [SERVICE, "grpc.health.v1.Health"]
        self._servicer = reflection.aio.ReflectionServicer(names, pool=pool)
        self._name = f"grpc.reflection.{version}.ServerReflection"

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Find the rpc."""
        if not str(handler_call_details.method).startswith(f"/{self._name}/"):
            return None

        async def answer(
            requests: AsyncIterator[ServerReflectionRequest],
            context: Any,  # noqa: ANN401 - of gRPC
        ) -> AsyncIterator[ServerReflectionResponse]:
            responses = self._servicer.ServerReflectionInfo(requests, context)
            async for response in responses:
                # Others send only the file that they are asked for.
                if response.HasField("file_descriptor_response"):
                    del response.file_descriptor_response.file_descriptor_proto[1:]
                yield response

        return grpc.stream_stream_rpc_method_handler(
            answer,
            request_deserializer=ServerReflectionRequest.FromString,
            response_serializer=ServerReflectionResponse.SerializeToString,
        )


@asynccontextmanager
async def reflecting(
    files: FileDescriptorSet, version: str | None
) -> AsyncIterator[str]:
    """Serve the reflection of these files; gives the target."""
    pool = DescriptorPool()
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    server = grpc.aio.server()
    if version:
        server.add_generic_rpc_handlers((Reflection(pool, version),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.fixture
def files(tmp_path: Path) -> FileDescriptorSet:
    """Compile the contract of another team."""
    return FileDescriptorSet.FromString(compile_descriptor_set(tmp_path).read_bytes())


def lose_options(files: FileDescriptorSet) -> None:
    """Remove all options of rpcs, as some servers do."""
    for file in files.file:
        for service in file.service:
            for method in service.method:
                method.ClearField("options")


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_the_contracts_of_a_server_are_a_complete_set(
    files: FileDescriptorSet, version: str
) -> None:
    async with reflecting(files, version) as target:
        imported = await import_contracts(target)
    expected = {file.name: file for file in files.file}
    assert {file.name: strip(file) for file in imported.file} == {
        name: strip(file) for name, file in expected.items()
    }
    contract = read_descriptor_set("it", imported.SerializeToString())
    assert combine_contracts([contract]).service_names == ("BILLING",)


def strip(file: FileDescriptorProto) -> bytes:
    """Return what has to be the same of a file."""
    copy = FileDescriptorProto.FromString(file.SerializeToString())
    for message in copy.message_type:
        for field in message.field:
            field.ClearField("json_name")  # a pool computes it
    return copy.SerializeToString(deterministic=True)


async def problem_of(target: str) -> str:
    """Return what is wrong with a server."""
    with pytest.raises(ConfigurationError) as caught:
        await import_contracts(target)
    [problem] = caught.value.problems
    return problem


async def test_lost_options_are_an_error(files: FileDescriptorSet) -> None:
    """The set would be valid, and without any route."""
    lose_options(files)
    async with reflecting(files, "v1") as target:
        problem = await problem_of(target)
    assert problem.startswith(f"{target}: its reflection has lost the options of its")


async def test_a_server_without_routes_or_without_reflection_is_an_error(
    files: FileDescriptorSet,
) -> None:
    async with reflecting(files, None) as target:
        assert (await problem_of(target)).startswith(f"{target}: has no reflection")
    lose_options(files)
    [contract] = [file for file in files.file if file.service]
    contract.dependency.remove("botgateway/route/v1/route.proto")
    async with reflecting(files, "v1") as target:
        assert "none of its rpcs has the option" in await problem_of(target)
    with reserved_port() as port:
        problem = await problem_of(f"127.0.0.1:{port}")
    assert problem.endswith("reflection failed with UNAVAILABLE")


async def test_an_import_writes_a_file_only_if_it_can_be_served(
    files: FileDescriptorSet, tmp_path: Path
) -> None:
    output = tmp_path / "imported.binpb"
    async with reflecting(files, "v1alpha") as target:
        command = ("contracts", "import", "--reflect", target, "-o", str(output))
        code, printed, errors = await run(*command)
        assert code == 0, errors
        assert "/invoice {number}" in printed
    assert (await run("contracts", "check", str(output)))[0] == 0
    output.unlink()
    lose_options(files)
    async with reflecting(files, "v1") as target:
        command = ("contracts", "import", "--reflect", target, "-o", str(output))
        code, _, errors = await run(*command)
        assert code == 2
        assert "lost the options" in errors
    assert not output.exists()
