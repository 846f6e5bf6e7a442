"""The example of a service in a repository of its own, in TypeScript.

Its packages are installed once, into `examples/billing-node/node_modules`.
"""

import os
from pathlib import Path

import pytest

from tests.support.examples import EXAMPLES, check_examination, copy_example, make

NAME = "billing-node"


async def test_the_example_passes_its_own_tests(tmp_path: Path) -> None:
    """Its unit tests, the checks of its contract, the rules and its scenarios."""
    await make(EXAMPLES / NAME, "node_modules/.ready")
    copy = copy_example(NAME, tmp_path)
    (copy / "node_modules").symlink_to(EXAMPLES / NAME / "node_modules")
    lines = await make(copy, "test")
    assert "# fail 0" in lines
    check_examination(lines)


async def test_a_machine_without_npm_is_told_what_is_missing(tmp_path: Path) -> None:
    """Instead of a rule of make that failed."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "find"):
        found = next(
            Path(folder) / name
            for folder in os.environ["PATH"].split(os.pathsep)
            if (Path(folder) / name).exists()
        )
        (programs / name).symlink_to(found)
    copy = copy_example(NAME, tmp_path)
    with pytest.raises(AssertionError, match="npm is missing: install Node"):
        await make(copy, "test", path=str(programs))


def test_the_lock_names_no_registry() -> None:
    """It is used with the registry of each company."""
    for lock in EXAMPLES.glob("*/**/package-lock.json"):
        if "node_modules" not in lock.parts:
            assert '"resolved"' not in lock.read_text(), lock
