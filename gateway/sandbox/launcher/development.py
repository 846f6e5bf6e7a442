"""What a developer changes while the gateway runs: own services, and contracts."""

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
    """What is started and watched for a developer.

    Attributes:
        commands: the own services to start.
        contracts: the files and folders with the contracts.
        watch: whether processes are started again when their files change.
        wait_for_services: whether to wait until own services accept connections.
    """

    commands: Sequence[OwnService] = ()
    contracts: Sequence[Path] = ()
    watch: bool = False
    wait_for_services: bool = False

    def watch_contracts(self) -> WatchedFiles | None:
        """Return the files with whose change the gateway is started again, or None."""
        return WatchedFiles(self.contracts) if self.watch else None

    def watch_samples(self) -> WatchedFiles | None:
        """Return the files of the sample services, or None."""
        return WatchedFiles(map(Path, samples.__path__)) if self.watch else None


async def check_contracts(environment: Mapping[str, str]) -> bool:
    """Return whether a gateway could start with the contracts; report the problems.

    Args:
        environment: the environment of the gateway.
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
