"""Finds variables that the gateway ignores but whose names are like known settings."""

import os
import re
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from gateway.config.env_file import find_env_file
from gateway.config.services import ServiceSettings
from gateway.config.services_file import ServiceDefaults, load_service_defaults
from gateway.config.settings import Settings

_OTHER_NAMES = ("ENV_FILE", "SECRETS_DIR")
_MIN_LENGTH = 6
"""Short names are like too many others."""

_SIMILARITY = 0.85


def find_misspelled_settings(services: Collection[str]) -> list[str]:
    """Return a line for each setting that is probably misspelled.

    They are variables of the environment and of ENV_FILE, and services in SERVICES_FILE
    that no route calls.

    Args:
        services: the names of the services that have a route, such as "CONVERSATION".
    """
    known = {*(name.upper() for name in Settings.model_fields), *_OTHER_NAMES}
    known |= {
        f"{service}_{name}".upper()
        for service in services
        for name in ServiceSettings.model_fields
    }
    env_file = find_env_file()
    given = {*os.environ, *_read_names(env_file)}
    unused = known - {name.upper() for name in given}
    lines = []
    for name in sorted(given):
        if name.upper() in known or len(name) < _MIN_LENGTH:
            continue
        similar = get_close_matches(name.upper(), unused, n=1, cutoff=_SIMILARITY)
        lines += [f"{name}: is no setting; did you mean {it}?" for it in similar]
    return lines + _find_unrouted_services(
        load_service_defaults(env_file, []), services
    )


def _find_unrouted_services(
    defaults: ServiceDefaults, services: Collection[str]
) -> list[str]:
    """Return a line for each service of SERVICES_FILE that no route calls."""
    lines = []
    for name in defaults.names:
        if name not in services:
            similar = get_close_matches(name, services, n=1)
            question = f"; did you mean {similar[0].lower()}?" if similar else ""
            key = name.lower()
            lines.append(f"SERVICES_FILE: no route calls the service {key}{question}")
    return lines


def _read_names(env_file: str | None) -> list[str]:
    text = Path(env_file).read_text(encoding="utf-8") if env_file else ""
    return re.findall(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=", text, re.MULTILINE)
