"""Ports of loopback for what a test starts."""

import os
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import cycle

_PORTS = range(12_000, 32_000)
"""None of those that the system gives to clients: while a server is not there yet, or
gone for a moment, a connection of a busy machine might get its port."""


def free_ports(count: int) -> list[int]:
    """Find different ports that nobody listens on.

    They stay free until the test listens: no other process of the same run looks at
    them, and in this one they come again only when all others had their turn.
    """
    found: list[int] = []
    with ExitStack() as open_probes:
        while len(found) < count:
            port = next(_turns)
            probe = open_probes.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    return found


def _shuffled() -> Iterator[int]:
    """Go through the ports of this process; those of pytest-xdist share them out."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = _PORTS[own::processes]
    return cycle(random.sample(ports, len(ports)))


_turns = _shuffled()
