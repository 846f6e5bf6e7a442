"""Reads BOTS_FILE again when it changes, while the gateway runs.

There is no other list of the bots: the file names the files with tokens, and these have
to be on each machine anyway. Every process looks at it once a second, and before it
refuses an update. So a process that has not looked since a bot was added still accepts
the updates of this bot.

Whoever replaces a file, as Kubernetes and careful editors do, changes its directory. So
a look at the directories replaces most looks at each of the files that BOTS_FILE refers
to, of which there may be thousands.

Concurrency: one background task. A lock makes changes follow one another; a request
that finds the file changed waits until the change is applied.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from gateway.config.bots import BotConfig, BotsFile
from gateway.config.file_fingerprints import FileFingerprint, read_fingerprints
from gateway.domain.errors import ConfigurationError

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
"""The interval between looks at BOTS_FILE and the directories."""

MAX_READS = 5
"""How often files that change while they are read are read again at once."""

UNSTABLE_SECONDS = 0.02
"""The pause before files that changed while they were read are read again."""

LOOKS_PER_FULL_LOOK = 10
"""Every so many looks, all files are looked at and not only the directories, because
some editors change a file in place."""

_Fingerprints = Sequence[FileFingerprint | None]


class BotsFileWatcher:
    """Looks for changes of BOTS_FILE and of the files that it refers to.

    An invalid file changes nothing: the bots go on as they are.

    Args:
        load: reads the file and everything that it refers to, in a thread; raises
            ConfigurationError if something is invalid.
        apply: makes the process run the bots that were read, given by name; raises
            ConfigurationError if they cannot replace the running ones.
        loaded: what was read at the start.
        tick: awaited after each look of `run`; None for nothing.
    """

    def __init__(
        self,
        load: Callable[[], BotsFile],
        apply: Callable[[Mapping[str, BotConfig]], Awaitable[None]],
        loaded: BotsFile,
        tick: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._tick = tick
        self._load = load
        self._apply = apply
        self._lock = asyncio.Lock()
        self._changes = 0
        self.problems: Sequence[str] = ()
        """The problems of the file; none if the running bots are those of the file."""
        self._known: dict[Sequence[Path], _Fingerprints] = {}
        self._set_loaded(loaded)

    async def run(self) -> None:
        """Look for changes every CHECK_SECONDS until this is cancelled."""
        look = 0
        while True:
            await self.look(is_full=look % LOOKS_PER_FULL_LOOK == 0)
            if self._tick is not None:
                await self._tick()
            look += 1
            await asyncio.sleep(CHECK_SECONDS)

    async def look(self, *, is_full: bool) -> None:
        """Look for changes once; if there are any, read the files and apply them.

        Args:
            is_full: True to look at every file; False to look at BOTS_FILE and the
                directories only, which is quicker and shows most changes.
        """
        async with self._lock:
            if self._places not in self._known:
                # A file may have changed in them before this look, but not unnoticed.
                is_full = True
                self._known[self._places] = await asyncio.to_thread(
                    read_fingerprints, self._places
                )
            paths = self._paths if is_full else self._places
            found = await asyncio.to_thread(read_fingerprints, paths)
            # What makes a file invalid may be elsewhere, such as in the contracts.
            if self.problems or found != self._known.get(paths):
                await self._reload()

    async def update(self) -> bool:
        """Apply a change of BOTS_FILE at once; return whether any change was applied.

        It does not look at the other files: whoever changes them and cannot wait for
        a second has to touch BOTS_FILE afterwards.
        """
        changes = self._changes
        if not self._lock.locked() and not self._is_main_changed():
            return False
        async with self._lock:
            if self._is_main_changed():
                await self._reload()
        return self._changes != changes

    def _is_main_changed(self) -> bool:
        return read_fingerprints(self._main) != self._known.get(self._main)

    def _set_loaded(self, loaded: BotsFile) -> None:
        """Set the files to look at, the main one first."""
        paths = loaded.paths
        if self._known.get(paths) is None:
            # The next look finds what has changed since the files were read.
            self._known = {
                paths[:1]: loaded.fingerprints[:1],
                paths: loaded.fingerprints,
            }
        self._paths = paths
        self._main = paths[:1]
        self._places = (*self._main, *sorted({path.parent for path in paths}))

    async def _load_whole(self) -> BotsFile:
        """Load the files, again while they are being written.

        A part of a file may be valid, and have fewer bots.

        Raises:
            ConfigurationError: the files are invalid, or they change all the time.
        """
        for _ in range(MAX_READS):
            # First the fingerprints: a change while the files are read is found.
            groups = {self._paths, self._main, self._places}
            self._known = {
                paths: await asyncio.to_thread(read_fingerprints, paths)
                for paths in groups
            }
            loaded = await asyncio.to_thread(self._load)
            found = await asyncio.to_thread(read_fingerprints, self._paths)
            if found == self._known[self._paths]:
                return loaded
            await asyncio.sleep(UNSTABLE_SECONDS)
        # The next look reads them again, as those of any other problem.
        raise ConfigurationError([f"{self._main[0].name}: changes while it is read"])

    async def _reload(self) -> None:
        try:
            loaded = await self._load_whole()
            await self._apply(loaded.bots)
        except ConfigurationError as error:
            if error.problems != self.problems:
                logger.error(  # noqa: TRY400 - a traceback would not help
                    "bots_file_invalid", extra={"problems": list(error.problems)}
                )
            self.problems = error.problems
            return
        self.problems = ()
        self._set_loaded(loaded)
        self._changes += 1
