"""Mistakes in a descriptor set that would otherwise be silent."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from botgateway.route.v1.route_pb2 import Route
from google.protobuf.descriptor_pb2 import (
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from gateway.services.contracts.sources import (
    list_files,
    list_ignored_files,
    load_contracts,
)
from gateway.services.routing.contract_warnings import find_warnings
from gateway.services.routing.route_table import combine_contracts
from tests.support.services.made_up import Rpc
from tests.support.services.sets import SOURCE, a_set, problems_of, read

KNOWN = {"inline_query", "poll_answer"}


def find_file(files: FileDescriptorSet, name: str) -> FileDescriptorProto:
    """Return the only file with such a name."""
    [file] = [file for file in files.file if file.name.endswith(name)]
    return file


def warnings_of(*rpcs: Rpc) -> list[str]:
    """Return the warnings about a set with these rpcs and one that is routed."""
    routed = Rpc((Route(command="/routed"),), name="Routed")
    contracts = [read(a_set("acme.order.v1", routed, *rpcs))]
    return find_warnings(contracts, combine_contracts(contracts), KNOWN)


def test_a_copy_of_the_option_with_another_number_is_a_problem() -> None:
    """Its routes would not be read, and the service would have none."""
    files = a_set()
    find_file(files, "route.proto").extension[0].number = 50001
    [problem] = problems_of(lambda: read(files))
    assert problem.startswith(
        f"{SOURCE}: botgateway/route/v1/route.proto: the option"
        " botgateway.route.v1.route has the number 50001, and the gateway reads 52741"
    )
    assert "contracts export" in problem


def test_another_option_with_the_number_is_a_problem() -> None:
    files = a_set()
    file = find_file(files, "order_service.proto")
    file.dependency.append("google/protobuf/descriptor.proto")
    file.extension.add(
        name="auth",
        number=52741,
        extendee=".google.protobuf.MethodOptions",
        type=FieldDescriptorProto.TYPE_STRING,
    )
    problems = problems_of(lambda: read(files))
    assert (
        "the option acme.order.v1.auth has the number 52741, which the gateway"
        in (problems[0])
    )


def test_a_field_of_the_gateways_messages_with_another_type_is_a_problem() -> None:
    """The gateway would write what the service cannot read."""
    files = a_set()
    message = find_file(files, "chat/v1/context.proto").message_type
    [context] = [it for it in message if it.name == "RequestContext"]
    context.field[0].type = FieldDescriptorProto.TYPE_INT64
    [problem] = problems_of(lambda: read(files))
    assert "botgateway.chat.v1.RequestContext.request_id is not of the type" in problem


def test_a_field_that_the_gateway_does_not_know_yet_is_none() -> None:
    files = a_set()
    message = find_file(files, "chat/v1/context.proto").message_type
    [context] = [it for it in message if it.name == "RequestContext"]
    context.field.add(name="mood", number=99, type=FieldDescriptorProto.TYPE_STRING)
    assert read(files).services


def test_an_unknown_update_type_is_suspicious() -> None:
    """It is allowed, because Telegram adds types, but most are typing mistakes."""
    similar, unlike, known = (
        Rpc((Route(update_type=name),), name=name.title().replace("_", ""))
        for name in ("inline_querry", "hologram_call", "poll_answer")
    )
    place = f"{SOURCE}: acme.order.v1.OrderService"
    unknown = "Telegram has no update type"
    question = 'did you mean "inline_query"?'
    assert warnings_of(similar, unlike, known) == [
        f'{place}.HologramCall: {unknown} "hologram_call" yet',
        f'{place}.InlineQuerry: {unknown} "inline_querry" yet: {question}',
    ]


def test_a_service_without_a_route_is_suspicious() -> None:
    """Unless it is the gateway's own, which a team compiles for its client."""
    contracts = [
        read(a_set()),
        read(a_set("acme.silent.v1", Rpc(()))),
        read(a_set("botgateway.delivery.v1", Rpc(()))),
    ]
    table = combine_contracts(contracts)
    [warning] = find_warnings(contracts, table, KNOWN)
    assert warning.startswith(
        f"{SOURCE}: acme.silent.v1.OrderService has no route, so that no user can"
    )
    assert warnings_of(Rpc(())) == []


def test_a_folder_has_sets_and_files_that_are_reported(tmp_path: Path) -> None:
    content = a_set().SerializeToString()
    for name in ("b.binpb", "a.binpb.gz", "c.pb", ".hidden.pb", "a.allow-removal"):
        (tmp_path / name).write_bytes(content)
    names = [path.name for path in list_files(str(tmp_path))]
    assert names == ["a.binpb.gz", "b.binpb"]
    assert [path.name for path in list_ignored_files(str(tmp_path))] == ["c.pb"]
    assert list_ignored_files(str(tmp_path / "c.pb")) == ()
    assert list_ignored_files("builtin") == ()


def test_a_folder_that_cannot_be_read_has_no_ignored_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may disappear or become unreadable at any moment."""

    def refuse(folder: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert list_ignored_files(str(tmp_path)) == ()


def test_all_sources_are_read_before_anything_is_reported(tmp_path: Path) -> None:
    (tmp_path / "wrong.binpb").write_bytes(b"?")
    (tmp_path / "empty").mkdir()
    sources = [str(tmp_path / "missing"), str(tmp_path), str(tmp_path / "empty")]
    problems = problems_of(lambda: load_contracts(sources))
    assert [line.partition(": ")[2].partition(":")[0] for line in problems] == [
        "cannot be read",
        "is not a descriptor set",
        "has no files *.binpb or *.binpb.gz",
    ]
