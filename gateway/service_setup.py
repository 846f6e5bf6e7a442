"""Builds the channels to the services, and the limits of calls, from the settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.config.services import ServiceSettings
from gateway.config.settings import Settings
from gateway.services.call_limits import CallLimits
from gateway.services.channels import ServiceChannels, TlsFiles


def get_call_limits(services: Mapping[str, ServiceSettings]) -> dict[str, CallLimits]:
    """Return the timeouts and the limit of simultaneous calls, by service."""
    return {
        name: CallLimits(it.timeout, it.stream_timeout, it.max_concurrent_calls)
        for name, it in services.items()
    }


def create_channels(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    interceptors: Sequence[Any] = (),
) -> ServiceChannels:
    """Create the channels to all services. Entering the result opens them.

    Args:
        settings: the gateway's settings.
        services: the settings of the services, by name.
        interceptors: gRPC client interceptors for every call.

    Raises:
        ConfigurationError: a TLS file cannot be used.
    """
    return ServiceChannels(
        {name: service.target for name, service in services.items()},
        _get_tls_files(settings),
        interceptors,
        get_own_tls_files(services),
    )


def _get_tls_files(settings: Settings) -> TlsFiles | None:
    """Return the TLS files of all services that have none of their own."""
    if not settings.services_tls:
        return None
    return TlsFiles(
        ca_file=settings.services_tls_ca_file,
        certificate_file=settings.services_tls_certificate_file,
        key_file=settings.services_tls_key_file,
    )


def get_own_tls_files(
    services: Mapping[str, ServiceSettings],
) -> dict[str, TlsFiles | None]:
    """Return the TLS files of the services that have a TLS setting of their own.

    None means that the service is called without TLS. Services that are not in the
    result use the common TLS settings.
    """
    return {
        name: TlsFiles(
            ca_file=it.tls_ca_file,
            certificate_file=it.tls_certificate_file,
            key_file=it.tls_key_file,
        )
        if it.tls
        else None
        for name, it in services.items()
        if it.tls is not None
    }
