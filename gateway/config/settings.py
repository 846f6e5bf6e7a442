"""Settings from the environment, a file `.env`, and files with secrets.

All problems are found before the start and reported together. A report never contains
values: they may be secrets.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from gateway.config.addresses import check_public_webhook, is_loopback
from gateway.config.contracts import ContractSettings
from gateway.config.data_directory import DataSettings
from gateway.config.delivery import DeliverySettings
from gateway.config.env_file import find_env_file
from gateway.config.services import (
    CommonServiceSettings,
    ServiceSettings,
    load_service_settings,
)
from gateway.config.services_file import load_service_defaults
from gateway.domain.errors import ConfigurationError

_WEAK_PROBLEM = (
    "is too short or copied from an example: use 16 characters or more, for example"
    " from `openssl rand -hex 24`"
)

MAX_SECONDS = 10 * 366 * 86400.0
"""The maximum of durations in settings: ten years. Redis and timers reject longer ones
at some point."""

_PUBLIC_API_HOST = "api.telegram.org"

_MAX_COUNT = 1_000_000
"""Limit for numbers of updates and users: a larger number is a typing mistake."""

_Port = Annotated[int, Field(ge=1, le=65535)]


def check_token(value: SecretStr) -> SecretStr:
    """Return a value unchanged if it has the form of a bot token.

    Raises:
        ValueError: it is not a bot token; the message says why, without the value.
    """
    bot_id, colon, key = value.get_secret_value().partition(":")
    if not (re.fullmatch(r"[0-9]{1,19}", bot_id) and colon and key and key.isascii()):
        raise ValueError("is not a bot token: BotFather gives one like 123456:ABC...")
    if _is_placeholder(key):
        raise ValueError("is copied from an example: use the token from BotFather")
    if any(it in " /?#%" or not it.isprintable() for it in key):
        raise ValueError("is not a bot token: it contains characters that no token has")
    return value


def _is_placeholder(secret: str) -> bool:
    """Return whether a value is copied from `.env.example` or a manifest."""
    return "replace-me" in secret.lower()


def _check_strength(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if len(secret) < 16 or _is_placeholder(secret):
        raise ValueError(_WEAK_PROBLEM)
    return value


def check_secret(value: SecretStr) -> SecretStr:
    """Return a value unchanged if it can be a webhook secret.

    Raises:
        ValueError: Telegram would reject it, or it is too weak; the message says why,
            without the value.
    """
    # Bot API, setWebhook: secret_token.
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", value.get_secret_value()):
        raise ValueError("needs 16 to 256 characters from A-Z a-z 0-9 _ -")
    return _check_strength(value)


def _check_optional_token(value: SecretStr | None) -> SecretStr | None:
    return None if value is None else check_token(value)


def _check_optional_secret(value: SecretStr | None) -> SecretStr | None:
    return None if value is None else check_secret(value)


def _check_optional_strength(value: SecretStr | None) -> SecretStr | None:
    return None if value is None else _check_strength(value)


def _check_redis_url(value: SecretStr | None) -> SecretStr | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme in {"redis+sentinel", "rediss+sentinel"}:
            is_valid = _has_sentinels(parts.netloc, parts.path)
        elif parts.scheme == "unix":
            is_valid = bool(parts.path)
        else:
            # redis-py would use database 0 instead of one that is not a number.
            has_database = re.fullmatch(r"/?[0-9]*/?", parts.path)
            is_valid = bool(
                parts.scheme in {"redis", "rediss"}
                and parts.hostname
                and parts.port != 0
                and has_database
            )
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError(
            "is not an address of a Redis, like redis://host:6379/0"
            " or redis+sentinel://host:26379,host:26379/service"
        )
    if _is_placeholder(value.get_secret_value()):
        raise ValueError("has an example's password: set your own, also in Redis")
    return value


def _check_key_prefix(value: str) -> str:
    # Neither what separates the parts of a key, nor what Redis takes for a hash tag or,
    # in the permissions of a user, for a pattern.
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,32}", value):
        raise ValueError("needs 1 to 32 characters from A-Z a-z 0-9 . _ -")
    return value


def _has_sentinels(hosts: str, path: str) -> bool:
    """Return whether a URL has hosts of Sentinels and the name of a service."""
    hosts_and_ports = [
        urlsplit(f"//{host}") for host in hosts.rpartition("@")[2].split(",")
    ]
    named = re.fullmatch(r"/[^/]+(/\d*)?", path)
    return bool(named) and all(it.hostname and it.port != 0 for it in hosts_and_ports)


def _check_base_url(value: HttpUrl) -> HttpUrl:
    if value.query is not None or value.fragment is not None:
        raise ValueError("has a ? or a #: paths are appended to it")
    return value


_BaseUrl = Annotated[HttpUrl, AfterValidator(_check_base_url)]


class Settings(ContractSettings, CommonServiceSettings, DeliverySettings, DataSettings):
    """The settings of the gateway. All durations are in seconds."""

    bots_file: Path | None = None
    telegram_bot_token: Annotated[
        SecretStr | None, AfterValidator(_check_optional_token)
    ] = None
    updates: Literal["webhook", "poll"] = "webhook"
    telegram_webhook_secret: Annotated[
        SecretStr | None, AfterValidator(_check_optional_secret)
    ] = None
    telegram_webhook_secret_previous: Annotated[
        SecretStr | None, AfterValidator(_check_optional_secret)
    ] = None
    telegram_api_url: _BaseUrl = HttpUrl("https://api.telegram.org")
    webhook_url: HttpUrl | None = None
    files_url: _BaseUrl | None = None
    host: str = "127.0.0.1"
    port: _Port = 8000
    ops_host: str | None = None
    ops_port: _Port = 9000
    redis_url: Annotated[SecretStr | None, AfterValidator(_check_redis_url)] = None
    redis_host: Annotated[str | None, Field(pattern=r"^[^\s:/@]+$")] = None
    redis_port: _Port = 6379
    redis_key_prefix: Annotated[str, AfterValidator(_check_key_prefix)] = "tg"
    store_secret: Annotated[
        SecretStr | None, AfterValidator(_check_optional_strength)
    ] = None
    store_secret_previous: Annotated[
        SecretStr | None, AfterValidator(_check_optional_strength)
    ] = None
    dead_letter_retention: float = Field(default=30 * 86400, gt=0, le=MAX_SECONDS)
    session_ttl: float = Field(default=86400, gt=0, le=MAX_SECONDS)
    session_limit: int = Field(default=100_000, ge=1, le=100 * _MAX_COUNT)
    rate_limit_requests: int = Field(default=1, ge=1, le=1_000_000)
    rate_limit_window: float = Field(default=1, gt=0, le=MAX_SECONDS)
    allow_bots: bool = False
    mailbox_limit: int = Field(default=64, ge=1, le=_MAX_COUNT)
    max_active_actors: int = Field(default=5000, ge=1, le=_MAX_COUNT)
    workers: int = Field(default=1, ge=1, le=1024)
    services_tls: bool = False
    services_tls_ca_file: Path | None = None
    services_tls_certificate_file: Path | None = None
    services_tls_key_file: Path | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"
    store_patience: float = Field(default=2, ge=0.1, le=3600)
    reply_patience: float = Field(default=120, ge=0, le=3600)
    drain_timeout: float = Field(default=20, ge=0, le=86400)

    @property
    def webhook_secrets(self) -> list[str]:
        """The accepted webhook secrets, the current one first.

        Empty if updates are polled: then there is no webhook.
        """
        if self.updates == "poll":
            return []
        secrets = (self.telegram_webhook_secret, self.telegram_webhook_secret_previous)
        return [secret.get_secret_value() for secret in secrets if secret]

    @property
    def operations_host(self) -> str:
        """The address to listen on with OPS_PORT: HOST unless OPS_HOST is set."""
        return self.ops_host or self.host

    @property
    def delivery_address(self) -> str:
        """The address to listen on with DELIVERY_PORT.

        It is a loopback address if the callers need not identify themselves.
        """
        if self.delivery_host is not None:
            return self.delivery_host
        return self.host if self.knows_delivery_callers else "127.0.0.1"

    @property
    def sends_token_unencrypted(self) -> bool:
        """Whether the Bot API server is on another machine, and called without TLS."""
        return self.telegram_api_url.scheme == "http" and not is_loopback(
            self.telegram_api_url.host or ""
        )

    @property
    def api_url(self) -> str:
        """The address of the Bot API without a trailing slash."""
        return str(self.telegram_api_url).rstrip("/")

    @property
    def uses_local_server(self) -> bool:
        """Whether the Bot API server is another one than Telegram's."""
        return self.telegram_api_url.host != _PUBLIC_API_HOST

    @property
    def files_base_url(self) -> str:
        """The address at which services reach OPS_PORT, without a trailing slash.

        An empty string if FILES_URL is not set.
        """
        return str(self.files_url or "").rstrip("/")

    @property
    def store_url(self) -> str | None:
        """The address of the Redis with the mailboxes; None if there is none."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        if self.redis_host is not None:
            return f"redis://{self.redis_host}:{self.redis_port}"
        return None

    @property
    def store_secrets(self) -> list[str]:
        """The secrets for signatures in Redis: the first one signs, all are accepted.

        The bot token is always included; without a STORE_SECRET it is the first. With a
        BOTS_FILE there is always a STORE_SECRET, and the environment has no token.
        """
        secrets = (
            self.store_secret,
            self.telegram_bot_token,
            self.store_secret_previous,
        )
        values = [secret.get_secret_value() for secret in secrets if secret]
        return list(dict.fromkeys(values))

    # Field validators see the valid fields above them. A model validator would not run
    # at all if any field is invalid, and its problem would not be reported.

    @field_validator("telegram_bot_token")
    @classmethod
    def _check_bot_token(
        cls, value: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        bots_file = info.data.get("bots_file")
        if value is None and bots_file is None:
            raise ValueError("is not set")
        if value is not None and bots_file is not None:
            raise ValueError("is set, but so is BOTS_FILE")
        return value

    @field_validator("webhook_url")
    @classmethod
    def _check_webhook_url(
        cls, value: HttpUrl | None, info: ValidationInfo
    ) -> HttpUrl | None:
        # A server of one's own sends to any address.
        api = info.data.get("telegram_api_url")
        is_public = api is not None and api.host == _PUBLIC_API_HOST
        return check_public_webhook(value) if value and is_public else value

    @field_validator("telegram_webhook_secret")
    @classmethod
    def _check_webhook_secret(
        cls, value: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        has_file = info.data.get("bots_file") is not None
        if value is None and info.data.get("updates") == "webhook" and not has_file:
            raise ValueError("is not set")
        if value is not None and has_file:
            raise ValueError("is set, but so is BOTS_FILE")
        return value

    @field_validator("store_secret")
    @classmethod
    def _check_store_secret(
        cls, value: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        # Signatures must stay valid when the token of a bot is replaced.
        if value is None and info.data.get("bots_file") is not None:
            raise ValueError("is not set, but BOTS_FILE needs it")
        return value

    @field_validator("port", "ops_port")
    @classmethod
    def _check_ports(cls, value: int, info: ValidationInfo) -> int:
        for name in ("port", "delivery_port"):
            if name != info.field_name and value == info.data.get(name):
                raise ValueError(f"is the same as {name.upper()}")
        return value

    @field_validator("redis_host")
    @classmethod
    def _check_redis_host(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("redis_url") is not None:
            raise ValueError("is set, but so is REDIS_URL")
        return value

    @field_validator("workers")
    @classmethod
    def _check_workers(cls, value: int, info: ValidationInfo) -> int:
        names = ("redis_url", "redis_host", "data_dir")
        if value > 1 and all(info.data.get(name, "") is None for name in names):
            raise ValueError("more than one worker needs DATA_DIR or REDIS_URL")
        return value

    @field_validator("services_tls_ca_file", "services_tls_certificate_file")
    @classmethod
    def _check_tls_files(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value and info.data.get("services_tls") is False:
            raise ValueError("is set, but SERVICES_TLS is off")
        return value

    @field_validator("services_tls_key_file")
    @classmethod
    def _check_tls_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("services_tls_certificate_file", value)
        if bool(value) != bool(certificate):
            raise ValueError("goes together with SERVICES_TLS_CERTIFICATE_FILE")
        return value


def load_settings(overrides: dict[str, Any] | None = None) -> Settings:
    """Load the settings from the environment, ENV_FILE and SECRETS_DIR.

    Args:
        overrides: settings from the command line, by field name, which go before all
            others; None for none.

    Raises:
        ConfigurationError: some settings are invalid; it has all problems.
    """
    return load_settings_with_services((), overrides)[0]


def load_settings_with_services(
    names: Iterable[str], overrides: dict[str, Any] | None = None
) -> tuple[Settings, dict[str, ServiceSettings]]:
    """Load the settings of the gateway, and those of each service by name.

    Args:
        names: the services' names, such as "CONVERSATION" for CONVERSATION_TARGET.
        overrides: settings from the command line, by field name, which go before all
            others; None for none.

    Raises:
        ConfigurationError: some settings are invalid; it has all problems.
    """
    env_file = find_env_file()
    secrets_dir = _find_secrets_dir()
    problems: list[str] = []
    settings: Settings | None = None
    try:
        settings = Settings(
            _env_file=env_file, _secrets_dir=secrets_dir, **(overrides or {})
        )
    except ValidationError as error:
        problems += _format_problems(error)
    services = _load_services(names, env_file, problems)
    if problems or settings is None:
        raise ConfigurationError(problems)
    return settings, services


def load_services(names: Iterable[str]) -> dict[str, ServiceSettings]:
    """Load the settings of services by name, without those of the gateway.

    Args:
        names: the services' names, such as "CONVERSATION" for CONVERSATION_TARGET.

    Raises:
        ConfigurationError: some settings are invalid; it has all problems.
    """
    problems: list[str] = []
    services = _load_services(names, find_env_file(), problems)
    if problems:
        raise ConfigurationError(problems)
    return services


def _load_services(
    names: Iterable[str], env_file: str | None, problems: list[str]
) -> dict[str, ServiceSettings]:
    services = {}
    defaults = load_service_defaults(env_file, problems)
    for name in names:
        try:
            own = defaults.for_service(name)
            services[name] = load_service_settings(name, env_file, own)
        except ValidationError as error:
            problems += _format_problems(error, prefix=f"{name}_")
    return services


def load_service_targets(names: Iterable[str]) -> dict[str, str]:
    """Load the gRPC addresses of services by name. Services without one are left out.

    Args:
        names: the services' names, such as "CONVERSATION" for CONVERSATION_TARGET.

    Raises:
        ConfigurationError: some settings of these services are invalid; it has all
            problems.
    """
    env_file = find_env_file()
    targets = {}
    problems: list[str] = []
    defaults = load_service_defaults(env_file, problems)
    for name in names:
        try:
            own = defaults.for_service(name)
            targets[name] = load_service_settings(name, env_file, own).target
        except ValidationError as error:
            missing = f"{name}_TARGET: is not set"
            found = _format_problems(error, prefix=f"{name}_")
            problems += [problem for problem in found if problem != missing]
    if problems:
        raise ConfigurationError(problems)
    return targets


def _find_secrets_dir() -> str | None:
    """Return the directory with a file for each secret, or None if there is none.

    Raises:
        ConfigurationError: the directory, or a file in it, cannot be read.
    """
    name = os.environ.get("SECRETS_DIR")
    if not name:
        return None
    known = {field.upper() for field in Settings.model_fields}
    try:
        for path in Path(name).iterdir():
            if path.name.upper() in known:
                path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError([f"SECRETS_DIR {name}: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"SECRETS_DIR {name}: a file is not UTF-8"]) from None
    return name


def _format_problems(error: ValidationError, prefix: str = "") -> list[str]:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        name = prefix + "_".join(str(part) for part in problem["loc"]).upper()
        meaning = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            meaning = "is not set"
        lines.append(f"{name}: {meaning}")
    return lines
