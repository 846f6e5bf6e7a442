"""Ports of loopback for what a test starts."""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle
from pathlib import Path

_PORTS = range(12_000, 20_000)
"""None of those that the system gives to clients: while a server is not there yet, or
gone for a moment, a connection of a busy machine might get its port. None of those that
a sandbox chooses either."""

_BLOCK = 250
"""So many ports belong to one process at a time."""


def free_ports(count: int) -> list[int]:
    """Find different ports that nobody listens on.

    They stay free until the test listens: no other process that runs tests looks at
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


@contextmanager
def reserved_port() -> Iterator[int]:
    """Keep a port that nothing listens on, and that nobody else gets."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def _own_ports() -> Iterator[int]:
    """Go through the ports of this process, block by block."""
    own: list[int] = []
    for start in random.sample(_PORTS[::_BLOCK], len(_PORTS) // _BLOCK):
        if _lock(start):
            block = range(start, start + _BLOCK)
            own += random.sample(block, len(block))
            yield from own[-_BLOCK:]
    yield from cycle(own)


def _lock(start: int) -> bool:
    """Lock a block until this process ends. Return whether no other process has it.

    Two runs of the tests may go on side by side on one machine.
    """
    directory = Path(tempfile.gettempdir(), f"gateway-test-ports-{os.getuid()}")
    directory.mkdir(exist_ok=True)
    descriptor = os.open(directory / str(start), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    return True


_turns = _own_ports()
