"""`telegram-gateway check`: checks settings, contracts and files, offline."""

import click

from gateway.cli.configuration import load_configuration
from gateway.config.bots import load_bots
from gateway.config.unknown_settings import find_misspelled_settings
from gateway.domain.errors import ConfigurationError
from gateway.mailboxes.redis.client.connection_factory import (
    make_checked_connection_factory,
)
from gateway.service_setup import create_channels


def check_configuration(*, strict: bool) -> int:
    """Check all that `serve` reads when it starts, and print the warnings.

    Args:
        strict: whether a warning makes the exit code 1.

    Returns:
        The exit code: 0, or 1 after a warning if `strict`.

    Raises:
        ConfigurationError: the gateway would not start; it has all problems.
    """
    settings, services, contracts = load_configuration()
    problems: list[str] = []
    streaming = [name for name, service in services.items() if service.streaming]
    table = contracts.table
    for check in (
        lambda: load_bots(settings, table.service_names, table.route_names),
        lambda: table.with_streaming(streaming),
        lambda: create_channels(settings, services),
        lambda: (
            make_checked_connection_factory(settings.store_url)
            if settings.store_url
            else None
        ),
    ):
        try:
            check()
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    warnings = [*contracts.warnings, *find_misspelled_settings(services)]
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    routes = len(table.routes)
    click.echo(f"The settings are valid: {routes} routes of {len(services)} services.")
    return 1 if warnings and strict else 0
