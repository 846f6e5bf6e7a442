"""Which changes of files are found."""

import os
from pathlib import Path

import pytest

from gateway.sandbox.launcher import watched_files
from gateway.sandbox.launcher.watched_files import WatchedFiles


def write(path: Path, text: str) -> Path:
    """Write a file, later than any other one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "name",
    ["a.py", "b/c.proto", "d.binpb", "d.binpb.gz", "e.ts", "f.js", "deep/er/g.yaml"],
)
def test_a_change_a_new_file_and_a_removal_are_found(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "1")
    files = WatchedFiles([tmp_path])
    assert files.find_changes() == []
    write(path, "22")
    assert files.find_changes() == [path]
    assert files.find_changes() == []
    path.unlink()
    assert files.find_changes() == [path]
    write(path, "3")
    assert files.find_changes() == [path]


@pytest.mark.parametrize(
    "name",
    [
        ".git/a.py",
        ".venv/lib/a.py",
        "web/node_modules/a.js",
        "b/__pycache__/a.py",
        "a.txt",
        ".env",
    ],
)
def test_other_files_are_ignored(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "1")
    files = WatchedFiles([tmp_path])
    write(path, "22")
    assert files.find_changes() == []


def test_a_file_that_is_written_again_without_a_change_is_not_found(
    tmp_path: Path,
) -> None:
    """A command may generate code in its own folder at each start."""
    path = write(tmp_path / "a_pb2.py", "1")
    files = WatchedFiles([tmp_path])
    write(path, "1")
    os.utime(path, ns=(0, 0))
    assert files.find_changes() == []
    write(path, "2")
    assert files.find_changes() == [path]


def test_a_single_file_may_have_any_suffix_and_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "contracts.set"
    files = WatchedFiles([path])
    assert files.find_changes() == []
    write(path, "1")
    assert files.find_changes() == [path]


def test_the_number_of_files_is_limited(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """That is told once."""
    monkeypatch.setattr(watched_files, "MAX_FILES", 3)
    paths = [write(tmp_path / f"{number}.py", "1") for number in range(5)]
    files = WatchedFiles([tmp_path])
    for path in paths:
        write(path, "22")
    assert files.find_changes() == paths[:3]
    assert capsys.readouterr().err == (
        "--watch: there are more than 3 files; changes from"
        f" {tmp_path} on are not noticed\n"
    )
