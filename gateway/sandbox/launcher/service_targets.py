"""The addresses of the sandbox's services, and checks of TCP ports."""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import Collection, Iterable, Mapping

from gateway.domain.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
SAMPLES = {"CONVERSATION", "MATCHING", "NOTIFICATION", "PROFILE"}
"""The sample services; their addresses are not read from the environment."""

_FREE_PORTS = range(20_000, 32_000)
"""None of those that the system gives to clients: before a server of the sandbox
listens, a connection of a busy machine might get its port."""

_OF_CALLS = ("STREAMING", "STREAM_TIMEOUT", "TIMEOUT")


def read_targets(given: Iterable[str], services: Collection[str]) -> dict[str, str]:
    """Parse the addresses of a developer's own services.

    Args:
        given: values such as "conversation=localhost:50051".
        services: the names of all routed services, as in their settings.

    Returns:
        The addresses by service name.

    Raises:
        ConfigurationError: a name is unknown, or an address is malformed.
    """
    targets = {}
    faults = []
    for each in given:
        name, _, target = each.partition("=")
        host, _, port = target.rpartition(":")
        if name.upper() not in services:
            known = ", ".join(sorted(services)).lower()
            faults.append(f"--service {each}: the services are {known}")
        elif not host or not port.isdecimal():
            faults.append(f"--service {each}: should be {name}=host:port")
        targets[name.upper()] = target
    if faults:
        raise ConfigurationError(faults)
    return targets


def resolve_targets(
    services: Collection[str], samples_port: int, targets: Mapping[str, str]
) -> dict[str, str]:
    """Return the address of each service.

    The address is that in `targets`; otherwise, unless there is a sample for the
    service, that in the environment variable NAME_TARGET; otherwise that of the
    samples.

    Args:
        services: the names of all routed services.
        samples_port: the port of the sample services.
        targets: the addresses that the developer passed, by service name.
    """
    service_targets = dict.fromkeys(services, f"{LOOPBACK}:{samples_port}")
    for name in set(services) - SAMPLES:
        service_targets[name] = os.environ.get(f"{name}_TARGET", service_targets[name])
    return service_targets | dict(targets)


def call_settings(services: Collection[str]) -> dict[str, str]:
    """Return the settings for streaming and timeouts of services in the environment.

    Args:
        services: the names of the services, as in their settings.

    Returns:
        The values by the names of the variables, such as PROFILE_TIMEOUT.
    """
    names = [f"{name}_{setting}" for name in services for setting in _OF_CALLS]
    return {name: os.environ[name] for name in names if name in os.environ}


def free_ports(count: int) -> list[int]:
    """Return different TCP ports on loopback that are free now but not reserved."""
    found: list[int] = []
    with contextlib.ExitStack() as open_probes:
        for port in random.sample(_FREE_PORTS, len(_FREE_PORTS)):
            if len(found) == count:
                break
            probe = open_probes.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind((LOOPBACK, port))
                found.append(port)
    return found


async def accepts_connections(port: int) -> bool:
    """Return whether a server accepts connections on a loopback port, by connecting."""
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.close()
        return True
    return False


def port_problem(port: int) -> str:
    """Return why a loopback port cannot be listened on, or "" if it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as fault:
            return str(fault.strerror)
        except OverflowError:
            return "there is no such port"
    return ""
