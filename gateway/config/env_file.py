"""Finds the file with settings for variables that the environment does not have."""

import os
from pathlib import Path

from gateway.domain.errors import ConfigurationError


def find_env_file() -> str | None:
    """Return the name of the file with settings: ENV_FILE, or else `.env`.

    Returns:
        None if ENV_FILE is empty, or if it is not set and there is no `.env`.

    Raises:
        ConfigurationError: ENV_FILE names a missing file, or the file cannot be read.
    """
    name = os.environ.get("ENV_FILE", ".env")
    if not name or (name == ".env" and not Path(name).exists()):
        return None
    try:
        Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError([f"ENV_FILE {name}: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"ENV_FILE {name}: is not UTF-8"]) from None
    return name
