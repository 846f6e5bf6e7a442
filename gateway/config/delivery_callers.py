"""The file with the callers of the Delivery service: who may ask for deliveries.

Tokens are never in the file: it has their SHA-256 digests, or names environment
variables or files that contain them. A problem never contains a value of the file.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.domain.errors import ConfigurationError

METHODS = (
    *("Send", "Amend", "Call", "Get", "Cancel"),
    *("CreateBroadcast", "AddRecipients", "StartBroadcast", "PauseBroadcast"),
    *("ResumeBroadcast", "CancelBroadcast", "GetBroadcast", "ListBroadcastFailures"),
)

_MIN_TOKEN_LENGTH = 16


class Quota(Struct, frozen=True):
    """How many deliveries a caller may ask for.

    Attributes:
        per_second: the number per second in the long run.
        burst: the number at once, after a time without any.
    """

    per_second: float
    burst: float


class Caller(Struct, frozen=True, kw_only=True):
    """A service that may ask for deliveries.

    Attributes:
        name: the name of the service. Callers with different names may use the same
            idempotency key for different requests.
        bots: the names and ids of the bots that the service may use; None for all.
        methods: the rpcs that the service may call.
        quota: how many deliveries the service may ask for; None for any number.
    """

    name: str
    bots: frozenset[str] | None = None
    methods: frozenset[str] = frozenset(METHODS)
    quota: Quota | None = None

    def may_use_bot(self, names: Sequence[str]) -> bool:
        """Return whether the service may use a bot.

        Args:
            names: the name and the id of the bot, or only its id.
        """
        return self.bots is None or not self.bots.isdisjoint(names)


class Callers(Struct, frozen=True, kw_only=True):
    """The callers of a file, by what identifies them.

    Attributes:
        by_token: the callers by the SHA-256 digests of their tokens.
        by_certificate: the callers by the names in their certificates.
        files: the files that were read. If one of them changes, the callers have to be
            loaded again.
    """

    by_token: Mapping[bytes, Caller]
    by_certificate: Mapping[str, Caller]
    files: Sequence[Path]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Token(_Strict):
    """One of a digest, an environment variable and a file."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _check_one(self) -> "_Token":
        if [self.sha256, self.env, self.file].count(None) != 2:
            raise ValueError("needs exactly one of sha256, env and file")
        return self


class _Quota(_Strict):
    per_second: Annotated[float, Field(gt=0, le=1_000_000)]
    burst: Annotated[float, Field(ge=1, le=1_000_000)] | None = None


class _Caller(_Strict):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    tokens: list[_Token] = []
    certificates: list[Annotated[str, Field(min_length=1, max_length=256)]] = []
    bots: Annotated[list[str | int], Field(min_length=1)] | None = None
    methods: Annotated[list[str], Field(min_length=1)] | None = None
    quota: _Quota | None = None

    @model_validator(mode="after")
    def _check(self) -> "_Caller":
        if not self.tokens and not self.certificates:
            raise ValueError("has neither tokens nor certificates")
        if self.methods and not set(self.methods) <= set(METHODS):
            raise ValueError(f"methods are some of {', '.join(METHODS)}")
        return self


class _File(_Strict):
    callers: Annotated[list[_Caller], Field(min_length=1)]


def load_callers(path: Path, *, accepts_certificates: bool) -> Callers:
    """Load the callers from a YAML file.

    Args:
        path: the file.
        accepts_certificates: whether the server asks callers for certificates. If not,
            a caller with a certificate is a problem.

    Raises:
        ConfigurationError: the file is invalid; it has all problems.
    """
    try:
        parsed = _File.model_validate(_read_document(path))
    except ValidationError as error:
        raise ConfigurationError(
            [f"DELIVERY_CALLERS_FILE: {line}" for line in _format_problems(error)]
        ) from None
    loader = _Loader(accepts_certificates)
    for entry in parsed.callers:
        loader.add(entry)
    if loader.problems:
        raise ConfigurationError(
            [f"DELIVERY_CALLERS_FILE: {problem}" for problem in loader.problems]
        )
    return Callers(
        by_token=loader.by_token,
        by_certificate=loader.by_certificate,
        files=[path, *loader.files],
    )


class _Loader:
    """Collects the callers of a file, and the problems."""

    def __init__(self, accepts_certificates: bool) -> None:
        self.by_token: dict[bytes, Caller] = {}
        self.by_certificate: dict[str, Caller] = {}
        self.files: list[Path] = []
        self.problems: list[str] = []
        self._accepts_certificates = accepts_certificates
        self._names: set[str] = set()

    def add(self, entry: _Caller) -> None:
        """Add a caller of the file."""
        if entry.name in self._names:
            self.problems.append(f"{entry.name}: is there twice")
        self._names.add(entry.name)
        caller = _build_caller(entry)
        for number, token in enumerate(entry.tokens, 1):
            try:
                digest = self._find_digest(token)
            except ValueError as error:
                self.problems.append(f"{entry.name}: token {number} {error}")
                continue
            if digest in self.by_token:
                self.problems.append(f"{entry.name}: token {number} is there twice")
            self.by_token[digest] = caller
        if entry.certificates and not self._accepts_certificates:
            self.problems.append(
                f"{entry.name}: has certificates, but DELIVERY_TLS_CLIENT_CA_FILE is"
                " not set"
            )
        for name in entry.certificates:
            if name in self.by_certificate:
                self.problems.append(f"{entry.name}: a certificate is there twice")
            self.by_certificate[name] = caller

    def _find_digest(self, token: _Token) -> bytes:
        """Return the digest of a token.

        Raises:
            ValueError: there is no such token, or it is too weak.
        """
        if token.sha256 is not None:
            return bytes.fromhex(token.sha256)
        if token.file is not None:
            self.files.append(token.file)
            value = _read_text(token.file).strip()
        else:
            value = os.environ.get(token.env or "", "")
        if not value:
            raise ValueError("is empty or not set")
        if len(value) < _MIN_TOKEN_LENGTH or not re.fullmatch(r"[!-~]+", value):
            raise ValueError(
                f"needs {_MIN_TOKEN_LENGTH} or more printable characters, for example"
                " from `openssl rand -hex 24`"
            )
        return hash_token(value)


def hash_token(token: str) -> bytes:
    """Return the SHA-256 digest of a token, the key of its caller in `by_token`."""
    return sha256(token.encode()).digest()


def _build_caller(entry: _Caller) -> Caller:
    quota = None
    if entry.quota is not None:
        per_second = entry.quota.per_second
        quota = Quota(per_second, entry.quota.burst or max(per_second, 1.0))
    return Caller(
        name=entry.name,
        bots=None if entry.bots is None else frozenset(map(str, entry.bots)),
        methods=frozenset(entry.methods or METHODS),
        quota=quota,
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


def _read_document(path: Path) -> Any:  # noqa: ANN401 - pydantic checks it
    # Only gateways with this file need YAML.
    from gateway.config.yaml_file import read_yaml  # noqa: PLC0415

    problems: list[str] = []
    document = read_yaml(path, problems)
    if problems:
        raise ConfigurationError([f"DELIVERY_CALLERS_FILE: {it}" for it in problems])
    return document


def _format_problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_input=False, include_url=False):
        parts = problem["loc"]
        meaning = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            parts = parts[:-1]  # where a name belongs, there may be a token
            meaning = "has an unknown field"
        place = ".".join(
            f"{part + 1}" if isinstance(part, int) else part for part in parts
        )
        yield f"{place or 'the file'}: {meaning}"
