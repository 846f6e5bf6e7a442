"""Buttons that name an rpc: their data is read back as what they say."""

import pytest
from botgateway.chat.v1.reply_pb2 import CallbackTarget
from botgateway.route.v1.route_pb2 import Route
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.routing.route_table import (
    RouteTable,
    build_route_table,
)
from tests.support.services import samples
from tests.support.services.made_up import CONTEXT, Rpc, a_service

FULL = "botgateway.matching.v1.MatchingService.Connect"


def a_rpc(name: str, *callbacks: str, **fields: str) -> Rpc:
    """Make an rpc with callback routes and string fields."""
    routes = tuple(Route(callback=callback) for callback in callbacks)
    return Rpc(routes, {"context": CONTEXT, **fields}, name=name)


TABLE = build_route_table(
    [
        a_service(
            a_rpc(
                "Pick",
                "p:{one}:{two}!{three}",
                one="string",
                two="int32",
                three="string",
            ),
            a_rpc("Wide", "w:{rest}", rest="string"),
            a_rpc("Narrow", "w:n:{rest}", rest="string"),
            a_rpc("Twice", "t1:{rest}", "t2:{rest}", rest="string"),
            a_rpc("Fixed", "fixed"),
            Rpc((Route(command="/say"),), name="Said"),
        )
    ]
)


def render(method: str, table: RouteTable = TABLE, /, **parameters: str) -> str | None:
    """Return the data of a button."""
    return table.encode_callback_data(
        CallbackTarget(method=method, parameters=parameters)
    )


@pytest.mark.parametrize("method", ["MatchingService.Connect", FULL])
def test_an_rpc_is_named_with_its_service(method: str) -> None:
    assert render(method, samples.TABLE, target_user_id="u-1") == "CONNECT:u-1"


def test_all_variables_are_put_into_the_template() -> None:
    """In the template's order, whatever the order of the values."""
    assert render("OrderService.Fixed") == "fixed"
    data = render("OrderService.Pick", three="c", two="-7", one="a")
    assert data == "p:a:-7!c"


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("", {}),
        ("Wide", {"rest": "x"}),
        ("OrderService.NoSuch", {}),
        ("OrderService.Said", {}),
        ("OrderService.Twice", {"rest": "x"}),
        ("OrderService.Fixed", {"rest": "x"}),
        ("OrderService.Wide", {}),
        ("OrderService.Wide", {"rest": "x", "more": "y"}),
        # The literal that ends the variable would end it too early.
        ("OrderService.Pick", {"one": "a:b", "two": "7", "three": "c"}),
        # No number, so that the press would find no route.
        ("OrderService.Pick", {"one": "a", "two": "seven", "three": "c"}),
        # The press would be taken for the other route's.
        ("OrderService.Wide", {"rest": "n:x"}),
    ],
)
def test_what_cannot_be_read_back_gets_no_data(
    method: str, parameters: dict[str, str]
) -> None:
    """A button that would do something else than it says is none."""
    assert render(method, **parameters) is None


TEXTS = st.text(alphabet="an:!w7-", max_size=6)


@given(one=TEXTS, two=TEXTS, three=TEXTS)
def test_rendered_data_binds_back(one: str, two: str, three: str) -> None:
    """To the same rpc with the same values, or nothing is rendered."""
    for method, values in (
        ("OrderService.Pick", {"one": one, "two": two, "three": three}),
        ("OrderService.Wide", {"rest": one}),
        ("OrderService.Narrow", {"rest": one}),
    ):
        if data := render(method, **values):
            route = next(
                r for r in TABLE.callback_routes if r.match_text(data) is not None
            )
            assert route.method.endswith(method)
            # A number is read back as a number, whatever zeros it was written with.
            assert route.match_text(data) == values | {
                name: int(text) for name, text in values.items() if name == "two"
            }
