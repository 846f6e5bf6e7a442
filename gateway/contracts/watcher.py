"""Takes up changes of the contracts while the gateway runs.

Every process looks at the files a few times a second, and at once after SIGHUP. A
change is loaded and checked as a whole. If it is invalid, nothing changes: the running
contracts go on, and the problems are told in the log, in the health and in metrics.

Concurrency: one background task. Files are read in a thread; the change itself is made
by the event loop without a pause, so that every update sees the old contracts or the
new ones.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from gateway.contracts.loading import LoadedContracts, load_sources
from gateway.domain.errors import ConfigurationError
from gateway.services.contracts.contract_set import BUILTIN

logger = logging.getLogger(__name__)

CHECK_SECONDS = 0.25
"""The interval between looks at the files."""

_Fingerprint = Sequence[tuple[str, int, int, int]]
"""What changes whenever files change: names, times, inodes and sizes."""


class ContractWatcher:
    """Looks for changes of the contracts.

    Args:
        sources: the sources, as in the setting CONTRACTS.
        further_files: files that a change may depend on.
        apply: takes up contracts.

    Attributes:
        problems: what is wrong with the contracts that were refused; empty if those in
            the files are served.
    """

    def __init__(
        self,
        sources: Sequence[str],
        further_files: Iterable[Path],
        apply: Callable[[LoadedContracts], Awaitable[None]],
    ) -> None:
        self._sources = sources
        self._paths = [Path(it) for it in sources if it != BUILTIN]
        self._further_files = list(further_files)
        self._apply = apply
        self._fingerprint: _Fingerprint | None = None
        self._digests: frozenset[str] = frozenset()
        self._hung_up = asyncio.Event()
        self.problems: Sequence[str] = ()

    @property
    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """The background task, by its name; none if there are no files to look at."""
        return {"watch contracts": self.run} if self._paths else {}

    async def start(self) -> None:
        """Look at the files once, before the gateway serves anything.

        So it is known which files the routes are from when the first change comes.
        """
        if self._paths:
            await self.check()

    def look_now(self) -> None:
        """Read all files again, whether they seem to have changed or not."""
        self._fingerprint = None
        self._hung_up.set()

    async def run(self) -> None:
        """Look for changes until this is cancelled."""
        while True:
            self._hung_up.clear()
            await self.check()
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._hung_up.wait()
            except TimeoutError:
                pass

    async def check(self) -> None:
        """Look at the files once, and take up a change."""
        fingerprint = await asyncio.to_thread(self._read_fingerprint)
        if fingerprint == self._fingerprint:
            return
        try:
            loaded = await asyncio.to_thread(load_sources, self._sources, self._digests)
            if fingerprint != await asyncio.to_thread(self._read_fingerprint):
                return  # they are being written: the next look reads them again
            await self._apply(loaded)
        except ConfigurationError as error:
            self._fingerprint = fingerprint
            if error.problems != self.problems:
                logger.error(  # noqa: TRY400 - a traceback would not help
                    "contracts_refused", extra={"problems": list(error.problems)}
                )
            self.problems = error.problems
            return
        self._fingerprint = fingerprint
        self._digests = loaded.digests
        self.problems = ()

    def _read_fingerprint(self) -> _Fingerprint:
        found = []
        for path in [*self._list_files(), *self._further_files]:
            try:
                status = path.stat()
            except OSError:
                continue  # a file that is missing has no fingerprint
            state = status.st_mtime_ns, status.st_ino, status.st_size
            found.append((str(path), *state))
        return tuple(found)

    def _list_files(self) -> list[Path]:
        files = []
        for path in self._paths:
            try:
                files += sorted(path.iterdir()) if path.is_dir() else [path]
            except OSError:
                continue
        return files
