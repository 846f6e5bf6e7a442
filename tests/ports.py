"""Ports of loopback for what a test starts."""

import contextlib
import random
import socket

from gateway.sandbox.places import free_ports

__all__ = ["free_ports", "lasting_port"]


def lasting_port() -> int:
    """Find a port for a server that ends and starts again.

    It is none of those that the system gives to clients: while the server is gone, a
    connection of a busy machine might get its port.
    """
    while True:
        port = random.randint(15_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
