"""The contracts that the settings name, and their route table."""

from collections.abc import Iterable, Sequence

import click
from msgspec import Struct

from gateway.config.contracts import load_contract_settings
from gateway.services.contracts.contract_set import ContractSet
from gateway.services.contracts.sources import list_ignored_files, load_contracts
from gateway.services.routing.contract_warnings import find_warnings
from gateway.services.routing.route_table import RouteTable, combine_contracts
from gateway.telegram.inbound.update_types import ROUTABLE_NAMES


class LoadedContracts(Struct, frozen=True):
    """The contracts of the setting CONTRACTS.

    Attributes:
        table: their routes.
        warnings: probable mistakes in them.
    """

    table: RouteTable
    warnings: Sequence[str]


def load_contracts_of_settings() -> LoadedContracts:
    """Load the contracts that CONTRACTS names.

    Raises:
        ConfigurationError: some contracts are invalid; it has all problems.
    """
    sources = load_contract_settings().contract_sources
    contracts = load_contracts(sources)
    table = combine_contracts(contracts)
    return LoadedContracts(table, find_contract_warnings(contracts, table, sources))


def load_route_table() -> RouteTable:
    """Load the route table of the contracts that CONTRACTS names.

    Raises:
        ConfigurationError: some contracts are invalid; it has all problems.
    """
    return load_contracts_of_settings().table


def find_contract_warnings(
    contracts: Iterable[ContractSet], table: RouteTable, sources: Iterable[str]
) -> list[str]:
    """Return the probable mistakes in contracts and in the folders that have them.

    Args:
        contracts: the contracts.
        table: their routes.
        sources: where they come from.
    """
    ignored = [path for source in sources for path in list_ignored_files(source)]
    return [
        *find_warnings(contracts, table, ROUTABLE_NAMES),
        *(f"{path} is not read: its suffix is not that of a set" for path in ignored),
    ]


def print_routes(*, lock: bool) -> None:
    """Print the route table, or with `lock` the contents for `routes.lock`."""
    table = load_route_table()
    click.echo(
        table.format_lock_file() if lock else "\n".join(table.format_lines()),
        nl=not lock,
    )
