"""Everything that the settings say, loaded together for the commands that need it."""

from typing import Any, NamedTuple

from gateway.cli.routes import load_contracts_of_settings
from gateway.config.services import ServiceSettings
from gateway.config.settings import Settings, load_settings_with_services
from gateway.config.unknown_settings import find_misspelled_settings
from gateway.contracts.loading import LoadedContracts
from gateway.delivery_setup import find_delivery_problems
from gateway.domain.errors import ConfigurationError


class Configuration(NamedTuple):
    """The settings, and the contracts that they name.

    Attributes:
        settings: the gateway's settings.
        services: the settings of the services that have a route, by name.
        contracts: the contracts.
    """

    settings: Settings
    services: dict[str, ServiceSettings]
    contracts: LoadedContracts


def load_configuration(overrides: dict[str, Any] | None = None) -> Configuration:
    """Load the settings and the contracts.

    Args:
        overrides: settings from the command line, by field name.

    Raises:
        ConfigurationError: some are invalid; it has all problems.
    """
    problems: list[str] = []
    contracts = None
    names: tuple[str, ...] = ()
    try:
        contracts = load_contracts_of_settings()
        names = contracts.table.service_names
    except ConfigurationError as error:
        problems += error.problems
    try:
        settings, services = load_settings_with_services(names, overrides)
    except ConfigurationError as error:
        problems += [*error.problems, *find_misspelled_settings(names)]
        raise ConfigurationError(problems) from None
    problems += find_delivery_problems(settings)
    if contracts is None or problems:
        raise ConfigurationError(problems)
    return Configuration(settings, services, contracts)
