"""The settings of one service; `settings.py` loads them for every service."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_SCHEMES = "(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds)"

# Seconds. A conversation may need time to compute; the others only look things up.
_DEFAULT_TIMEOUTS = {"CONVERSATION": 5.0}


def _check_target(value: str) -> str:
    if value.startswith(("http://", "https://")):
        raise ValueError("is a gRPC name like billing:50051, without http://")
    # Targets with a gRPC scheme may have another form of port, or none.
    with_scheme = re.fullmatch(_SCHEMES + r":\S+", value)
    host_and_port = re.fullmatch(r"(?:\[[0-9a-fA-F:]+\]|[^\s:/]+):(\d{1,5})", value)
    if with_scheme or (host_and_port and 1 <= int(host_and_port[1]) <= 65535):
        return value
    raise ValueError("is a gRPC name with a port, like billing:50051")


class ServiceSettings(BaseSettings):
    """The settings of one service. Their names begin with the service's name."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    target: Annotated[str, AfterValidator(_check_target)]
    timeout: float = Field(default=3, gt=0, le=3600)
    streaming: bool = False
    stream_timeout: float = Field(default=300, gt=0, le=3600)


def load_service_settings(name: str, env_file: str | None) -> ServiceSettings:
    """Load the settings of a service.

    Args:
        name: the service's name, such as "CONVERSATION".
        env_file: a file with settings that the environment does not have, or None.

    Raises:
        ValidationError: some settings are invalid.
    """
    settings = ServiceSettings(_env_file=env_file, _env_prefix=f"{name}_")
    if "timeout" not in settings.model_fields_set:
        settings.timeout = _DEFAULT_TIMEOUTS.get(name, settings.timeout)
    return settings
