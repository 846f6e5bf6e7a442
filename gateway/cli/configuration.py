"""Loads the settings, and the contracts that they name, for the commands."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.cli.routes import load_contracts_of_settings
from gateway.config.services import ServiceSettings
from gateway.config.settings import Settings, load_settings_with_services
from gateway.config.unknown_settings import find_misspelled_settings
from gateway.contracts.loading import LoadedContracts, load_generation
from gateway.contracts.opened_history import open_history
from gateway.delivery_setup import find_delivery_problems
from gateway.domain.contract_history import ContractGeneration
from gateway.domain.errors import ConfigurationError, StoreUnavailable


class Configuration(NamedTuple):
    """The settings, and the contracts that they name.

    Attributes:
        settings: the gateway's settings.
        services: the settings of the services that have a route, by name.
        contracts: the contracts with their route table.
    """

    settings: Settings
    services: dict[str, ServiceSettings]
    contracts: LoadedContracts


def load_configuration(overrides: dict[str, Any] | None = None) -> Configuration:
    """Load the settings and the contracts.

    Args:
        overrides: settings from the command line, by field name; None for none.

    Raises:
        ConfigurationError: some settings or contracts, or files of the Delivery
            service, are invalid; it has all problems.
    """
    return _load_configuration(load_contracts_of_settings, overrides)


def load_configuration_to_serve(
    overrides: dict[str, Any] | None = None,
) -> Configuration:
    """Load the settings, and the contracts or else those that were served before.

    If the contracts in the files are invalid, those of the current generation in the
    history are loaded. So a gateway can restart while its folder has contracts that it
    refused.

    Args:
        overrides: settings from the command line, by field name; None for none.

    Raises:
        ConfigurationError: some settings are invalid, or the contracts are, and none
            were accepted before; it has all problems.
    """
    try:
        return load_configuration(overrides)
    except ConfigurationError as error:
        problems = error.problems
    with contextlib.suppress(ConfigurationError, StoreUnavailable):
        settings, _ = load_settings_with_services((), overrides)
        if (generation := asyncio.run(_find_accepted(settings))) is not None:
            accepted = load_generation(generation)
            return _load_configuration(lambda: accepted, overrides)
    raise ConfigurationError(problems)


async def _find_accepted(settings: Settings) -> ContractGeneration | None:
    async with open_history(settings) as history:
        return await history.get_generation(await history.find_current_number())


def _load_configuration(
    load_contracts: Callable[[], LoadedContracts], overrides: dict[str, Any] | None
) -> Configuration:
    problems: list[str] = []
    contracts = None
    names: tuple[str, ...] = ()
    try:
        contracts = load_contracts()
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
