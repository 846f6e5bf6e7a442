"""Finds the files that a developer changed.

The files are read again twice a second: that needs no library, works on every system
and in containers, and costs little, because their number is limited.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from gateway.config.file_fingerprints import FileFingerprint, read_fingerprint

POLL_SECONDS = 0.5
"""Interval between two looks at the files."""
MAX_FILES = 2_000
"""Maximum number of files that are looked at."""

_SUFFIXES = (".py", ".proto", ".binpb", ".binpb.gz", ".ts", ".js", ".yaml")
_IGNORED_FOLDERS = frozenset({".git", ".venv", "__pycache__", "node_modules"})


class _FileState(Struct, frozen=True):
    """The state of a file.

    Attributes:
        fingerprint: changes whenever the file is written.
        digest: changes with the content.
    """

    fingerprint: FileFingerprint
    digest: bytes


class WatchedFiles:
    """Watches the code and contract files in some folders, and some single files.

    A file that is written again with the same content does not count as changed: a
    command may generate files in its own folder whenever it starts. Files beyond
    `MAX_FILES` are not watched, which is reported on standard error.

    Args:
        paths: the folders, and single files with any suffix.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._states: dict[Path, _FileState] = {}
        self._has_reported_limit = False
        self.find_changes()

    def find_changes(self) -> list[Path]:
        """Return the files that were changed, added or removed since the last call."""
        states = {}
        for path in self._list_files():
            if state := _read_state(path, self._states.get(path)):
                states[path] = state
        changed = [
            path
            for path in (self._states | states)
            if _digest(self._states, path) != _digest(states, path)
        ]
        self._states = states
        return sorted(changed)

    async def wait_for_change(self) -> list[Path]:
        """Wait for a change, and until nothing has changed for half a second.

        Returns:
            The files that were changed, added or removed.
        """
        changed: list[Path] = []
        while True:
            await asyncio.sleep(POLL_SECONDS)
            found = await asyncio.to_thread(self.find_changes)
            if changed and not found:
                return sorted(set(changed))
            changed += found

    def _list_files(self) -> Iterator[Path]:
        count = 0
        for root in self._paths:
            for path in _walk(root):
                count += 1
                if count > MAX_FILES:
                    self._report_limit(path.parent)
                    return
                yield path

    def _report_limit(self, folder: Path) -> None:
        if not self._has_reported_limit:
            self._has_reported_limit = True
            sys.stderr.write(
                f"--watch: there are more than {MAX_FILES} files; changes from"
                f" {folder} on are not noticed\n"
            )


def _walk(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - _IGNORED_FOLDERS)
        for name in sorted(names):
            if name.endswith(_SUFFIXES):
                yield Path(folder, name)


def _read_state(path: Path, last: _FileState | None) -> _FileState | None:
    """Return the state of a file, or None if it cannot be read."""
    fingerprint = read_fingerprint(path)
    if fingerprint is None:
        return None
    if last is not None and last.fingerprint == fingerprint:
        return last
    try:
        return _FileState(fingerprint, hashlib.sha256(path.read_bytes()).digest())
    except OSError:
        return None


def _digest(states: dict[Path, _FileState], path: Path) -> bytes | None:
    state = states.get(path)
    return state.digest if state else None
