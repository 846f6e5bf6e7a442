"""What a developer works on while the gateway runs: own services, and contracts."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from gateway.sandbox import samples
from gateway.sandbox.launcher.own_services import OwnService
from gateway.sandbox.launcher.watched_files import WatchedFiles


class Development(Struct, frozen=True, kw_only=True):
    """The developer's own services, and what is restarted when files change.

    Attributes:
        commands: the own services to start.
        contracts: the files and folders with the contracts.
        watch: whether a process is started again when its files change.
        wait_for_services: whether to wait until the own services accept connections
            before the gateway is started.
    """

    commands: Sequence[OwnService] = ()
    contracts: Sequence[Path] = ()
    watch: bool = False
    wait_for_services: bool = False

    def watch_contracts(self) -> WatchedFiles | None:
        """Return the contract files whose change restarts the gateway.

        None if nothing is restarted when files change.
        """
        return WatchedFiles(self.contracts) if self.watch else None

    def watch_samples(self) -> WatchedFiles | None:
        """Return the files of the sample services whose change restarts them.

        None if nothing is restarted when files change.
        """
        return WatchedFiles(map(Path, samples.__path__)) if self.watch else None


async def check_contracts(environment: Mapping[str, str]) -> bool:
    """Return whether a gateway could start with the current contracts.

    A process of its own loads them, and writes the problems to standard error.

    Args:
        environment: the environment of the gateway, with the setting CONTRACTS.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "gateway", "routes"),
        stdin=DEVNULL,
        stdout=DEVNULL,
        env=environment,
    )
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    if code:
        sys.stdout.write("gateway: the contracts are invalid; the old ones stay\n")
        sys.stdout.flush()
    return code == 0
