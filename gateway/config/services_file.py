"""Reads SERVICES_FILE, a YAML file with the settings of services."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.config.services import CommonServiceSettings, ServiceSettings
from gateway.domain.errors import ConfigurationError


class ServiceDefaults:
    """The settings of services from SERVICES_FILE and SERVICES_TARGET.

    They apply where the environment has no setting.

    Attributes:
        names: the names of the services in the file, such as "ORDER_HISTORY" for
            `order-history`.
    """

    def __init__(self, common: CommonServiceSettings | None) -> None:
        """Read the file that the settings name.

        Args:
            common: SERVICES_FILE and SERVICES_TARGET; None for neither.

        Raises:
            ConfigurationError: the file is invalid; it has all problems.
        """
        self._common = common
        path = common.services_file if common else None
        self._services = _read_services(path) if path else {}
        self.names = tuple(self._services)

    def for_service(self, name: str) -> dict[str, Any]:
        """Return the values for a service, by the names of its settings.

        Args:
            name: the service's name, such as "ORDER_HISTORY".
        """
        values = dict(self._services.get(name, {}))
        target = self._common.get_target(name) if self._common else None
        if target is not None:
            values.setdefault("target", target)
        return values


def _read_services(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the values of the file by service.

    Raises:
        ConfigurationError: the file is invalid.
    """
    # Only SERVICES_FILE needs YAML, which takes as long to import as all settings.
    from gateway.config.yaml_file import read_yaml  # noqa: PLC0415

    problems: list[str] = []
    content = read_yaml(path, problems)
    if not isinstance(content, dict | None):
        problems.append("needs the name of a service and its settings, for each one")
    services: dict[str, Mapping[str, Any]] = {}
    for key, values in content.items() if isinstance(content, dict) else ():
        name = str(key).upper().replace("-", "_")
        if name in services:
            problems.append(f"{key}: is the same as another service")
        services[name] = values if isinstance(values, dict) else {}
        if not isinstance(values, dict):
            problems.append(f"{key}: has no settings, such as target: {key}:50051")
        problems += [
            f"{key}.{setting}: is no setting of a service{_suggest(str(setting))}"
            for setting in services[name]
            if setting not in ServiceSettings.model_fields
        ]
    if problems:
        raise ConfigurationError([f"SERVICES_FILE {path}: {it}" for it in problems])
    return services


def _suggest(setting: str) -> str:
    similar = get_close_matches(setting, ServiceSettings.model_fields, n=1)
    return f"; did you mean {similar[0]}?" if similar else ""


def load_service_defaults(env_file: str | None, problems: list[str]) -> ServiceDefaults:
    """Load SERVICES_FILE: the settings of services that the environment does not set.

    After a problem the result has no settings.

    Args:
        env_file: a file with settings that the environment does not have; None for no
            file.
        problems: receives a line for every problem of SERVICES_FILE. If the variable
            SERVICES_FILE or SERVICES_TARGET is invalid, `Settings` reports that.
    """
    try:
        return ServiceDefaults(CommonServiceSettings(_env_file=env_file))
    except ConfigurationError as error:
        problems += error.problems
    except ValidationError:
        pass
    return ServiceDefaults(None)
