"""Finds the contracts whose generated modules are installed in this environment."""

import importlib
from collections.abc import Iterable
from pathlib import Path

import botgateway
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.runtime_version import VersionError

from gateway.domain.errors import ConfigurationError

_STUB_PATTERN = "*_service_pb2.py"


def discover_services() -> list[ServiceDescriptor]:
    """Import all modules `*_service_pb2` under `botgateway`, and return their services.

    `botgateway` is a namespace package, which may be spread over several directories
    without an `__init__.py`.

    Raises:
        ConfigurationError: a module cannot be imported; the error has all of them.
    """
    problems = []
    services: list[ServiceDescriptor] = []
    for module in sorted(set(_find_stub_modules())):
        try:
            file: FileDescriptor = importlib.import_module(module).DESCRIPTOR
        except (ImportError, TypeError, VersionError) as error:
            # Protobuf raises TypeError for names and numbers that are in use. The
            # messages of all these errors quote only code.
            problems.append(f"{module} cannot be imported: {error}")
        else:
            services += file.services_by_name.values()
    if problems:
        raise ConfigurationError(problems)
    return services


def _find_stub_modules() -> Iterable[str]:
    for root in botgateway.__path__:
        for path in Path(root).rglob(_STUB_PATTERN):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join((botgateway.__name__, *parts))
