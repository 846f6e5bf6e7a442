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

_LONGEST_CALL_SECONDS = 3600.0
"""The largest deadline that the settings of a service allow."""


class TlsFiles(Struct, frozen=True, kw_only=True):
    """The paths of the PEM files for TLS connections to services.

    Attributes:
        ca_file: the authorities that sign the services' certificates; None for gRPC's
            default authorities.
        certificate_file: the gateway's own certificate chain, for mutual TLS; None if
            the gateway shows no certificate.
        key_file: the private key of that certificate; None without a certificate.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class ServiceChannels:
    """The gRPC channels, by the name of the service. They are open inside `async with`.

    Services with the same target and the same TLS files share a channel.
    """

    def __init__(
        self,
        targets: Mapping[str, str],
        tls: TlsFiles | None = None,
        interceptors: Sequence[aio.ClientInterceptor] = (),
        own_tls: Mapping[str, TlsFiles | None] | None = None,
    ) -> None:
        """Load the TLS files; the channels are opened by `async with`.

        Args:
            targets: each service's target, by the service's name in settings: a gRPC
                name, such as "profile:50051" or "dns:///profile:50051".
            tls: the TLS files of all services without an entry in `own_tls`; None for
                no encryption.
            interceptors: gRPC interceptors that wrap every call.
            own_tls: the TLS files of single services, by name; a value of None turns
                off encryption for that service.

        Raises:
            ConfigurationError: a TLS file cannot be used; it has all problems.
        """
        self._targets = targets
        self._common_tls = tls
        self._tls = self._choose_tls(targets, own_tls or {})
        self._credentials = _load_all_credentials([tls, *self._tls.values()])
        self._interceptors = interceptors
        self._channels: dict[_Endpoint, aio.Channel] = {}
        self._unused: list[tuple[float, aio.Channel]] = []
        """Channels that no service has any more, and when that was noticed."""

    async def __aenter__(self) -> Self:
        """Create the channels."""
        self._open_channels()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the channels; cancel calls that still run after a grace period."""
        channels = [*self._channels.values(), *(it for _, it in self._unused)]
        await asyncio.gather(*(it.close(CLOSE_GRACE_SECONDS) for it in channels))

    def replace(
        self, targets: Mapping[str, str], own_tls: Mapping[str, TlsFiles | None]
    ) -> None:
        """Replace the services and their targets, while calls may be running.

        Opens the channels that are missing. A channel that no service needs any more
        stays open for its running calls, until `close_unused` closes it.

        Args:
            targets: as in the constructor.
            own_tls: as in the constructor.

        Raises:
            ConfigurationError: a TLS file cannot be used; nothing was changed.
        """
        self.load_credentials(own_tls)
        self._targets, self._tls = targets, self._choose_tls(targets, own_tls)
        self._open_channels()
        used = set(map(self._get_endpoint, targets))
        now = asyncio.get_running_loop().time()
        for endpoint in self._channels.keys() - used:
            self._unused.append((now, self._channels.pop(endpoint)))

    def load_credentials(self, own_tls: Mapping[str, TlsFiles | None]) -> None:
        """Load and keep the TLS files of services, except for those already loaded.

        Args:
            own_tls: as in the constructor.

        Raises:
            ConfigurationError: a TLS file cannot be used; nothing was changed.
        """
        missing = set(own_tls.values()) - self._credentials.keys()
        self._credentials |= _load_all_credentials(missing)

    async def close_unused(self) -> None:
        """Close the channels that `replace` took out of use more than an hour ago.

        No call takes longer than an hour, so none can be running on these channels.
        """
        closed_before = asyncio.get_running_loop().time() - _LONGEST_CALL_SECONDS
        due = [channel for since, channel in self._unused if since < closed_before]
        self._unused = [it for it in self._unused if it[1] not in due]
        await asyncio.gather(*(channel.close() for channel in due))

    @property
    def targets(self) -> Mapping[str, str]:
        """The gRPC target of each service, by the service's name in settings."""
        return self._targets

    def get_credentials(self, service: str) -> grpc.ChannelCredentials | None:
        """Return a service's TLS credentials; None if its channel is not encrypted."""
        return self._credentials[self._tls[service]]

    def __getitem__(self, service: str) -> aio.Channel:
        """Return the channel of a service."""
        return self._channels[self._get_endpoint(service)]

    def _get_endpoint(self, service: str) -> "_Endpoint":
        return _Endpoint(self._targets[service], self._tls[service])

    def _choose_tls(
        self, targets: Mapping[str, str], own_tls: Mapping[str, TlsFiles | None]
    ) -> dict[str, TlsFiles | None]:
        return {service: own_tls.get(service, self._common_tls) for service in targets}

    def _open_channels(self) -> None:
        """Open the channels that are missing. They connect on their first call."""
        for endpoint in map(self._get_endpoint, self._targets):
            if endpoint not in self._channels:
                self._channels[endpoint] = self._open_channel(endpoint)

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
