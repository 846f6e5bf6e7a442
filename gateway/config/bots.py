"""The bots of a gateway: one from the environment, or several from BOTS_FILE.

The file names tokens and secrets by reference: files, or environment variables. It is
read whole, and all its problems are reported together. A report never contains a token
or a secret.
"""

import os
import re
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from gateway.config.file_fingerprints import FileFingerprint, read_fingerprint
from gateway.config.settings import MAX_SECONDS, Settings, check_secret, check_token
from gateway.domain.errors import ConfigurationError

NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,31}"
"""The regular expression for a bot's name, which is part of URLs, logs and metrics."""

PREVIOUS_SUFFIX = ".previous"
"""The suffix of the file with the previous webhook secret, beside the file with the
present one."""

UpdateSource = Literal["webhook", "poll"]


class SecretFile(Struct, frozen=True):
    """A file with a previous webhook secret.

    Attributes:
        path: the path of the file.
        written_at: when the file was written, in seconds since the epoch.
    """

    path: Path
    written_at: float


class BotConfig(Struct, frozen=True, kw_only=True):
    """A bot, with everything that its entry in the file refers to.

    Attributes:
        name: the name in BOTS_FILE; an empty string for the bot of the environment.
        token: the token.
        webhook_secrets: the accepted webhook secrets, the current one first; empty if
            updates are polled.
        updates: whether Telegram sends the updates to the webhook, or they are polled.
        signing_keys: the secrets that buttons and URLs of files are signed with. The
            first one signs, all are accepted.
        rate_limit_requests: how many updates of one user are processed per window.
        rate_limit_window: the length of the window in seconds.
        services: the names of the services that the bot offers; None for all.
        routes: the names of the routes that the bot offers; None for all.
        is_paused: whether updates are only stored, and not processed.
        manages_bots_of: the Telegram user ids of people: a bot that one of them lets
            this bot manage is added to BOTS_FILE.
        previous_file: the file with the previous webhook secret; None if there is no
            previous secret, or it is in a variable.
    """

    name: str
    token: str
    webhook_secrets: tuple[str, ...]
    updates: UpdateSource
    signing_keys: tuple[str, ...]
    rate_limit_requests: int
    rate_limit_window: float
    services: tuple[str, ...] | None = None
    routes: tuple[str, ...] | None = None
    is_paused: bool = False
    manages_bots_of: tuple[int, ...] = ()
    previous_file: SecretFile | None = None

    @property
    def id(self) -> int:
        """The bot's user id, which is the public part of the token."""
        return get_bot_id(self.token)

    def build_webhook_url(self, url: str) -> str:
        """Return the address to which Telegram sends the updates of this bot.

        Args:
            url: the setting WEBHOOK_URL, to which the name of the bot is appended.
        """
        return f"{url.rstrip('/')}/{self.name}" if self.name else url


def get_bot_id(token: str) -> int:
    """Return the user id of the bot with a valid token: the number before the colon."""
    return int(token.partition(":")[0])


class BotEntry(BaseModel):
    """The entry of a bot in BOTS_FILE, as it is written there.

    A token or secret is in a file (`_file`) or in an environment variable (`_env`).
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    token_file: str | None = None
    token_env: str | None = None
    webhook_secret_file: str | None = None
    webhook_secret_env: str | None = None
    webhook_secret_previous_env: str | None = None
    updates: UpdateSource = "webhook"
    rate_limit_requests: int | None = Field(default=None, ge=1, le=1_000_000)
    rate_limit_window: float | None = Field(default=None, gt=0, le=MAX_SECONDS)
    services: list[str] | None = None
    routes: list[str] | None = None
    paused: bool = False
    manages_bots_of: list[int] = []


class BotsFile(Struct, frozen=True):
    """The contents of BOTS_FILE and of the files that it refers to.

    Attributes:
        bots: the bots by name, in the order of BOTS_FILE.
        paths: all files that were read, BOTS_FILE first.
        fingerprints: the fingerprints of these files, each from before the file was
            read; None for one that was missing.
    """

    bots: Mapping[str, BotConfig]
    paths: tuple[Path, ...]
    fingerprints: tuple[FileFingerprint | None, ...]


def load_bots(
    settings: Settings,
    services: Collection[str] | None = None,
    routes: Collection[str] | None = None,
) -> Mapping[str, BotConfig]:
    """Return the bots by name: those of BOTS_FILE, or the one of the environment.

    The arguments are those of `load_bots_file`.

    Raises:
        ConfigurationError: the file is invalid; it has all problems.
    """
    if settings.bots_file is None:
        return {"": build_environment_bot(settings)}
    return load_bots_file(settings, services, routes).bots


def build_environment_bot(settings: Settings) -> BotConfig:
    """Return the bot that the environment describes.

    Raises:
        ConfigurationError: the environment has no token, because it has a BOTS_FILE.
    """
    if settings.telegram_bot_token is None:
        raise ConfigurationError(["TELEGRAM_BOT_TOKEN: is not set"])
    token = settings.telegram_bot_token.get_secret_value()
    return BotConfig(
        name="",
        token=token,
        webhook_secrets=tuple(settings.webhook_secrets),
        updates=settings.updates,
        signing_keys=(token,),
        rate_limit_requests=settings.rate_limit_requests,
        rate_limit_window=settings.rate_limit_window,
    )


def load_bots_file(
    settings: Settings,
    services: Collection[str] | None = None,
    routes: Collection[str] | None = None,
) -> BotsFile:
    """Read BOTS_FILE and the files that it refers to.

    Args:
        settings: the gateway's settings.
        services: the names of the services that exist; None to accept any.
        routes: the names of the routes that exist; None to accept any.

    Raises:
        ConfigurationError: something is invalid; it has all problems.
    """
    path = settings.bots_file
    if path is None:
        raise ConfigurationError(["BOTS_FILE: is not set"])
    problems: list[str] = []
    reader = _ReferenceReader(path)
    entries = read_entries(path, problems)
    bots: dict[str, BotConfig] = {}
    for name, entry in entries.items():
        bot, found = _build_bot(name, entry, settings, reader)
        found += _find_unknown(entry.services, services, "services")
        found += _find_unknown(entry.routes, routes, "routes")
        if bot is not None:
            bots[name] = bot
        problems += [f"{path.name}: {name}: {problem}" for problem in found]
    problems += [f"{path.name}: {it}" for it in _find_shared_tokens(bots.values())]
    if problems:
        raise ConfigurationError(problems)
    return BotsFile(bots, tuple(reader.paths), tuple(reader.fingerprints))


def read_entries(path: Path, problems: list[str]) -> dict[str, BotEntry]:
    """Return the valid entries of BOTS_FILE by name.

    Args:
        path: BOTS_FILE.
        problems: receives a line for each problem, also if the file cannot be read.
    """
    # Only BOTS_FILE needs YAML, which takes as long to import as all settings.
    from gateway.config.yaml_file import read_yaml  # noqa: PLC0415

    count = len(problems)
    document = read_yaml(path, problems)
    if len(problems) > count:
        return {}
    if not isinstance(document, dict) or set(document) != {"bots"}:
        problems.append(f"{path.name}: has to contain `bots:` and nothing beside it")
        return {}
    named = document["bots"]
    if not isinstance(named, dict) or not named:
        problems.append(f"{path.name}: bots: has to contain one bot or more, by name")
        return {}
    entries = {}
    for name, fields in named.items():
        if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
            problems.append(
                f"{path.name}: {str(name)[:40]!r} is no name: it needs 1 to 32"
                " characters from a-z 0-9 _ -, and begins with a letter or a digit"
            )
            continue
        try:
            entries[name] = BotEntry.model_validate(fields)
        except ValidationError as error:
            problems += [f"{path.name}: {name}: {it}" for it in _format_problems(error)]
    return entries


class _ReferenceReader:
    """Reads the tokens and secrets that entries refer to.

    Attributes:
        paths: the files that were read.
        fingerprints: their fingerprints, each from before the file was read.
    """

    def __init__(self, bots_file: Path) -> None:
        self._directory = bots_file.parent
        self.paths = [bots_file]
        self.fingerprints = [read_fingerprint(bots_file)]

    def read(
        self, kind: str, file: str | None, variable: str | None, problems: list[str]
    ) -> SecretStr | None:
        """Return the value that a file or a variable has, or None after a problem."""
        if (file is None) == (variable is None):
            problems.append(f"needs either {kind}_file or {kind}_env")
            return None
        if variable is not None:
            value = os.environ.get(variable)
            if not value:
                problems.append(f"{kind}_env: {variable} is not set")
            return SecretStr(value) if value else None
        assert file is not None  # noqa: S101 - for mypy
        return self._read_file(kind, self.resolve(file), problems)

    def read_previous(
        self, file: str | None, variable: str | None, problems: list[str]
    ) -> SecretStr | None:
        """Return the previous webhook secret, or None if there is none."""
        kind = "webhook_secret_previous"
        if variable is not None:
            return self.read(kind, None, variable, problems)
        if file is None:
            return None
        path = self.resolve(file + PREVIOUS_SUFFIX)
        # A gateway may delete it at any moment.
        return self._read_file(kind, path, problems, is_optional=True)

    def resolve(self, file: str) -> Path:
        """Return the path of a file. A relative one starts in BOTS_FILE's directory."""
        return self._directory / file

    def find_previous_file(self, file: str | None) -> SecretFile | None:
        """Return the file with the previous webhook secret, or None."""
        if file is None:
            return None
        path = self.resolve(file + PREVIOUS_SUFFIX)
        try:
            return SecretFile(path, path.stat().st_mtime)
        except OSError:
            return None

    def _read_file(
        self, kind: str, path: Path, problems: list[str], *, is_optional: bool = False
    ) -> SecretStr | None:
        self.paths.append(path)
        self.fingerprints.append(read_fingerprint(path))
        try:
            return SecretStr(path.read_text(encoding="utf-8").strip())
        except OSError as error:
            if is_optional and isinstance(error, FileNotFoundError):
                return None
            problems.append(f"{kind}_file {path}: {error.strerror}")
        except UnicodeDecodeError:
            problems.append(f"{kind}_file {path}: is not UTF-8")
        return None


def _build_bot(
    name: str, entry: BotEntry, settings: Settings, reader: _ReferenceReader
) -> tuple[BotConfig | None, list[str]]:
    """Return the bot of an entry, or None, and the problems of the entry."""
    problems: list[str] = []
    token = reader.read("token", entry.token_file, entry.token_env, problems)
    token = _check("token", token, problems)
    accepted = _read_webhook_secrets(entry, reader, problems)
    if problems or token is None:
        return None, problems
    value = token.get_secret_value()
    return (
        BotConfig(
            name=name,
            token=value,
            webhook_secrets=accepted,
            updates=entry.updates,
            signing_keys=_list_signing_keys(settings, value),
            rate_limit_requests=entry.rate_limit_requests
            or settings.rate_limit_requests,
            rate_limit_window=entry.rate_limit_window or settings.rate_limit_window,
            services=None if entry.services is None else tuple(entry.services),
            routes=None if entry.routes is None else tuple(entry.routes),
            is_paused=entry.paused,
            manages_bots_of=tuple(entry.manages_bots_of),
            previous_file=reader.find_previous_file(entry.webhook_secret_file)
            if accepted[1:] and entry.webhook_secret_previous_env is None
            else None,
        ),
        [],
    )


def _read_webhook_secrets(
    entry: BotEntry, reader: _ReferenceReader, problems: list[str]
) -> tuple[str, ...]:
    """Return the accepted webhook secrets, the current one first."""
    kind = "webhook_secret"
    file, variable = entry.webhook_secret_file, entry.webhook_secret_env
    if entry.updates == "poll" and file is None and variable is None:
        return ()
    found = [
        reader.read(kind, file, variable, problems),
        reader.read_previous(file, entry.webhook_secret_previous_env, problems),
    ]
    checked = [_check(kind, secret, problems) for secret in found]
    if entry.updates == "poll":
        return ()
    return tuple(secret.get_secret_value() for secret in checked if secret)


def _check(kind: str, value: SecretStr | None, problems: list[str]) -> SecretStr | None:
    """Return a token or a secret if it is valid; otherwise None after a problem."""
    if value is None:
        return None
    try:
        return check_token(value) if kind == "token" else check_secret(value)
    except ValueError as error:
        problems.append(f"{kind} {error}")
        return None


def _list_signing_keys(settings: Settings, token: str) -> tuple[str, ...]:
    """Return the keys for signatures of a bot, which survive another token.

    The token is accepted too: it signed while the bot was the one of the environment.
    """
    stored = [settings.store_secret, settings.store_secret_previous]
    keys = [f"{it.get_secret_value()}/{get_bot_id(token)}" for it in stored if it]
    return (*keys, token)


def _find_unknown(
    names: list[str] | None, known: Collection[str] | None, field: str
) -> list[str]:
    if names is None or known is None:
        return []
    return [f"{field}: there is no {it[:64]!r}" for it in names if it not in known]


def _find_shared_tokens(bots: Collection[BotConfig]) -> list[str]:
    """Report names that belong to the same bot at Telegram."""
    first: dict[int, str] = {}
    found = []
    for bot in bots:
        other = first.setdefault(bot.id, bot.name)
        if other != bot.name:
            found.append(f"{bot.name}: is the same bot as {other}")
    return found


def _format_problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in problem["loc"])
        lines.append(f"{where}: {problem['msg']}" if where else problem["msg"])
    return lines


def generate_webhook_secret() -> str:
    """Return a new random webhook secret."""
    return secrets.token_urlsafe(32)
