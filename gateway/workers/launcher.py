"""Builds what a worker process needs: command line, environment, socket directory."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr

from gateway.config.services import ServiceSettings
from gateway.config.settings import Settings
from gateway.domain.errors import ConfigurationError


def build_worker_command(program: Sequence[str], socket: Path) -> Sequence[str | Path]:
    """Return the command line that starts a worker process.

    Args:
        program: a Python module that runs a worker if it is given `--worker` and a
            socket, followed by other arguments.
        socket: the path of the Unix socket at which the worker serves its internal
            endpoints.
    """
    # Without -P, Python would import modules from the working directory first, and
    # anybody who can write there could read the token.
    return (sys.executable, "-P", "-m", *program, "--worker", socket)


def build_worker_environment(
    settings: Settings, services: Mapping[str, ServiceSettings]
) -> dict[str, str]:
    """Return the environment in which a worker loads exactly these settings.

    All settings are passed as variables, and ENV_FILE and SECRETS_DIR are set to be
    empty. Otherwise a worker that is started later might read a changed `.env` file or
    new secrets: with another STORE_SECRET than the other workers it would take their
    updates for forged. Variables of this process that are no settings are kept.

    Args:
        settings: the settings of the gateway.
        services: the settings of each service, by its name.
    """
    settings_by_name: dict[str, object] = {"ENV_FILE": "", "SECRETS_DIR": ""}
    settings_by_name |= {name.upper(): value for name, value in settings}
    for service, own in services.items():
        settings_by_name |= {f"{service}_{name}".upper(): value for name, value in own}
    kept = {
        name: it
        for name, it in os.environ.items()
        if name.upper() not in settings_by_name
    }
    return kept | {
        name: _format_value(it)
        for name, it in settings_by_name.items()
        if it is not None
    }


def _format_value(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@contextlib.contextmanager
def create_socket_directory() -> Iterator[Path]:
    """Create a temporary directory for Unix sockets, and remove it after the block.

    Only this user can access it.

    Raises:
        ConfigurationError: it cannot be created.
    """
    try:
        directory = TemporaryDirectory(prefix="telegram-gateway-")
    except OSError as error:
        problem = f"workers need a temporary directory (TMPDIR): {error.strerror}"
        raise ConfigurationError([problem]) from None
    with directory as path:
        yield Path(path)
