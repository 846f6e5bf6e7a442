"""Serves changed contracts while the gateway runs.

Every process looks at the files a few times a second, and at once after SIGHUP. A
change is loaded and checked as a whole. If it is invalid, the contracts that are served
stay, and the log, the health and the metrics show the problems.

Concurrency: one background task. Files are read in a thread; the change itself is made
by the event loop without a pause, so that every update sees the old contracts or the
new ones.

A valid change becomes a generation of the contracts, which all gateways with the same
Redis serve; see `generations.py`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from gateway.config.file_fingerprints import FileFingerprint, read_fingerprints
from gateway.contracts.generations import ContractGenerations
from gateway.contracts.loading import load_sources
from gateway.domain.errors import ConfigurationError, StoreUnavailable
from gateway.services.contracts.contract_set import BUILTIN

logger = logging.getLogger(__name__)

CHECK_SECONDS = 0.25
"""The interval between looks at the files."""

_Fingerprint = tuple[Sequence[Path], Sequence[FileFingerprint | None]]
"""The names of files and a fingerprint of each, which change when the files do."""


class ContractWatcher:
    """Looks for changed files of contracts, and for generations of other gateways.

    Args:
        sources: the sources, as in the setting CONTRACTS.
        further_files: other files whose change makes the contracts be read again, such
            as SERVICES_FILE.
        generations: checks contracts, and serves those that are valid.
    """

    def __init__(
        self,
        sources: Sequence[str],
        further_files: Iterable[Path],
        generations: ContractGenerations,
    ) -> None:
        self._sources = sources
        self._paths = [Path(it) for it in sources if it != BUILTIN]
        self._further_files = list(further_files)
        self._generations = generations
        self._fingerprint: _Fingerprint | None = None
        self._digests: frozenset[str] = frozenset()
        self._hung_up = asyncio.Event()
        self._is_first_look = True
        self._refused: Sequence[str] = ()
        """What is wrong with the files."""

    @property
    def is_refused(self) -> bool:
        """Whether the files or the current generation cannot be served here."""
        return bool(self._refused) or self._generations.has_unserved

    @property
    def problems(self) -> Sequence[str]:
        """A line for each reason why the newest contracts are not served here."""
        return [*self._refused, *self._generations.problems]

    @property
    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """The function of the background task, by its name.

        Empty if CONTRACTS is only "builtin", so that there are no files to look at.
        """
        return {"watch contracts": self.run} if self._paths else {}

    async def start(self) -> None:
        """Look at the history and the files once, before the gateway serves anything.

        So the current generation is served from the start, and later changes of the
        files are recognized as changes.
        """
        if self._paths:
            await self.check()

    def look_now(self) -> None:
        """Make `run` read all files now, whether they seem to have changed or not."""
        self._fingerprint = None
        self._hung_up.set()

    async def run(self) -> None:
        """Look for changes every CHECK_SECONDS, and at once after `look_now`.

        It ends only by being cancelled.
        """
        while True:
            self._hung_up.clear()
            await self.check()
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._hung_up.wait()
            except TimeoutError:
                pass

    async def check(self) -> None:
        """Look at the history and at the files once, and serve what has changed.

        If the history cannot be read, nothing changes, and the next look tries again.
        """
        fingerprint = await asyncio.to_thread(self._read_fingerprint)
        is_changed = fingerprint != self._fingerprint
        # Without the history nobody knows what the others serve: the next look tries
        # again.
        with contextlib.suppress(StoreUnavailable):
            await self._generations.follow(try_again=is_changed)
            if is_changed:
                await self._look_at_files(fingerprint)

    async def _look_at_files(self, fingerprint: _Fingerprint) -> None:
        try:
            loaded = await asyncio.to_thread(load_sources, self._sources, self._digests)
            if fingerprint != await asyncio.to_thread(self._read_fingerprint):
                return  # they are being written: the next look reads them again
            is_done = await self._generations.offer(
                loaded, is_first=self._is_first_look
            )
        except ConfigurationError as error:
            if error.problems != self._refused:
                logger.error(  # noqa: TRY400 - a traceback would not help
                    "contracts_refused", extra={"problems": list(error.problems)}
                )
            self._refused = error.problems
        else:
            if not is_done:
                return
            self._digests = loaded.digests
            self._refused = ()
        self._fingerprint = fingerprint
        self._is_first_look = False

    def _read_fingerprint(self) -> _Fingerprint:
        paths = [*self._list_files(), *self._further_files]
        return paths, read_fingerprints(paths)

    def _list_files(self) -> list[Path]:
        files = []
        for path in self._paths:
            try:
                files += sorted(path.iterdir()) if path.is_dir() else [path]
            except OSError:
                continue
        return files
