"""A developer's own services, which the launcher starts by a command."""

import os
import shlex
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct

from gateway.domain.errors import ConfigurationError
from gateway.sandbox.launcher.program import Program
from gateway.sandbox.launcher.service_targets import (
    LOOPBACK,
    accepts_connections,
    free_ports,
)
from gateway.sandbox.launcher.subprocesses import Subprocesses
from gateway.sandbox.launcher.watched_files import WatchedFiles

_SECRETS = ("TELEGRAM_BOT_TOKEN", "TELEGRAM_WEBHOOK_SECRET")
"""Settings of the gateway that no service needs."""


class OwnService(Struct, frozen=True, kw_only=True):
    """A service of the developer, and the command that starts it.

    Attributes:
        name: the name of the service, as in its settings.
        command: the program and its arguments.
        folder: the working directory of the program; its files are watched for changes.
    """

    name: str
    command: tuple[str, ...]
    folder: Path


def read_commands(given: Iterable[str], services: Collection[str]) -> list[OwnService]:
    """Parse the commands that start a developer's own services.

    Args:
        given: values such as "billing=python server.py", or with the folder of the
            service "billing@services/billing=python server.py".
        services: the names of all routed services, as in their settings.

    Raises:
        ConfigurationError: a name is unknown, a folder is missing, or a command is
            malformed.
    """
    commands = []
    problems = []
    for each in given:
        place, _, words = each.partition("=")
        name, _, folder = place.partition("@")
        try:
            command = tuple(shlex.split(words))
        except ValueError:
            command = ()
        if name.upper() not in services:
            known = ", ".join(sorted(services)).lower()
            problems.append(f"--run {each}: the services are {known}")
        elif not command:
            problems.append(f"--run {each}: should be {name}=command")
        elif not Path(folder).is_dir():
            problems.append(f"--run {each}: there is no folder {folder}")
        commands.append(
            OwnService(name=name.upper(), command=command, folder=Path(folder))
        )
    if problems:
        raise ConfigurationError(problems)
    return commands


def add_targets(
    commands: Iterable[OwnService],
    targets: Mapping[str, str],
    find_ports: Callable[[int], Sequence[int]] = free_ports,
) -> dict[str, str]:
    """Return the addresses of all services, including those that will be started.

    Args:
        commands: the services to start. Each one without an address gets a free port on
            loopback.
        targets: the addresses that the developer passed, by service name.
        find_ports: returns as many free ports as it is asked for.
    """
    missing = [each.name for each in commands if each.name not in targets]
    found = zip(missing, find_ports(len(missing)), strict=True)
    return {**targets, **{name: f"{LOOPBACK}:{port}" for name, port in found}}


@asynccontextmanager
async def running_services(
    children: Subprocesses,
    commands: Sequence[OwnService],
    targets: Mapping[str, str],
    *,
    variables: Mapping[str, str] | None = None,
    watch: bool,
    wait: bool = False,
) -> AsyncIterator[None]:
    """Run a developer's own services within the block.

    Args:
        children: starts and stops the processes.
        commands: the services. Each program has to listen on the port in its
            environment variable PORT.
        targets: the addresses at which the gateway calls them, by service name.
        variables: further variables of their environment; None for none.
        watch: whether a service is started again when one of its files changes.
        wait: whether to wait until each service accepts connections.

    Raises:
        ProcessExited: a service cannot be started.
        StopRequested: a signal came before all services were ready.
    """
    inherited = {
        name: value for name, value in os.environ.items() if name not in _SECRETS
    }
    inherited.update(variables or {})
    async with AsyncExitStack() as stack:
        for each in commands:
            port = targets[each.name].rpartition(":")[2]
            program = Program(
                name=f"service {each.name.lower()}",
                arguments=each.command,
                environment={**inherited, "PORT": port},
                directory=each.folder,
                has_children=True,
            )
            files = WatchedFiles([each.folder]) if watch else None
            ready = partial(accepts_connections, int(port)) if wait else None
            await stack.enter_async_context(
                children.running_program(program, files, ready)
            )
        yield
