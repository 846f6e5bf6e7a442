"""The run modes of a process: a gateway on its own, a supervisor, or a worker.

A gateway is one process, or a supervisor and several workers that share a port.
"""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

SERVE_PROGRAM = ("gateway", "serve")
"""The module that runs a gateway, and its arguments."""


class SingleProcess(Struct, frozen=True):
    """The mode of the only process of a gateway."""


class Supervisor(Struct, frozen=True):
    """The mode of the process that starts the workers of a gateway and restarts them.

    Attributes:
        workers: the number of workers.
        program: the module that runs as a worker if it is called with `--worker`, and
            its further arguments.
    """

    workers: int
    program: Sequence[str] = SERVE_PROGRAM


class Worker(Struct, frozen=True):
    """The mode of one of several processes that share the port of a gateway.

    Attributes:
        socket: the Unix socket of its internal endpoints, for the supervisor.
    """

    socket: Path


GatewayMode = SingleProcess | Worker
"""The modes in which a process handles updates: not that of a supervisor."""

RunMode = GatewayMode | Supervisor


def choose_run_mode(
    workers: int, worker_socket: Path | None, program: Sequence[str] = SERVE_PROGRAM
) -> RunMode:
    """Return the mode for the options of the command line.

    Args:
        workers: the configured number of processes that handle updates.
        worker_socket: the value of `--worker`, with which a supervisor starts its
            workers; None without that option.
        program: the module that a supervisor runs as a worker, as in `Supervisor`.
    """
    if worker_socket is not None:
        return Worker(worker_socket)
    return Supervisor(workers, program) if workers > 1 else SingleProcess()
