"""Channels to the services: one per target, for the life of the process.

gRPC's own machinery does the work: it connects when the first call needs it, spreads
the calls over all addresses of the target, leaves out those that report that they are
not serving, connects again on its own, and repeats a call once.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import grpc
from grpc import aio
from msgspec import Struct

from gateway.domain.errors import ConfigurationError
from gateway.services.reply_size import MAX_REPLY_BYTES

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
                # A busy server of grpcio ends some calls with CANCELLED though nobody
                # asked for it. gRPC repeats neither a call that our side cancelled
                # nor one whose answer has begun.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    # A service without the standard health rpc counts as healthy.
    "healthCheckConfig": {"serviceName": ""},
    # Many servers allow 100 calls at once on a connection. Without a further one the
    # calls beyond wait behind slow ones (gRFC A105).
    "connectionScaling": {"maxConnectionsPerSubchannel": 10},
}

_CHANNEL_OPTIONS = (
    ("grpc.enable_retries", 1),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # After a restart a service is found again within about a second; gRPC's own
    # backoff goes up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # In spite of its name the limit of one attempt to connect, 20 s by default. Two
    # seconds send a lost SYN once a second, and leave TLS the time it needs.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    # New addresses of a service that moved: 30 s by default.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Servers close connections with pings more often than every 5 minutes; half a
    # minute more, so that no jitter of the network counts as too early.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # Also the TCP user timeout: a machine that vanished is given up after 5 s without
    # an acknowledgement, where the default of 20 s fails every second call meanwhile.
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
    # Services are inside: a proxy in the environment leads to the outside.
    ("grpc.enable_http_proxy", 0),
)


CLOSE_GRACE_SECONDS = 1.0
"""How long closing waits for calls. None should be left: the actors ended before."""


class TlsFiles(Struct, frozen=True, kw_only=True):
    """PEM files.

    Attributes:
        ca_file: the authorities that sign the services' certificates. None: gRPC's own.
        certificate_file: the gateway's certificate chain, for mutual TLS.
        key_file: the private key of that certificate.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class ServiceChannels:
    """The channels, by service. Open inside of an `async with` block."""

    def __init__(
        self,
        targets: Mapping[str, str],
        tls: TlsFiles | None = None,
        interceptors: Sequence[aio.ClientInterceptor] = (),
    ) -> None:
        """Take the targets; nothing is opened yet.

        Args:
            targets: each service's target, by the service's name in settings: a gRPC
                name, such as "profile:50051" or "dns:///profile:50051".
            tls: for all targets. None: without encryption.
            interceptors: stand around every call.

        Raises:
            ConfigurationError: files that cannot be used.
        """
        self._targets = targets
        self._credentials = _load_credentials(tls) if tls else None
        self._interceptors = interceptors
        self._channels: dict[str, aio.Channel] = {}

    async def __aenter__(self) -> Self:
        """Make the channels. They connect when the first call needs them."""
        self._channels = {
            target: self._open_channel(target) for target in set(self._targets.values())
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the channels; calls that still run after a grace are cancelled."""
        closing = (
            channel.close(CLOSE_GRACE_SECONDS) for channel in self._channels.values()
        )
        await asyncio.gather(*closing)

    def __getitem__(self, service: str) -> aio.Channel:
        """Give the channel of a service."""
        return self._channels[self._targets[service]]

    def _open_channel(self, target: str) -> aio.Channel:
        if self._credentials:
            return aio.secure_channel(
                target,
                self._credentials,
                _CHANNEL_OPTIONS,
                interceptors=self._interceptors,
            )
        return aio.insecure_channel(
            target, _CHANNEL_OPTIONS, interceptors=self._interceptors
        )


def _load_credentials(tls: TlsFiles) -> grpc.ChannelCredentials:
    """Read the files, once they are known to be good.

    gRPC takes anything and fails every call later, so Python's own TLS reads first.
    """
    problems = []
    test_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if tls.ca_file:
            test_context.load_verify_locations(tls.ca_file)
    except OSError as error:
        problems.append(
            f"{tls.ca_file} is no file of TLS authorities: {_get_reason(error)}"
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
            f"{tls.certificate_file} and {tls.key_file}"
            " are no TLS certificate and its key:"
            f" {_get_reason(error)}"
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
