"""Finds what contracts may contain but is probably a mistake."""

from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches

from gateway.services.contracts.contract_set import ContractSet
from gateway.services.routing.route_table import RouteTable

_OWN_PACKAGE = "botgateway.delivery."
"""The services of the gateway itself. A set has them if a team compiles them for its
client, and no user should reach them."""


def find_warnings(
    contracts: Iterable[ContractSet],
    table: RouteTable,
    known_update_types: Collection[str],
) -> list[str]:
    """Return a text for each probable mistake in contracts that are not installed.

    These are services without any route, and routes for update types that Telegram does
    not have.

    Args:
        contracts: the contracts. Installed ones are not examined.
        table: the routes of these contracts.
        known_update_types: the names of update types and of message contents that
            Telegram has.
    """
    warnings: list[str] = []
    for contract in contracts:
        if contract.source:
            found = [
                *_find_services_without_route(contract, table),
                *_find_unknown_update_types(contract, table, known_update_types),
            ]
            warnings += map(contract.describe_problem, found)
    return warnings


def _find_services_without_route(
    contract: ContractSet, table: RouteTable
) -> Iterator[str]:
    routed = {route.method.rpartition(".")[0] for route in table.routes}
    for service in contract.services:
        name = service.full_name
        if name not in routed and not name.startswith(_OWN_PACKAGE):
            yield (
                f"{name} has no route, so that no user can reach it: none"
                " of its rpcs has the option (botgateway.route.v1.route)"
            )


def _find_unknown_update_types(
    contract: ContractSet, table: RouteTable, known: Collection[str]
) -> Iterator[str]:
    services = {service.full_name for service in contract.services}
    for update_type, route in table.by_update.items():
        if update_type not in known and route.method.rpartition(".")[0] in services:
            similar = get_close_matches(str(update_type), known, n=1)
            question = f': did you mean "{similar[0]}"?' if similar else ""
            yield (
                f'{route.method}: Telegram has no update type "{update_type}" yet'
                f"{question}"
            )
