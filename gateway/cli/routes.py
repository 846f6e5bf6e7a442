"""The route table of the contracts that the settings name."""

import click

from gateway.config.contracts import load_contract_settings
from gateway.services.contracts.sources import load_contracts
from gateway.services.routing.route_table import RouteTable, combine_contracts


def load_route_table() -> RouteTable:
    """Load the route table of CONTRACTS.

    Raises:
        ConfigurationError: some contracts are invalid; it has all problems.
    """
    sources = load_contract_settings().contract_sources
    return combine_contracts(load_contracts(sources))


def print_routes(*, lock: bool) -> None:
    """Print the route table, or with `lock` the contents for `routes.lock`."""
    table = load_route_table()
    click.echo(
        table.format_lock_file() if lock else "\n".join(table.format_lines()),
        nl=not lock,
    )
