"""The contenders' environments: made once, with the versions and hashes of their locks.

They are in `.contenders/`, and are made again when a lock has changed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.children import ROOT

SOURCES = ROOT / "benchmarks" / "contenders"
_ENVIRONMENTS = ROOT / ".contenders"


def python_environment(name: str) -> Path:
    """Give the Python of an environment, made from `<name>/requirements.lock`."""
    lock = SOURCES / name / "requirements.lock"
    place = _ENVIRONMENTS / name
    python = place / "bin" / "python"
    if not _is_ready(place, lock):
        _run(sys.executable, "-m", "venv", "--clear", str(place))
        install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(str(python), *install, "--require-hashes", "-r", str(lock))
        shutil.copy(lock, place)
    return python


def node_environment(name: str) -> Path:
    """Give the directory of an environment, made from `<name>/package-lock.json`.

    The contender's program is in it, because Node looks for packages beside a program.
    """
    source = SOURCES / name
    lock = source / "package-lock.json"
    place = _ENVIRONMENTS / name
    if not _is_ready(place, lock):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        shutil.copy(source / "package.json", place)
        # Packages need no scripts of their own here, so none may run.
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        shutil.copy(lock, place / "package-lock.json")
        try:
            _run("npm", "ci", *options, cwd=place)
        except BaseException:
            (place / "package-lock.json").unlink()
            raise
    shutil.copy(source / "server.js", place)
    return place


def _is_ready(place: Path, lock: Path) -> bool:
    kept = place / lock.name
    return kept.exists() and kept.read_bytes() == lock.read_bytes()


def _run(*command: str, cwd: Path = ROOT) -> None:
    print(f"setting up {' '.join(command[-3:])}", file=sys.stderr, flush=True)
    subprocess.run(command, cwd=cwd, check=True, stdout=sys.stderr)
