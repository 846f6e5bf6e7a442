"""Finds out which service calls an rpc, by its token or its certificate.

Concurrency: one background task looks for changes of DELIVERY_CALLERS_FILE.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from gateway.config.delivery_callers import Caller, Callers, hash_token
from gateway.config.file_fingerprints import read_fingerprints
from gateway.delivery.failures import RpcFailure
from gateway.domain.errors import ConfigurationError

logger = logging.getLogger(__name__)

RELOAD_SECONDS = 1.0
"""The interval at which the callers' file and the files of tokens are looked at."""

_LOCAL_CALLER = Caller(name="local")
"""Everybody who can connect, where callers need not identify themselves."""

_MAX_NAME_LENGTH = 128

Context = grpc.aio.ServicerContext[Any, Any]


class AnonymousAccess:
    """Accepts every caller, for a server that only this machine can reach."""

    def authenticate(self, context: Context) -> Caller:
        """Return the same caller, named "local", for every rpc."""
        return _LOCAL_CALLER


class CertificateAccess:
    """Accepts every caller whose certificate the client authority has signed.

    gRPC checks the signature; this only reads the name in the certificate.
    """

    def authenticate(self, context: Context) -> Caller:
        """Return the caller of an rpc, named by its certificate.

        Raises:
            RpcFailure: the certificate has no printable ASCII name of at most 128
                characters.
        """
        for name in _read_certificate_names(context):
            if len(name) <= _MAX_NAME_LENGTH and name.isascii() and name.isprintable():
                return Caller(name=name)
        raise RpcFailure(
            grpc.StatusCode.UNAUTHENTICATED, "the certificate has no usable name"
        )


class ListedAccess:
    """Accepts the callers that DELIVERY_CALLERS_FILE lists.

    Args:
        load: loads the file; called now and whenever it has changed.

    Raises:
        ConfigurationError: the file is invalid.
    """

    def __init__(self, load: Callable[[], Callers]) -> None:
        self._load = load
        self._callers = load()
        self._fingerprints = read_fingerprints(self._callers.files)
        self._problems: Sequence[str] = ()
        """The problems of a file that was refused; none if it was taken up."""

    def authenticate(self, context: Context) -> Caller:
        """Return the caller that the file lists with an rpc's certificate or token.

        Raises:
            RpcFailure: neither its certificate nor its token is in the file.
        """
        if self._callers.by_certificate:
            for name in _read_certificate_names(context):
                caller = self._callers.by_certificate.get(name)
                if caller is not None:
                    return caller
        token = _read_token(context)
        caller = self._callers.by_token.get(hash_token(token)) if token else None
        if caller is None:
            problem = "the token is unknown" if token else "there is no bearer token"
            raise RpcFailure(grpc.StatusCode.UNAUTHENTICATED, problem)
        return caller

    async def watch(self) -> None:
        """Load the file again whenever it, or a token's file, has changed.

        It looks every RELOAD_SECONDS and ends only by being cancelled.
        """
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            self.reload_if_changed()

    def reload_if_changed(self) -> None:
        """Load the file again if it, or a token's file, has changed.

        If the new contents are invalid, the problems are logged and the callers stay as
        they were. It is then loaded at each look, because the missing file of a token
        may appear later.
        """
        fingerprints = read_fingerprints(self._callers.files)
        if fingerprints == self._fingerprints and not self._problems:
            return
        self._fingerprints = fingerprints
        try:
            self._callers = self._load()
        except ConfigurationError as error:
            if error.problems != self._problems:
                logger.error(  # noqa: TRY400 - the problems say all
                    "delivery_callers_rejected",
                    extra={"problems": list(error.problems)},
                )
            self._problems = error.problems
        else:
            self._problems = ()
            self._fingerprints = read_fingerprints(self._callers.files)
            logger.info("delivery_callers_loaded")


Access = AnonymousAccess | CertificateAccess | ListedAccess


def _read_token(context: Context) -> str | None:
    """Return the bearer token of an rpc, or None if it has none."""
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            return token.strip() if scheme.lower() == "bearer" else None
    return None


def _read_certificate_names(context: Context) -> list[str]:
    """Return the names in the caller's certificate: the alternative ones first."""
    properties = context.auth_context()
    return [
        name.decode(errors="replace")
        for key in ("x509_subject_alternative_name", "x509_common_name")
        for name in properties.get(key, ())
    ]
