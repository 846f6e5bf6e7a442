"""The digest tells two gateways with different routes apart."""

from collections.abc import Mapping

import pytest
from botgateway.route.v1.route_pb2 import Route

from gateway.contracts.loading import compute_digest
from gateway.services.routing.route_table import combine_contracts
from tests.support.services.made_up import CONTEXT, MESSAGE, Rpc
from tests.support.services.sets import a_set, read

FIELDS = {"context": CONTEXT, "size": "int32"}


def digest_of(route: Route, fields: Mapping[str, str]) -> str:
    """Return the digest of an rpc with this route."""
    return compute_digest(
        combine_contracts([read(a_set("acme.order.v1", Rpc((route,), fields)))])
    )


@pytest.mark.parametrize(
    "changed",
    [
        Route(callback="ORDER:{size}", signed=True),
        Route(callback="ORDER:{size}", disable_typing_indicator=True),
    ],
    ids=["signed", "typing"],
)
def test_every_option_of_a_route_is_in_the_digest(changed: Route) -> None:
    route = Route(callback="ORDER:{size}")
    assert digest_of(route, FIELDS) == digest_of(route, FIELDS)
    assert digest_of(changed, FIELDS) != digest_of(route, FIELDS)


def test_every_field_that_is_filled_is_in_the_digest() -> None:
    route = Route(command="/order {size}")
    fields = {**FIELDS, "message": MESSAGE}
    assert digest_of(route, fields) != digest_of(route, FIELDS)
