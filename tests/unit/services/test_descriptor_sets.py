"""Descriptor sets of other repositories, and the message classes made for them."""

import gzip

import pytest
from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.route.v1.route_pb2 import Route
from google.protobuf.descriptor_pb2 import (
    FieldDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message_factory import GetMessageClass

from gateway.services.contracts.descriptor_sets import read_descriptor_set
from gateway.services.contracts.projections import get_message_class
from gateway.services.routing.route_table import build_route_table, combine_contracts
from tests.support.services.made_up import CONTEXT, Rpc, a_service
from tests.support.services.sets import ORDER, SOURCE, a_set, problems_of, read


def test_the_services_of_a_set_are_read_in_any_order_of_its_files() -> None:
    files = a_set()
    backwards = FileDescriptorSet(file=reversed(files.file))
    for each in (files, backwards):
        names = [service.full_name for service in read(each).services]
        assert names == ["acme.order.v1.OrderService"]


def test_a_set_may_be_compressed() -> None:
    content = gzip.compress(a_set().SerializeToString())
    assert len(read_descriptor_set(SOURCE, content).services) == 1
    assert (
        "is not a descriptor set"
        in problems_of(lambda: read_descriptor_set(SOURCE, content[:-20]))[0]
    )


@pytest.mark.parametrize(
    "content", [b'{"file": []}', b'syntax = "proto3";', b"\x1f\x8b"]
)
def test_what_is_no_descriptor_set_is_told_how_to_build_one(content: bytes) -> None:
    [problem] = problems_of(lambda: read_descriptor_set(SOURCE, content))
    assert problem.startswith(f"{SOURCE}: is not a descriptor set: build one with `buf")


def test_a_set_without_files_is_a_problem() -> None:
    [problem] = problems_of(lambda: read_descriptor_set(SOURCE, b""))
    assert "has no files" in problem


def test_every_missing_import_is_named() -> None:
    files = a_set()
    del files.file[:-1]
    problems = problems_of(lambda: read(files))
    name = "acme/order/v1/order_service.proto"
    assert (
        f"{SOURCE}: {name} imports botgateway/chat/v1/context.proto, which"
        in problems[0]
    )
    assert all("build it with imports" in problem for problem in problems)
    assert len(problems) == len(files.file[0].dependency)


def test_a_symbol_under_two_paths_is_one_problem_with_both() -> None:
    """As if route.proto was vendored beside the one that a dependency brings."""
    files = a_set()
    original = next(
        it for it in files.file if it.name.endswith("chat/v1/context.proto")
    )
    files.file.add().CopyFrom(original)
    files.file[-1].name = "vendor/context.proto"
    [problem] = problems_of(lambda: read(files))
    assert "botgateway/chat/v1/context.proto and by vendor/context.proto" in problem


def test_two_different_files_of_one_name_are_a_problem() -> None:
    files = a_set()
    original = files.file[-1]
    files.file.add().CopyFrom(original)
    assert len(read(files).services) == 1
    files.file[-1].package = "another"
    assert "has two different files" in problems_of(lambda: read(files))[0]


def test_services_of_imported_modules_are_not_served() -> None:
    """Buf marks their files: they belong to another team."""
    files = a_set()
    mark = b"\xd2\xf6\x03\x02\x08\x01"  # field 8042: {1: 1}
    files.file[-1].MergeFromString(mark)
    assert read(files).services == ()


def test_a_type_that_is_missing_is_a_problem() -> None:
    files = a_set()
    files.file[-1].message_type[0].field[0].type_name = ".acme.Nothing"
    assert "cannot be loaded" in problems_of(lambda: read(files))[0]


def test_a_projection_is_the_same_on_the_wire() -> None:
    """With numbers of its own fields, and the gateway's own context and reply."""
    route = combine_contracts([read(a_set())]).routes[0]
    request = route.request_type(size=3)
    request.context.CopyFrom(RequestContext(request_id="r"))  # type: ignore[attr-defined]
    service = a_service(ORDER, package="acme.order.v1")
    original = GetMessageClass(service.methods[0].input_type)
    assert original.FromString(request.SerializeToString()).size == 3  # type: ignore[attr-defined]
    reply = Reply(messages=[OutgoingMessage(text="x")])
    content = b"\x0a" + bytes([len(reply.SerializeToString())])
    response = route.response_type.FromString(content + reply.SerializeToString())
    assert type(response.reply) is Reply  # type: ignore[attr-defined]


def test_the_same_contract_has_the_same_projection() -> None:
    """So that loading it again takes no memory; another copy of a file is no matter."""
    first, again = (combine_contracts([read(a_set())]).routes[0] for _ in range(2))
    assert first.request_type is again.request_type
    other = a_set()
    other.file[-1].message_type[0].field[1].number = 7
    changed = combine_contracts([read(other)]).routes[0]
    assert changed.request_type is not first.request_type


def test_presence_and_oneofs_of_variables_are_kept() -> None:
    files = a_set(
        "acme.order.v1",
        Rpc(
            (Route(callback="A:{one}:{two}:{three}:{four}"),),
            {
                "context": CONTEXT,
                **dict.fromkeys(("one", "two", "three", "four"), "int32"),
            },
        ),
    )
    message = files.file[-1].message_type[0]
    message.oneof_decl.add(name="either")
    message.oneof_decl.add(name="_three")
    message.field[1].oneof_index = message.field[2].oneof_index = 0
    message.field[3].oneof_index, message.field[3].proto3_optional = 1, True
    request_type = combine_contracts([read(files)]).routes[0].request_type
    request = request_type(one=1, two=0, three=0, four=0)
    assert request.WhichOneof("either") == "two"
    assert request.HasField("three")
    assert request.SerializeToString() == bytes([3 << 3, 0, 4 << 3, 0])


def test_enums_of_a_contract_are_sent_by_number() -> None:
    files = a_set()
    enum = files.file[-1].enum_type.add(name="Size")
    enum.value.add(name="SIZE_UNSPECIFIED", number=0)
    enum.value.add(name="SIZE_BIG", number=5)
    field = files.file[-1].message_type[0].field[1]
    field.type, field.type_name = FieldDescriptorProto.TYPE_ENUM, ".acme.order.v1.Size"
    route = combine_contracts([read(files)]).routes[0]
    assert route.match_text("big") == {"size": 5}
    request = route.request_type(size=5)
    assert request.SerializeToString() == bytes([2 << 3, 5])


def test_messages_of_the_gateway_itself_have_their_own_class() -> None:
    assert get_message_class(Empty.DESCRIPTOR, ()) is Empty


def test_a_duplicate_trigger_is_a_problem_of_the_later_set() -> None:
    """Whatever their names are: the earlier one worked before."""
    old, new = a_set("zoo.order.v1"), a_set("acme.order.v1")
    sets = [read(old, "old.binpb"), read(new, "new.binpb")]
    ours, theirs = "acme.order.v1.OrderService", "zoo.order.v1.OrderService"
    assert problems_of(lambda: combine_contracts(sets)) == [
        f"new.binpb: {ours}{problem} {theirs}{rpc} (old.binpb)"
        for problem, rpc in (
            (".Order: /order is already routed to", ".Order"),
            (": ORDER_TARGET is already that of", ""),
        )
    ]


def test_a_service_in_two_sets_is_served_once_unless_they_differ() -> None:
    """A set contains what it imports, also the services of others."""
    sets = [read(a_set(), "one.binpb"), read(a_set(), "two.binpb")]
    assert len(combine_contracts(sets).routes) == 1
    other = a_set()
    other.file[-1].message_type[0].field[1].number = 7
    sets[1] = read(other, "two.binpb")
    assert problems_of(lambda: combine_contracts(sets)) == [
        "two.binpb: acme.order.v1.OrderService differs from the one in one.binpb"
    ]


def test_problems_of_routes_name_the_file() -> None:
    wrong = a_set("acme.order.v1", Rpc((Route(command="/order {no}"),)))
    [problem] = problems_of(lambda: combine_contracts([read(wrong)]))
    assert problem.startswith(f"{SOURCE}: acme.order.v1.OrderService.Order: variable")


def test_a_group_is_no_message_that_the_gateway_fills() -> None:
    files = a_set()
    field = files.file[-1].message_type[0].field[0]
    files.file[-1].syntax = "proto2"
    field.type = FieldDescriptorProto.TYPE_GROUP
    [problem] = problems_of(lambda: combine_contracts([read(files)]))
    assert "has no field of type" in problem


def test_a_table_can_be_built_of_services_alone() -> None:
    assert build_route_table(read(a_set()).services).service_names == ("ORDER",)
