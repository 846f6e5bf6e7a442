"""The settings of each service, and the settings that all services have in common.

The settings of a service come from the environment (BILLING_TARGET) or, beside it, from
the file that SERVICES_FILE names (`target` under `billing`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

_SCHEMES = "(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds)"

# Seconds. A conversation may need time to compute; the others only look things up.
_DEFAULT_TIMEOUTS = {"CONVERSATION": 5.0}

_NAME_VARIABLE = "{name}"


def _check_target(value: str) -> str:
    if value.startswith(("http://", "https://")):
        raise ValueError("is a gRPC name like billing:50051, without http://")
    # Targets with a gRPC scheme may have another form of port, or none.
    with_scheme = re.fullmatch(_SCHEMES + r":\S+", value)
    host_and_port = re.fullmatch(r"(?:\[[0-9a-fA-F:]+\]|[^\s:/]+):(\d{1,5})", value)
    if with_scheme or (host_and_port and 1 <= int(host_and_port[1]) <= 65535):
        return value
    raise ValueError("is a gRPC name with a port, like billing:50051")


def _check_pattern(value: str | None) -> str | None:
    if value is None:
        return None
    if _NAME_VARIABLE not in value:
        raise ValueError(f"has no {_NAME_VARIABLE}, such as {_NAME_VARIABLE}:50051")
    _check_target(value.replace(_NAME_VARIABLE, "name"))
    return value


class CommonServiceSettings(BaseSettings):
    """The settings that apply to all services; a base class of `Settings`."""

    model_config = SettingsConfigDict(
        extra="ignore", env_ignore_empty=True, validate_default=True
    )

    services_file: Path | None = None
    services_target: Annotated[str | None, AfterValidator(_check_pattern)] = None

    def get_target(self, name: str) -> str | None:
        """Return the target of a service by the pattern SERVICES_TARGET.

        It is for a service without a target of its own. None if there is no pattern.

        Args:
            name: the service's name, such as "ORDER_HISTORY", which is "order-history"
                in the pattern: underscores are not allowed in names of hosts.
        """
        if self.services_target is None:
            return None
        host = name.lower().replace("_", "-")
        return self.services_target.replace(_NAME_VARIABLE, host)


class ServiceSettings(BaseSettings):
    """The settings of one service. Their variables begin with the service's name."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    target: Annotated[str, AfterValidator(_check_target)]
    timeout: float = Field(default=3, gt=0, le=3600)
    streaming: bool = False
    stream_timeout: float = Field(default=300, gt=0, le=3600)
    max_concurrent_calls: int | None = Field(default=None, ge=1, le=1_000_000)
    tls: bool | None = None
    tls_ca_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Give the environment precedence over the values of SERVICES_FILE."""
        return env_settings, dotenv_settings, init_settings

    @field_validator("tls_ca_file", "tls_certificate_file")
    @classmethod
    def _check_tls_files(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value and "tls" in info.data and not info.data["tls"]:
            raise ValueError("is set, but TLS of this service is off")
        return value

    @field_validator("tls_key_file")
    @classmethod
    def _check_tls_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("tls_certificate_file", value)
        if bool(value) != bool(certificate):
            raise ValueError("goes together with the setting TLS_CERTIFICATE_FILE")
        return value


def load_service_settings(
    name: str, env_file: str | None, defaults: Mapping[str, Any] | None = None
) -> ServiceSettings:
    """Load the settings of a service.

    Args:
        name: the service's name, such as "CONVERSATION" for CONVERSATION_TARGET.
        env_file: a file with settings that the environment does not have; None for no
            file.
        defaults: values of settings that neither the environment nor the file has, by
            the name without the service; None for no values.

    Raises:
        ValidationError: some settings are invalid, or there is no target.
    """
    settings = ServiceSettings(
        _env_file=env_file, _env_prefix=f"{name}_", **(defaults or {})
    )
    if "timeout" not in settings.model_fields_set:
        settings.timeout = _DEFAULT_TIMEOUTS.get(name, settings.timeout)
    return settings
