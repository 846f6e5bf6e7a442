"""Every way to write a file changes its fingerprint."""

import os
from pathlib import Path

import pytest

from gateway.config.file_fingerprints import read_fingerprint, read_fingerprints


def write_in_place(path: Path) -> None:
    """Write more into the file."""
    path.write_text("longer than before")


def touch(path: Path) -> None:
    """Change the time only."""
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    """Put another file of the same size and time in its place."""
    status = path.stat()
    beside = path.with_name("beside")
    beside.write_text("other")
    os.utime(beside, ns=(status.st_atime_ns, status.st_mtime_ns))
    beside.replace(path)


@pytest.mark.parametrize("change", [write_in_place, touch, replace, Path.unlink])
def test_a_change_is_noticed(tmp_path: Path, change: object) -> None:
    path = tmp_path / "file"
    path.write_text("first")
    before = read_fingerprint(path)
    assert before == read_fingerprint(path)
    assert callable(change)
    change(path)
    assert read_fingerprint(path) != before


def test_a_missing_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    missing = tmp_path / "missing"
    path.touch()
    assert read_fingerprints([missing, path, path / "in a file"]) == (
        None,
        read_fingerprint(path),
        None,
    )
