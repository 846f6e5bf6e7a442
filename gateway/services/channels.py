"""gRPC channels to the services: one per target, for the lifetime of the process.

gRPC connects on the first call, distributes the calls among all addresses of the
target, skips those that report that they are not serving, reconnects, and repeats a
failed call once.
"""

import asyncio
import json
import ssl
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import grpc
from grpc import aio
from msgspec import Struct

from gateway.domain.errors import ConfigurationError
from gateway.domain.upload_size import MAX_BYTES_WITH_FILES

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],  # every method; the deadline goes with each call
            "retryPolicy": {
                "maxAttempts": 2,
                "initialBackoff": "0.1s",
                "maxBackoff": "0.1s",
                "backoffMultiplier": 1,
                # A busy grpcio server ends some calls with CANCELLED although nobody
                # cancelled them. gRPC repeats neither a call that the client cancelled
                # nor one whose response has started.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    # A service without the standard health rpc counts as healthy.
    "healthCheckConfig": {"serviceName": ""},
    # Many servers allow 100 concurrent calls per connection. Without more connections,
    # further calls wait behind slow ones (gRFC A105).
    "connectionScaling": {"maxConnectionsPerSubchannel": 10},
}

_CHANNEL_OPTIONS = (
    ("grpc.enable_retries", 1),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # Reconnect to a restarted service within about a second; gRPC's default backoff
    # grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Despite its name, this is the timeout of a connection attempt, 20 s by default.
    # Two seconds allow a lost SYN to be repeated after one, and suffice for TLS.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    # Find new addresses of a service that moved; 30 s by default.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Servers close connections with pings more often than every 5 minutes. Half a
    # minute more, so that network jitter does not make a ping too early.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # Also the TCP user timeout: a host that disappeared is abandoned after 5 s without
    # an acknowledgement. With the default of 20 s, every second call fails until then.
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", MAX_BYTES_WITH_FILES),
    # Services are internal; a proxy from the environment leads to the internet.
    ("grpc.enable_http_proxy", 0),
)


CLOSE_GRACE_SECONDS = 1.0
"""How long closing waits for calls. There should be none: the actors ended before."""


class TlsFiles(Struct, frozen=True, kw_only=True):
    """The paths of PEM files.

    Attributes:
        ca_file: the authorities that sign the services' certificates; None for
            gRPC's defaults.
        certificate_file: the gateway's certificate chain, for mutual TLS.
        key_file: the private key of that certificate.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class ServiceChannels:
    """The channels by service. They are open inside an `async with` block."""

    def __init__(
        self,
        targets: Mapping[str, str],
        tls: TlsFiles | None = None,
        interceptors: Sequence[aio.ClientInterceptor] = (),
        own_tls: Mapping[str, TlsFiles | None] | None = None,
    ) -> None:
        """Store the targets without opening channels.

        Args:
            targets: each service's target, by the service's name in settings: a gRPC
                name, such as "profile:50051" or "dns:///profile:50051".
            tls: the TLS files for all targets; None for no encryption.
            interceptors: wrap every call.
            own_tls: the same for services that differ from the others.

        Raises:
            ConfigurationError: a TLS file cannot be used; it has all problems.
        """
        self._targets = targets
        own_tls = own_tls or {}
        self._tls = {service: own_tls.get(service, tls) for service in targets}
        self._credentials = _load_all_credentials([tls, *self._tls.values()])
        self._interceptors = interceptors
        self._channels: dict[_Endpoint, aio.Channel] = {}

    async def __aenter__(self) -> Self:
        """Create the channels. They connect on their first call."""
        self._channels = {
            endpoint: self._open_channel(endpoint)
            for endpoint in set(map(self._get_endpoint, self._targets))
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the channels; cancel calls that still run after a grace period."""
        closing = (
            channel.close(CLOSE_GRACE_SECONDS) for channel in self._channels.values()
        )
        await asyncio.gather(*closing)

    @property
    def targets(self) -> Mapping[str, str]:
        """Each service's target."""
        return self._targets

    def get_credentials(self, service: str) -> grpc.ChannelCredentials | None:
        """Return the TLS credentials of a service's channel; None without TLS."""
        return self._credentials[self._tls[service]]

    def __getitem__(self, service: str) -> aio.Channel:
        """Return the channel of a service."""
        return self._channels[self._get_endpoint(service)]

    def _get_endpoint(self, service: str) -> "_Endpoint":
        return _Endpoint(self._targets[service], self._tls[service])

    def _open_channel(self, endpoint: "_Endpoint") -> aio.Channel:
        credentials = self._credentials[endpoint.tls]
        if credentials:
            return aio.secure_channel(
                endpoint.target,
                credentials,
                _CHANNEL_OPTIONS,
                interceptors=self._interceptors,
            )
        return aio.insecure_channel(
            endpoint.target, _CHANNEL_OPTIONS, interceptors=self._interceptors
        )


class _Endpoint(Struct, frozen=True):
    """What services share a channel for.

    Attributes:
        target: the target.
        tls: the TLS files; None for no encryption.
    """

    target: str
    tls: TlsFiles | None


def _load_all_credentials(
    files: Iterable[TlsFiles | None],
) -> dict[TlsFiles | None, grpc.ChannelCredentials | None]:
    """Load the credentials of all TLS files.

    Raises:
        ConfigurationError: a file cannot be used; it has all problems.
    """
    credentials: dict[TlsFiles | None, grpc.ChannelCredentials | None] = {None: None}
    problems: list[str] = []
    for tls in dict.fromkeys(files):
        if tls is not None:
            try:
                credentials[tls] = _load_credentials(tls)
            except ConfigurationError as error:
                problems += error.problems
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return credentials


def _load_credentials(tls: TlsFiles) -> grpc.ChannelCredentials:
    """Validate and read the files.

    gRPC accepts invalid files and fails every call later, so Python's `ssl` module
    validates them first.
    """
    problems = []
    test_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if tls.ca_file:
            test_context.load_verify_locations(tls.ca_file)
    except OSError as error:
        problems.append(
            f"{tls.ca_file} is not a file of TLS authorities: {_get_reason(error)}"
        )
    try:
        if tls.certificate_file and tls.key_file:
            # The empty password keeps OpenSSL from asking for one on the terminal.
            test_context.load_cert_chain(
                tls.certificate_file, tls.key_file, password=""
            )
        elif tls.certificate_file or tls.key_file:
            problems.append("a TLS certificate and its key go together: one is missing")
    except OSError as error:
        problems.append(
            f"{tls.certificate_file} and {tls.key_file} are not a TLS certificate and"
            f" its key: {_get_reason(error)}"
        )
    if problems:
        raise ConfigurationError(problems)
    return grpc.ssl_channel_credentials(
        root_certificates=_read_file(tls.ca_file),
        private_key=_read_file(tls.key_file),
        certificate_chain=_read_file(tls.certificate_file),
    )


def _get_reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _read_file(path: Path | None) -> bytes | None:
    return path.read_bytes() if path else None
