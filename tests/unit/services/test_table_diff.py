"""What changes for users, old buttons and servers between two route tables."""

from botgateway.route.v1.route_pb2 import Route

from gateway.services.routing.route_table import RouteTable, combine_contracts
from gateway.services.routing.table_diff import compare_tables
from tests.support.services.made_up import CONTEXT, Rpc
from tests.support.services.sets import a_set, read

METHOD = "acme.order.v1.OrderService.Order"
FIELDS = {"context": CONTEXT, "size": "int32", "color": "string"}


def table_of(*routes: Route, numbers: tuple[int, ...] = (1, 2, 3)) -> RouteTable:
    """Build the table of an rpc with these routes."""
    files = a_set("acme.order.v1", Rpc(routes, FIELDS))
    for field, number in zip(
        files.file[-1].message_type[0].field, numbers, strict=True
    ):
        field.number = number
    return combine_contracts([read(files)])


def test_equal_tables_have_no_differences() -> None:
    route = Route(command="/order {size}")
    diff = compare_tables(table_of(route), table_of(route))
    assert diff.is_empty
    assert not diff.is_breaking
    assert diff.format_lines() == []


def test_added_triggers_break_nothing() -> None:
    old, new = Route(command="/order"), Route(callback="ORDER:{size}")
    diff = compare_tables(table_of(old), table_of(old, new))
    assert diff.format_lines() == [f"added       ORDER:{{size}} -> {METHOD}"]
    assert not diff.is_breaking


def test_removed_triggers_break_what_users_know() -> None:
    old, kept = Route(callback="ORDER:{size}"), Route(command="/order")
    diff = compare_tables(table_of(kept, old), table_of(kept))
    assert diff.removed == (f"ORDER:{{size}} -> {METHOD}",)
    assert diff.is_breaking


def test_a_button_whose_data_is_read_differently_counts_as_removed() -> None:
    """Its prefix is the same, but the data of old buttons does not match."""
    old = Route(callback="ORDER:{size}")
    for template in ("ORDER:{size}:{color}", "ORDER:{size};"):
        new = Route(callback=template)
        diff = compare_tables(table_of(old), table_of(new))
        assert diff.removed == (f"ORDER:{{size}} -> {METHOD}: is now {template}",)
    signed = Route(callback="ORDER:{size}", signed=True)
    assert compare_tables(table_of(old), table_of(signed)).is_breaking
    assert not compare_tables(table_of(signed), table_of(old)).is_breaking


def test_other_differences_of_a_route_are_changes() -> None:
    old = Route(command="/order {size}", description="Order")
    new = Route(command="/order {color}", disable_typing_indicator=True)
    diff = compare_tables(table_of(old), table_of(new))
    assert [line.partition(": ")[2].partition(" is ")[0] for line in diff.changed] == [
        "the description",
        "the trigger",
        "the typing indicator",
    ]


def test_fields_with_other_numbers_break_running_servers() -> None:
    route = Route(command="/order {size}")
    old, new = table_of(route), table_of(route, numbers=(4, 2, 3))
    diff = compare_tables(old, new)
    assert diff.renumbered == (
        "/order {size}: the field for the context is context = 4, was context = 1",
    )
    assert diff.is_breaking
    # A field that no trigger uses is no matter.
    assert compare_tables(old, table_of(route, numbers=(1, 2, 5))).is_empty
