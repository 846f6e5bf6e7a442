"""The settings of one service, as `config.py` reads them for every service."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_SCHEMES = "(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds)"

# A conversation may think; the others look things up.
_DEFAULT_TIMEOUTS = {"CONVERSATION": 5.0}


def _check_target(value: str) -> str:
    if value.startswith(("http://", "https://")):
        raise ValueError("is a gRPC name like billing:50051, without http://")
    # gRPC's own schemes have ports of their own kind, or none.
    with_scheme = re.fullmatch(_SCHEMES + r":\S+", value)
    host_and_port = re.fullmatch(r"(?:\[[0-9a-fA-F:]+\]|[^\s:/]+):(\d{1,5})", value)
    if with_scheme or (host_and_port and 1 <= int(host_and_port[1]) <= 65535):
        return value
    raise ValueError("is a gRPC name with a port, like billing:50051")


class ServiceSettings(BaseSettings):
    """Where one service is. Its settings begin with the service's name."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    target: Annotated[str, AfterValidator(_check_target)]
    timeout: float = Field(default=3, gt=0, le=3600)
    streaming: bool = False
    stream_timeout: float = Field(default=300, gt=0, le=3600)


def load_service_settings(name: str, env_file: str | None) -> ServiceSettings:
    """Read the settings of a service.

    Args:
        name: such as "CONVERSATION".
        env_file: a file that has what the environment has not. None: there is none.

    Raises:
        ValidationError: something is wrong with them.
    """
    settings = ServiceSettings(_env_file=env_file, _env_prefix=f"{name}_")
    if "timeout" not in settings.model_fields_set:
        settings.timeout = _DEFAULT_TIMEOUTS.get(name, settings.timeout)
    return settings
