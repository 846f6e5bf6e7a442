"""Descriptor sets of made-up services."""

from collections.abc import Callable

import pytest
from botgateway.route.v1.route_pb2 import Route
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from gateway.domain.errors import ConfigurationError
from gateway.services.contracts.contract_set import ContractSet
from gateway.services.contracts.descriptor_sets import read_descriptor_set
from tests.support.services.made_up import CONTEXT, Rpc, a_service

SOURCE = "billing.binpb"
COMMAND = (Route(command="/order {size}"),)
ORDER = Rpc(COMMAND, {"context": CONTEXT, "size": "int32"})


def a_set(package: str = "acme.order.v1", *rpcs: Rpc) -> FileDescriptorSet:
    """Make the set of one service with all its imports."""
    files: dict[str, FileDescriptorProto] = {}

    def add(file: object) -> None:
        proto = FileDescriptorProto()
        file.CopyToProto(proto)  # type: ignore[attr-defined]
        for dependency in file.dependencies:  # type: ignore[attr-defined]
            add(dependency)
        files[proto.name] = proto

    add(a_service(*(rpcs or (ORDER,)), package=package).file)
    return FileDescriptorSet(file=files.values())


def read(files: FileDescriptorSet, source: str = SOURCE) -> ContractSet:
    """Read a set."""
    return read_descriptor_set(source, files.SerializeToString())


def problems_of(call: Callable[[], object]) -> list[str]:
    """Return what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    return list(caught.value.problems)
