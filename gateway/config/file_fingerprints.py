"""The fingerprints of files, by which watchers notice that files have changed."""

import os
from collections.abc import Iterable
from pathlib import Path

FileFingerprint = tuple[int, int, int]
"""The modification time, inode and size of a file. A file that is written or replaced
gets another fingerprint."""


def read_fingerprint(path: Path) -> FileFingerprint | None:
    """Return the fingerprint of a file, or None if it is missing or not accessible."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a third of the time of Path.stat
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def read_fingerprints(paths: Iterable[Path]) -> tuple[FileFingerprint | None, ...]:
    """Return the fingerprints of files, in order; None for a missing file."""
    return tuple([read_fingerprint(path) for path in paths])
