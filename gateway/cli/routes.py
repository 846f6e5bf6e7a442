"""Loads the contracts that the setting CONTRACTS names, and prints their routes."""

import click

from gateway.config.contracts import load_contract_settings
from gateway.contracts.loading import LoadedContracts, load_sources
from gateway.services.routing.route_table import RouteTable


def load_contracts_of_settings() -> LoadedContracts:
    """Load the contracts that CONTRACTS names.

    Raises:
        ConfigurationError: some contracts are invalid; it has all problems.
    """
    return load_sources(load_contract_settings().contract_sources)


def load_route_table() -> RouteTable:
    """Load the route table of the contracts that CONTRACTS names.

    Raises:
        ConfigurationError: some contracts are invalid; it has all problems.
    """
    return load_contracts_of_settings().table


def print_routes(*, lock: bool) -> None:
    """Print the route table of the contracts that CONTRACTS names.

    Args:
        lock: True to print the contents of `routes.lock`; False to print text for
            people.

    Raises:
        ConfigurationError: some contracts are invalid; it has all problems.
    """
    table = load_route_table()
    click.echo(
        table.format_lock_file() if lock else "\n".join(table.format_lines()),
        nl=not lock,
    )
